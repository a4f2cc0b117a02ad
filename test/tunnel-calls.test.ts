/** Calls to an agent through its tunnel: what an address does, a tunnel does, with one worker and with several. */
import { afterEach, describe, expect, test } from "bun:test";
import { FRAME, streamIn } from "../src/protocol/tunnel.ts";
import { textEvent } from "./kit/events.ts";
import type { Loose } from "./kit/exchange.ts";
import { type FakeAgentOptions, startFakeAgent } from "./kit/fake-agent.ts";
import { until } from "./kit/until.ts";
import { callOnce, recordWorkers, startHere, twoWorkers } from "./kit/worker-router.ts";

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

describe.each([1, 2])("a router with %i workers", (workers) => {
	async function startRouter() {
		const router = await startHere(twoWorkers({}, { workers }));
		stops.push(() => router.stop());
		return router;
	}
	function startAgent(router: string, options: FakeAgentOptions = {}) {
		const agent = startFakeAgent({ router, tunnel: "always", ...options });
		stops.push(() => agent.stop());
		return agent;
	}
	const list = async (url: string) => ((await (await fetch(`${url}/agents`)).json()) as { data: Loose[] }).data;
	const reachable = (url: string) => until(async () => (await list(url))[0]?.["reachable"] === true, "the agent");

	test("calls an agent through its tunnel from each of them, whole and streamed", async () => {
		const router = await startRouter();
		const agent = startAgent(router.url);
		await reachable(router.url);
		expect((await list(router.url))[0]).toMatchObject({ name: "gpu-1", endpoint: "tunnel://gpu-1", state: "fresh" });
		for (let round = 0; round < 12; round++) {
			const whole = await callOnce(router.url, { model: "qwen" });
			expect([whole.status, ((await whole.json()) as Loose)["choices"][0].message.content]).toEqual([200, "gpu-1"]);
			const stream = await callOnce(router.url, { model: "qwen", stream: true });
			expect(await stream.text()).toContain("data: [DONE]");
		}
		expect(agent.authorizations).toHaveLength(24);
	});

	test.each([
		["the router does not take", { address: "10.9.8.7" }],
		["nobody answers at", { port: 9 }],
	])("calls an agent through a tunnel by itself whose address %s", async (_, at) => {
		const router = await startRouter();
		startAgent(router.url, { tunnel: "auto", at });
		await reachable(router.url);
		expect((await list(router.url))[0]).toMatchObject({ endpoint: "tunnel://gpu-1" });
		expect((await callOnce(router.url, { model: "qwen" })).status).toBe(200);
	});

	test("calls an agent at its address that it can call", async () => {
		const router = await startRouter();
		startAgent(router.url, { tunnel: "auto" });
		await reachable(router.url);
		expect((await list(router.url))[0]!["endpoint"]).toStartWith("http://127.0.0.1:");
	});

	test("closes a tunnel whose frames are none, and refuses those of another installation and of no name", async () => {
		const router = await startRouter();
		startAgent(router.url);
		await reachable(router.url);
		const open = (headers: Record<string, string>) => {
			const socket = new WebSocket(`${router.url.replace("http", "ws")}/agents/tunnel`, { headers } as never);
			const { promise, resolve } = Promise.withResolvers<number | "refused">();
			let isOpen = false;
			socket.onopen = () => {
				isOpen = true;
				socket.send(new Uint8Array([99, 0, 0, 0, 1]));
			};
			socket.onerror = () => undefined;
			socket.onclose = ({ code }) => resolve(isOpen ? code : "refused");
			return promise;
		};
		expect(await open({ "x-router-agent": "gpu-1", "x-router-instance": "another" })).toBe("refused");
		expect(await open({ "x-router-agent": "-" })).toBe("refused");
		expect(await open({})).toBe("refused");
		expect(await open({ "x-router-agent": "gpu-2" })).toBe(1002);
		expect((await fetch(`${router.url}/agents/tunnel`, { headers: { "x-router-agent": "gpu-2" } })).status).toBe(405);
		expect((await callOnce(router.url, { model: "qwen" })).status).toBe(200);
	});

	test("gives a call up at the agent that its client has left", async () => {
		const router = await startRouter();
		const gate = Promise.withResolvers<undefined>();
		let signal: AbortSignal | undefined;
		const agent = startAgent(router.url, {
			before: (_body, _headers, request) => {
				signal = request.signal;
				return gate.promise;
			},
		});
		await reachable(router.url);
		const leave = new AbortController();
		const call = callOnce(router.url, { model: "qwen" }, {}, leave.signal).catch(() => "left");
		await until(() => agent.authorizations.length === 1, "the call");
		leave.abort();
		expect(await call).toBe("left");
		await until(() => signal!.aborted, "the end at the agent");
		gate.resolve(undefined);
	});

	test("holds an agent back whose answer is not read, and other calls go on", async () => {
		const router = await startRouter();
		let sent = 0;
		const piece = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: "x".repeat(60_000) } }] })}\n\n`;
		const endless = () =>
			new Response(
				new ReadableStream({
					async pull(controller) {
						controller.enqueue(Buffer.from(piece));
						sent += piece.length;
						await Bun.sleep(0);
					},
				}),
				{ headers: { "content-type": "text/event-stream" } },
			);
		startAgent(router.url, { before: ({ messages }) => (messages[0]!.content === "endless" ? endless() : undefined) });
		await reachable(router.url);
		const { port } = new URL(router.url);
		const slow = await Bun.connect({ hostname: "127.0.0.1", port: Number(port), socket: { data() {} } });
		slow.pause();
		const body = JSON.stringify({ model: "qwen", stream: true, messages: [{ role: "user", content: "endless" }] });
		slow.write(
			`POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
		);
		let before = -1;
		await until(async () => {
			const isHeld = sent > 0 && sent === before;
			before = sent;
			await Bun.sleep(100);
			return isHeld;
		}, "the agent to be held");
		expect(sent).toBeLessThan(64 * 1024 * 1024);
		for (let round = 0; round < 8; round++) {
			const answer = await callOnce(router.url, { model: "qwen" });
			expect([answer.status, (await answer.text()).length > 0]).toEqual([200, true]);
		}
		slow.terminate();
	});

	test("goes on at another agent where a tunnel breaks in the middle of an answer, and comes back to it", async () => {
		const router = await startRouter();
		const gate = Promise.withResolvers<void>();
		const half = () =>
			new Response(
				new ReadableStream({
					async start(controller) {
						controller.enqueue(Buffer.from(textEvent("Once ")));
						await gate.promise;
					},
				}),
				{ headers: { "content-type": "text/event-stream" } },
			);
		let first = "";
		const before = (name: string) => () => {
			if (first !== "") return undefined;
			first = name;
			return half();
		};
		const agents = ["gpu-1", "gpu-2"].map((name) => startAgent(router.url, { name, before: before(name) }));
		const areThere = async () => (await list(router.url)).filter((each) => each["reachable"]).length === 2;
		await until(areThere, "both agents");
		const answer = await callOnce(router.url, { model: "qwen", stream: true });
		const text = answer.text();
		agents.find(({ name }) => name === first)!.tunnel!.cut();
		expect(await text).toContain(`Once `);
		expect(await text).toContain("data: [DONE]");
		gate.resolve();
		await until(areThere, "its tunnel again");
	});

	test("stops once its last call is over, without waiting for the tunnel, and the agent finds the next router there", async () => {
		const router = await startHere(twoWorkers({}, { workers }));
		const gate = Promise.withResolvers<undefined>();
		const agent = startAgent(router.url, { before: () => gate.promise });
		await reachable(router.url);
		const call = callOnce(router.url, { model: "qwen" });
		await until(() => agent.authorizations.length === 1, "the call");
		const stopped = router.stop();
		await until(() => router.log().includes("No further calls are taken"), "the stop");
		gate.resolve(undefined);
		expect((await call).status).toBe(200);
		await stopped;
		const next = await startHere(twoWorkers({}, { workers }), Number(new URL(router.url).port));
		stops.push(() => next.stop());
		await reachable(next.url);
		expect((await callOnce(next.url, { model: "qwen" })).status).toBe(200);
	});
});

test("calls go on through a tunnel that another worker than theirs has, when any worker ends", async () => {
	using recorded = recordWorkers();
	using streams = recordStreams();
	const router = await startHere(twoWorkers());
	stops.push(() => router.stop());
	const agent = startFakeAgent({ router: router.url, tunnel: "always" });
	stops.push(() => agent.stop());
	const isReachable = async () => {
		const { data } = (await (await fetch(`${router.url}/agents`)).json()) as { data: Loose[] };
		return data[0]?.["reachable"] === true;
	};
	await until(isReachable, "the agent");
	for (let round = 0; round < 4; round++) {
		recorded.workers[round]!.worker.terminate();
		const places = () => router.log().split("has taken the place").length - 1;
		await until(() => places() === round + 1, "another worker");
		await until(isReachable, "the agent again");
		await until(
			async () => (await callOnce(router.url, { model: "qwen" }).catch(() => undefined))?.status === 200,
			"a call",
		);
	}
	for (let call = 0; call < 12; call++) expect((await callOnce(router.url, { model: "qwen" })).status).toBe(200);
	// What is under way to a worker that has ended is for no stream of the one in its place.
	expect(streams.opened.length).toBeGreaterThan(0);
	expect(new Set(streams.opened).size).toBe(streams.opened.length);
});

/** The numbers of streams that routers open from now on over tunnels of this process. */
function recordStreams() {
	const Real = globalThis.WebSocket;
	const opened: number[] = [];
	globalThis.WebSocket = class extends Real {
		constructor(...args: ConstructorParameters<typeof WebSocket>) {
			super(...args);
			this.addEventListener("message", ({ data }: MessageEvent<Buffer>) => {
				if (data[0] === FRAME.open) opened.push(streamIn(data));
			});
		}
	} as typeof WebSocket;
	return {
		opened,
		[Symbol.dispose]() {
			globalThis.WebSocket = Real;
		},
	};
}
