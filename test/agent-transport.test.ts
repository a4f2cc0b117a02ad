/** A model's containers as one upstream: what a call sees while it waits, and what becomes of its lease. */
import { describe, expect, test } from "bun:test";
import { CONTAINER_BASE_URL, modelTransport } from "../src/agent/models/model-transport.ts";
import { type ContainerLease, QueueRefusal } from "../src/agent/models/traffic.ts";
import type { CancelSignal, UpstreamAnswer, UpstreamRequest } from "../src/providers/provider.ts";
import { responseAnswer } from "../src/proxy/net/transport.ts";

interface Played {
	/** Resolves when the call is let through. */
	readonly entering: Promise<ContainerLease>;
	readonly answer?: (request: UpstreamRequest, signal: CancelSignal) => Promise<UpstreamAnswer>;
}

function lease(): ContainerLease & { log: string[] } {
	const log: string[] = [];
	return {
		id: "c",
		replica: 2,
		origin: "http://127.0.0.1:7",
		log,
		bytesCame: () => void log.push("bytesCame"),
		suspect: () => void log.push("suspect"),
		release: () => void log.push("release"),
	};
}

const stream = (...events: string[]) =>
	responseAnswer(new Response(events.join(""), { headers: { "content-type": "text/event-stream" } }));

function transport({ entering, answer = async () => stream("data: 1\n\n", "data: [DONE]\n\n") }: Played) {
	const sent: UpstreamRequest[] = [];
	const asked: (number | undefined)[] = [];
	const routers: (string | undefined)[] = [];
	const made = modelTransport({
		model: "m",
		traffic: {
			acquire(_model, _signal, replica, router) {
				asked.push(replica);
				routers.push(router);
				return entering;
			},
		},
		http: {
			send: (request, signal) => {
				sent.push(request);
				return answer(request, signal);
			},
		},
		progress: () => "starting: loading, 40 %",
		explain: (body) => body.replace("cryptic", "clear"),
	});
	return { made, sent, asked, routers };
}
const CALL: UpstreamRequest = { url: `${CONTAINER_BASE_URL}/v1/chat/completions`, headers: {}, body: "{}" };

async function text({ body }: UpstreamAnswer): Promise<string> {
	const decoder = new TextDecoder();
	let all = "";
	for (let chunk = await body.read(); chunk; chunk = await body.read()) all += decoder.decode(chunk, { stream: true });
	return all;
}
const stays = new AbortController().signal;

describe("a call that is let through", () => {
	test("goes to its container, and releases its lease at the end of the answer", async () => {
		const held = lease();
		const { made, sent } = transport({ entering: Promise.resolve(held) });
		const answer = await made.send({ ...CALL, stream: true }, stays);
		expect(sent[0]?.url).toBe("http://127.0.0.1:7/v1/chat/completions");
		expect(held.log).not.toContain("release");
		expect(await text(answer)).toEndWith("data: [DONE]\n\n");
		expect(held.log.at(-1)).toBe("release");
		expect(held.log).not.toContain("suspect");
	});

	test("releases it when it is read as a whole", async () => {
		const held = lease();
		const { made } = transport({
			entering: Promise.resolve(held),
			answer: async () => responseAnswer(Response.json({ ok: true }, { headers: { "content-length": "11" } })),
		});
		const answer = await made.send(CALL, stays);
		expect(await answer.whole!.text()).toBe('{"ok":true}');
		expect(held.log.at(-1)).toBe("release");
	});

	test("releases it, and suspects the container, where the container can't be reached or breaks off", async () => {
		const refused = lease();
		const gone = transport({ entering: Promise.resolve(refused), answer: () => Promise.reject(new Error("refused")) });
		expect(await gone.made.send(CALL, stays).catch(String)).toContain("refused");
		expect(refused.log).toEqual(["suspect", "release"]);

		const broken = lease();
		const cut = new ReadableStream({ pull: (controller) => controller.error(new Error("cut")) });
		const breaks = transport({
			entering: Promise.resolve(broken),
			answer: async () => responseAnswer(new Response(cut)),
		});
		expect(await text(await breaks.made.send(CALL, stays)).catch(String)).toContain("cut");
		expect(broken.log).toEqual(["bytesCame", "suspect", "release"]);
	});

	test("releases it and suspects nothing when its client leaves", async () => {
		const held = lease();
		const leaving = new AbortController();
		const { made } = transport({ entering: Promise.resolve(held) });
		await made.send({ ...CALL, stream: true }, leaving.signal);
		leaving.abort();
		expect(held.log).toEqual(["bytesCame", "release"]);
	});

	test("a 5xx makes the container suspected; a 400 is explained", async () => {
		const ill = lease();
		const failing = transport({
			entering: Promise.resolve(ill),
			answer: async () => responseAnswer(new Response("", { status: 500 })),
		});
		await text(await failing.made.send(CALL, stays));
		expect(ill.log).toContain("suspect");

		const fine = lease();
		const refusing = transport({
			entering: Promise.resolve(fine),
			answer: async () => responseAnswer(new Response('{"error":{"message":"cryptic"}}', { status: 400 })),
		});
		const answer = await refusing.made.send(CALL, stays);
		expect([answer.status, await text(answer)]).toEqual([400, '{"error":{"message":"clear"}}']);
		expect(fine.log.at(-1)).toBe("release");
		expect(fine.log).not.toContain("suspect");
	});
});

describe("vLLM's own words", () => {
	const says = (status: number, error: object) => async () => responseAnswer(Response.json({ error }, { status }));

	test("a 503 of an engine that is not well makes its container suspected", async () => {
		for (const error of [
			{ message: "bad gateway", type: "api_error", code: 503 },
			{ message: "EngineCore encountered an issue.", type: "ServiceUnavailableError", code: 503 },
		]) {
			const ill = lease();
			const { made } = transport({ entering: Promise.resolve(ill), answer: says(503, error) });
			expect(await text(await made.send(CALL, stays))).toBe(JSON.stringify({ error }));
			expect(ill.log).toContain("suspect");
			expect(ill.log.at(-1)).toBe("release");
		}
	});

	test("a refusal because it has too many calls is handed on, and its container is well", async () => {
		const busy = lease();
		const error = { message: "Too many requests", type: "ServiceUnavailableError", param: null, code: 503 };
		const { made } = transport({ entering: Promise.resolve(busy), answer: says(503, error) });
		const answer = await made.send(CALL, stays);
		expect([answer.status, await text(answer)]).toEqual([503, JSON.stringify({ error })]);
		expect(busy.log).not.toContain("suspect");
		expect(busy.log.at(-1)).toBe("release");
	});

	test("comments of a stream are no sign of its engine's life; what stands behind one is", async () => {
		const held = lease();
		const pieces = [": keep-alive\n\n", ": keep-alive\n\n: keep-alive\n\n", ": keep-alive\n\ndata: 1\n\n"];
		const answer = async (): Promise<UpstreamAnswer> => {
			const rest = pieces.map((piece) => new TextEncoder().encode(piece));
			const headers = new Headers({ "content-type": "text/event-stream" });
			return { status: 200, headers, body: { read: async () => rest.shift() } };
		};
		const { made } = transport({ entering: Promise.resolve(held), answer });
		const { body } = await made.send({ ...CALL, stream: true }, stays);
		// The head has come.
		expect(held.log).toEqual(["bytesCame"]);
		for (const piece of pieces.slice(0, 2)) expect(new TextDecoder().decode(await body.read())).toBe(piece);
		expect(held.log).toEqual(["bytesCame"]);
		await body.read();
		expect(held.log).toEqual(["bytesCame", "bytesCame"]);
	});
});

describe("a call that names a replica", () => {
	const named = (value: string): UpstreamRequest => ({ ...CALL, headers: { "x-a": "b", "x-router-replica": value } });

	test("goes to that one, whose answer says so; its container gets no such header", async () => {
		const { made, sent, asked } = transport({ entering: Promise.resolve(lease()) });
		const answer = await made.send({ ...named("1"), stream: true }, stays);
		expect([asked, sent[0]?.headers]).toEqual([[1], { "x-a": "b" }]);
		// The one that took it, whichever was asked for.
		expect(answer.headers.get("x-router-replica")).toBe("2");
		expect(await text(answer)).toEndWith("data: [DONE]\n\n");
	});

	test.each(["", "-1", "one", "1, 2", "99999"])(
		"by %p names none, and its container gets none of it",
		async (value) => {
			const { made, sent, asked } = transport({ entering: Promise.resolve(lease()) });
			const answer = await made.send(named(value), stays);
			expect([asked, sent[0]?.headers, answer.headers.has("x-router-replica")]).toEqual([
				[undefined],
				{ "x-a": "b" },
				false,
			]);
		},
	);

	test("names it again where its container goes away in the moment that it is let through", async () => {
		const { promise, resolve } = Promise.withResolvers<ContainerLease>();
		const { made, asked } = transport({ entering: promise, answer: () => Promise.reject(new Error("refused")) });
		const answer = await made.send({ ...named("1"), stream: true }, stays);
		await answer.body.read();
		resolve(lease());
		await text(answer);
		expect(asked).toEqual([1, 1]);
	});
});

describe("a call that says which router it is of", () => {
	const OF_ROUTER: UpstreamRequest = { ...CALL, headers: { "x-a": "b", "x-router-name": "router-1" } };

	test("is counted as that one's; its container gets no such header", async () => {
		const { made, sent, routers } = transport({ entering: Promise.resolve(lease()) });
		await made.send(OF_ROUTER, stays);
		expect([routers, sent[0]?.headers]).toEqual([["router-1"], { "x-a": "b" }]);
	});

	test("is that one's again where its container goes away in the moment that it is let through", async () => {
		const { promise, resolve } = Promise.withResolvers<ContainerLease>();
		const { made, routers } = transport({ entering: promise, answer: () => Promise.reject(new Error("refused")) });
		const answer = await made.send({ ...OF_ROUTER, stream: true }, stays);
		await answer.body.read();
		resolve(lease());
		await text(answer);
		expect(routers).toEqual(["router-1", "router-1"]);
	});
});

describe("a stream that waits", () => {
	test("gets the progress of its model, and then gets the container's own events", async () => {
		const { promise, resolve } = Promise.withResolvers<ContainerLease>();
		const { made } = transport({ entering: promise });
		const answer = await made.send({ ...CALL, stream: true }, stays);
		expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
		const first = new TextDecoder().decode(await answer.body.read());
		expect(first).toBe(": m: starting: loading, 40 %\n\n");
		resolve(lease());
		expect(await text(answer)).toBe("data: 1\n\ndata: [DONE]\n\n");
	});

	test.each([
		[
			"the model failed",
			() => Promise.reject(new QueueRefusal(503, "it failed", 5)),
			undefined,
			{ message: "it failed", code: 503 },
		],
		[
			"its container refuses the call",
			() => Promise.resolve(lease()),
			() => new Response('{"error":{"message":"cryptic","type":"BadRequestError","code":400}}', { status: 400 }),
			{ message: "clear", code: 400 },
		],
		[
			"its container answers with no JSON",
			() => Promise.resolve(lease()),
			() => new Response("<html>", { status: 500 }),
			{ code: 500 },
		],
	] as [string, () => Promise<ContainerLease>, (() => Response) | undefined, object][])(
		"ends with an event that says so where %s",
		async (_, outcome, response, error) => {
			const { promise, resolve } = Promise.withResolvers<void>();
			const { made } = transport({
				entering: promise.then(outcome),
				...(response && { answer: async () => responseAnswer(response()) }),
			});
			const answer = await made.send({ ...CALL, stream: true }, stays);
			await answer.body.read();
			resolve();
			const event = await text(answer);
			expect(event).toStartWith("data: {");
			expect(JSON.parse(event.slice(6)).error).toMatchObject(error);
		},
	);

	test("asks once more where its container went away in that moment, and then says so", async () => {
		const { promise, resolve } = Promise.withResolvers<ContainerLease>();
		const { made, sent } = transport({ entering: promise, answer: () => Promise.reject(new Error("refused")) });
		const answer = await made.send({ ...CALL, stream: true }, stays);
		await answer.body.read();
		resolve(lease());
		expect(JSON.parse((await text(answer)).slice(6)).error).toMatchObject({ code: 502 });
		expect(sent).toHaveLength(2);
	});
});

test("a call that is no stream and is refused gets the status, and how long to wait", async () => {
	const { made } = transport({ entering: Promise.reject(new QueueRefusal(429, "full", 5)) });
	const answer = await made.send(CALL, stays);
	expect([answer.status, answer.headers.get("retry-after")]).toEqual([429, "5"]);
	expect(JSON.parse(await text(answer)).error).toMatchObject({ message: "full", type: "rate_limit_error", code: 429 });
});
