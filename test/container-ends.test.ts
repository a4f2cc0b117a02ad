/** How containers end, as their engine's events say it, and what calls are told that ran in them. */
import { describe, expect, test } from "bun:test";
import { ContainerEnds } from "../src/agent/docker/container-ends.ts";
import type { DockerEvent } from "../src/agent/docker/docker-output.ts";
import { CONTAINER_BASE_URL, modelTransport } from "../src/agent/models/model-transport.ts";
import type { UpstreamAnswer, UpstreamRequest } from "../src/providers/provider.ts";
import { responseAnswer } from "../src/proxy/net/transport.ts";

const ends = (...events: Omit<DockerEvent, "id">[]) => {
	const heard = new ContainerEnds(1);
	for (const event of events) heard.heard({ id: "c", ...event });
	return heard;
};
const START = { action: "start" };
const DIE = { action: "die" };

describe("a container", () => {
	test.each<[string, Omit<DockerEvent, "id">[], "died" | "stopped" | undefined]>([
		["of whose end nothing is heard may live", [START], undefined],
		["that is told to end, and has not yet, may live", [START, { action: "kill", signal: 15 }], undefined],
		["that ends by itself with an error has died", [START, DIE], "died"],
		["that ends by itself, and well, has not", [START, { ...DIE, isClean: true }], "stopped"],
		["of want of memory has died, whoever sent the signal", [{ action: "oom" }, { action: "kill" }, DIE], "died"],
		["that was stopped", [{ action: "kill", signal: 15 }, DIE, { action: "stop" }], "stopped"],
		["that was killed", [{ action: "kill", signal: 9 }, DIE], "stopped"],
		["that was sent a signal that ends nothing", [{ action: "kill", signal: 1 }, DIE], "died"],
		["that was started again", [{ action: "kill", signal: 9 }, DIE, START], undefined],
	])("%s", async (_, events, verdict) => {
		expect(await ends(...events).verdictOf("c")).toBe(verdict as never);
	});

	test("whose engine had died before it was stopped has died", async () => {
		const heard = ends({ action: "start" });
		heard.engineDied("c");
		heard.heard({ id: "c", action: "kill", signal: 15 });
		expect(heard.isStopping("c")).toBe(false);
		heard.heard({ id: "c", ...DIE });
		expect(await heard.verdictOf("c")).toBe("died");
	});

	test("that the agent stops has not died, though its engine says that it was stopped only afterwards", async () => {
		const heard = ends(START);
		heard.stopping("c");
		heard.heard({ id: "c", ...DIE });
		expect(await heard.verdictOf("c")).toBe("stopped");
	});

	test("whose end comes while it is waited for", async () => {
		const heard = new ContainerEnds(60_000);
		const verdict = heard.verdictOf("c");
		heard.heard({ id: "other", ...DIE });
		heard.heard({ id: "c", ...DIE });
		expect(await verdict).toBe("died");
	});
});

const POINTER = '{"error":{"message":"EngineCore encountered an issue.","type":"InternalServerError","code":500}}';
const EVENTS = { headers: { "content-type": "text/event-stream" } };

/** What a call gets whose container answers so. */
async function told(heard: ContainerEnds, answer: () => Promise<UpstreamAnswer>, stream: boolean) {
	const lease = { id: "c", replica: 0, origin: "http://127.0.0.1:7" };
	const transport = modelTransport({
		model: "m",
		traffic: {
			acquire: async () => ({ ...lease, bytesCame: () => {}, suspect: () => {}, release: () => {} }),
		},
		http: { send: answer },
		progress: () => "",
		explain: (body) => body,
		ends: heard,
	});
	const call: UpstreamRequest = { url: `${CONTAINER_BASE_URL}/v1/x`, headers: {}, body: "{}", stream };
	const { status, body, whole } = await transport.send(call, new AbortController().signal);
	let text = whole ? await whole.text() : "";
	for (let chunk = whole ? undefined : await body.read(); chunk; chunk = await body.read())
		text += new TextDecoder().decode(chunk);
	return { status, text };
}

const reset = async (): Promise<UpstreamAnswer> => {
	throw Object.assign(new Error("reset"), { code: "ECONNRESET" });
};
/** A stream that breaks behind this. */
const breaks = (text: string) => async (): Promise<UpstreamAnswer> => {
	let isFirst = true;
	const read = async () => {
		if (!isFirst) throw new Error("reset");
		isFirst = false;
		return new TextEncoder().encode(text);
	};
	return { status: 200, headers: new Headers(EVENTS.headers), body: { read } };
};
/** The events come once the call is under way. */
const whileItRuns = (
	heard: ContainerEnds,
	events: Omit<DockerEvent, "id">[],
	answer: () => Promise<UpstreamAnswer>,
) => {
	return async () => {
		for (const event of events) heard.heard({ id: "c", ...event });
		return answer();
	};
};

describe("a call", () => {
	test("whose container was killed is told of a break and no more", async () => {
		const heard = new ContainerEnds(1);
		const killed = whileItRuns(heard, [{ action: "kill", signal: 9 }, DIE], reset);
		await expect(told(heard, killed, false)).rejects.toThrow("reset");
	});

	test("whose engine nobody has heard of is told of a break", async () => {
		await expect(told(new ContainerEnds(1), reset, true)).rejects.toThrow("reset");
	});

	test.each([true, false])("whose engine died before a word is told so (streamed: %p)", async (stream) => {
		const heard = new ContainerEnds();
		const { status, text } = await told(heard, whileItRuns(heard, [DIE], reset), stream);
		expect([status, text]).toEqual([500, expect.stringContaining("EngineDeadError")]);
	});

	test("whose engine died inside its stream is told so by an event, behind one that may be in pieces", async () => {
		const heard = new ContainerEnds();
		const { status, text } = await told(heard, whileItRuns(heard, [DIE], breaks('data: {"a')), true);
		expect(status).toBe(200);
		expect(text).toMatch(/^data: \{"a\n\ndata: \{"error":\{"message":"EngineDeadError.*\}\n\n$/);
	});

	test("that came to a container only when it had ended, or could not connect, did nothing", async () => {
		await expect(told(ends(DIE), reset, false)).rejects.toThrow("reset");
		const heard = new ContainerEnds();
		const refused = async (): Promise<UpstreamAnswer> => {
			throw Object.assign(new Error("nobody listens"), { code: "ConnectionRefused" });
		};
		await expect(told(heard, whileItRuns(heard, [DIE], refused), false)).rejects.toThrow("nobody listens");
	});

	test.each([
		"Background loop has errored already.",
		"AsyncEngineDeadError: Task finished unexpectedly. This should never happen!",
		"Engine core proc died unexpectedly, shutting down client.",
	])("of a container that is being stopped hears nothing of its engine in other versions' words: %s", async (said) => {
		const words = async () => responseAnswer(new Response(said, { status: 500 }));
		await expect(told(ends({ action: "kill", signal: 15 }), words, false)).rejects.toThrow("is being stopped");
	});

	test.each([true, false])(
		"of a container that is being stopped hears nothing of its engine (streamed: %p)",
		async (stream) => {
			const heard = ends({ action: "kill", signal: 15 });
			const words = async () =>
				responseAnswer(stream ? new Response(`data: ${POINTER}\n\n`, EVENTS) : new Response(POINTER, { status: 500 }));
			await expect(told(heard, words, stream)).rejects.toThrow("is being stopped");
		},
	);

	test.each([true, false])(
		"hears what its engine died of, once the log has been read (streamed: %p)",
		async (stream) => {
			const heard = new ContainerEnds(60_000);
			const words = async () => {
				queueMicrotask(() => heard.explained("c", "the GPU failed"));
				return responseAnswer(
					stream ? new Response(`data: ${POINTER}\n\n`, EVENTS) : new Response(POINTER, { status: 500 }),
				);
			};
			const { text } = await told(heard, words, stream);
			expect(text).toContain('"message":"EngineDeadError: the GPU failed"');
			expect(text).not.toContain("EngineCore encountered");
		},
	);

	test("hears what its engine died of where its server went with it", async () => {
		const heard = new ContainerEnds();
		const died = whileItRuns(heard, [DIE], reset);
		const answer = async () => {
			queueMicrotask(() => heard.explained("c", "the GPU failed"));
			return died();
		};
		expect((await told(heard, answer, false)).text).toContain("EngineDeadError: the GPU failed");
	});

	test("that came when the engine was known to be dead did nothing: it is told of a break, and made again", async () => {
		const heard = ends(START);
		const words = async () => responseAnswer(new Response(POINTER, { status: 500 }));
		expect((await told(heard, words, false)).status).toBe(500);
		await expect(told(heard, words, false)).rejects.toThrow("is dead");
		await expect(told(heard, reset, false)).rejects.toThrow("reset");
	});

	test("hears vLLM's own words where nobody has stopped it", async () => {
		const words = async () => responseAnswer(new Response(POINTER, { status: 500 }));
		expect(await told(ends(START), words, false)).toEqual({ status: 500, text: POINTER });
	});
});
