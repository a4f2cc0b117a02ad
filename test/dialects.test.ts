/** A wire of one's own is one file and one row of the table of routes: all that its clients read is in its words. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { apiRoutes, ROUTES } from "../src/api/routes.ts";
import type { Dialect } from "../src/dialects/dialect.ts";
import type { Json } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, streams } from "./kit/faults.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";
import { plainDialect } from "./kit/plain-dialect.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());

const chunk = (delta: object, finish_reason: string | null = null) =>
	`data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
const BEGINNING = [chunk({ role: "assistant", content: "" }), chunk({ content: "Hello" }), chunk({ content: " you" })];
const STREAM = [...BEGINNING, chunk({}, "stop"), "data: [DONE]\n\n"];
const message = { role: "assistant", content: "Hello you" };
const WHOLE = JSON.stringify({
	id: "x",
	object: "chat.completion",
	created: 1,
	model: "m",
	choices: [{ index: 0, message, finish_reason: "stop" }],
	usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
});
const asking = { model: "box/m", ask: "Who is there?" };
const openAi = { model: "box/m", messages: [{ role: "user", content: "Who is there?" }], temperature: 0 };

const plain = {
	method: "POST",
	operation: "chat",
	steps: ["auth", "limits", "cache", "relay"],
	detail: { summary: "Plain words" },
} as const;
/** It can't end its streams. */
const faultyDialect: Dialect = {
	...plainDialect,
	stream: (call) =>
		Object.assign(plainDialect.stream(call), {
			end: () => {
				throw new TypeError("a fault of the wire's own");
			},
		}),
};

/** It can't read its own streams. */
const unfoldedDialect: Dialect = {
	...plainDialect,
	fold: () => {
		throw new TypeError("a fault of the wire's own");
	},
};

let router: Pipeline;
let app: ReturnType<typeof apiRoutes>;
beforeEach(() => {
	router = pipeline({ config: { providers: { box: { type: "vllm", base_url: upstream.origin } } }, cached: true });
	app = apiRoutes(router.context, [
		...ROUTES,
		{ ...plain, path: "/plain", dialect: plainDialect },
		{ ...plain, path: "/faulty", dialect: faultyDialect },
		{ ...plain, path: "/unfolded", dialect: unfoldedDialect },
	]);
});

async function send(body: Json | string, path = "/plain") {
	const answer = await app.handle(
		new Request(`http://localhost${path}`, {
			method: "POST",
			headers: { "content-type": "application/json", host: "localhost" },
			body: typeof body === "string" ? body : JSON.stringify(body),
		}),
	);
	return { status: answer.status, headers: answer.headers, text: await answer.text() };
}
const OPENAI = "/v1/chat/completions";

test("a fault in the last words of a stream is reported, and the stream does not look complete", async () => {
	upstream.run(streams(STREAM));
	const { text } = await send({ ...asking, stream: true }, "/faulty");
	expect(text).toContain("error internal_error");
	expect(router.faults).toEqual([new TypeError("a fault of the wire's own")]);
	expect(router.settled).toMatchObject([{ status: 200 }]);
});

test("a fault in what makes one answer of a stream is reported, and nobody waits for that answer", async () => {
	upstream.run(streams(STREAM));
	for (let call = 1; call <= 2; call++) {
		const { text, headers } = await send({ ...asking, temperature: 0, stream: true }, "/unfolded");
		expect([text, headers.get("x-router-cache")]).toEqual(["Hello you\nend\n", "miss"]);
		expect([router.faults.length, upstream.received.length]).toEqual([call, call]);
	}
});

describe("is refused in the wire's own words", () => {
	test.each([
		["what is no JSON", "hi", 400, 'error invalid_json: Send {"model": …, "ask": …}.\n'],
		[
			"a field of a wrong type",
			{ model: "box/m", ask: 5 },
			400,
			'error invalid_value: The field "ask" must be a string.\n',
		],
		["a field that is missing", { ask: "hi" }, 400, 'error invalid_value: The field "model" is missing.\n'],
	] as const)("%s", async (_, body, status, text) => {
		const answer = await send(body as Json | string);
		expect([answer.status, answer.text]).toEqual([status, text]);
		expect(answer.headers.get("content-type")).toStartWith("text/plain");
		expect(answer.headers.get("x-request-id")).toBe(router.settled[0]!.id);
	});

	test("a model that nobody serves", async () => {
		const { status, text } = await send({ ...asking, model: "nobody" });
		expect([status, text.startsWith("error model_not_found: ")]).toEqual([404, true]);
	});

	test("a call whose upstream fails", async () => {
		upstream.run(answers("401 Unauthorized", "{}"));
		const { status, text } = await send(asking);
		expect([status, text]).toEqual([
			502,
			"error upstream_auth: box refused the router's key: check providers.box.api_key.\n",
		]);
	});
});

test("a stream that breaks off ends with an error, and does not look complete", async () => {
	upstream.run(streams(BEGINNING));
	const { status, text } = await send({ ...asking, stream: true });
	expect([status, text]).toEqual([200, "Hello you\nerror upstream_truncated\n"]);
	expect(router.settled[0]).toMatchObject({ status: 502, error: "upstream_truncated" });
});

test("an answer is plain words, with the headers of every answer", async () => {
	upstream.run(answers("200 OK", WHOLE));
	const { status, text, headers } = await send(asking);
	expect([status, text]).toEqual([200, "Hello you\n"]);
	expect(headers.get("content-type")).toStartWith("text/plain");
	expect(headers.get("x-router-provider")).toBe("box");
	expect(JSON.parse(upstream.received[0]!.body)).toEqual({
		model: "m",
		messages: [{ role: "user", content: "Who is there?" }],
	});
	expect(router.settled[0]).toMatchObject({ operation: "chat", status: 200, tokens: { input: 3, output: 2 } });
});

test("a stream is plain words, and its end", async () => {
	upstream.run(streams(STREAM));
	const { text, headers } = await send({ ...asking, stream: true });
	expect(text).toBe("Hello you\nend\n");
	expect(headers.get("content-type")).toStartWith("text/plain");
});

describe("what is kept of an answer serves every wire", () => {
	test("of this one, OpenAI's clients and this one's, whole and as a stream", async () => {
		upstream.run(answers("200 OK", WHOLE));
		const repeated = { ...asking, temperature: 0 };
		expect((await send(repeated)).headers.get("x-router-cache")).toBe("miss");
		for (let round = 0; round < 3; round++) {
			const own = await send(repeated);
			expect([own.headers.get("x-router-cache"), own.text]).toEqual(["hit", "Hello you\n"]);
			const streamed = await send({ ...repeated, stream: true });
			expect([streamed.headers.get("x-router-cache"), streamed.text]).toEqual(["hit", "Hello you\nend\n"]);
			expect(streamed.headers.get("content-type")).toStartWith("text/plain");
			const other = await send(openAi, OPENAI);
			expect([other.headers.get("x-router-cache"), other.text]).toEqual(["hit", WHOLE]);
			expect(other.headers.get("content-type")).toBe("application/json");
		}
		expect(upstream.received.length).toBe(1);
	});

	test("the same text in two wires is two calls", async () => {
		upstream.run(answers("200 OK", WHOLE));
		const both = { ...openAi, ask: "Who is there?" };
		for (let round = 0; round < 3; round++) {
			expect((await send(both, OPENAI)).text).toBe(WHOLE);
			expect((await send(both)).text).toBe("Hello you\n");
		}
	});
});

test("a stream on its way in one wire is not read along in another", async () => {
	const gate = Promise.withResolvers<void>();
	upstream.run(async (connection) => {
		if (connection.nth > 0) return streams(STREAM)(connection);
		await begins(BEGINNING)(connection);
		await gate.promise;
		await connection.write(STREAM.slice(BEGINNING.length).join(""));
	});
	const asked = upstream.next();
	const first = send({ ...openAi, stream: true }, OPENAI);
	await asked;
	const second = send({ ...asking, temperature: 0, stream: true });
	await Bun.sleep(20);
	gate.resolve();
	expect((await first).text).toEndWith("data: [DONE]\n\n");
	expect((await second).text).toBe("Hello you\nend\n");
});
