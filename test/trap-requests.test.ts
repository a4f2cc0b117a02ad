/** Elysia: bodies arrive as they were sent, and every wrong call gets its own clear answer. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { ROUTES } from "../src/api/routes.ts";
import { clientError } from "./kit/contract.ts";
import { dialect } from "./kit/dialects.ts";
import { fixture } from "./kit/fixtures.ts";
import { type Rig, startRig } from "./kit/rig.ts";

let rig: Rig;
beforeAll(async () => {
	rig = await startRig({ config: { models: [{ name: "team/fast", targets: ["dummy"] }] } });
});
afterAll(() => rig.stop());

const CHAT = "/v1/chat/completions";
const PROMPT = "the-prompt-nobody-may-repeat";
const messages = `"messages":[{"role":"user","content":"${PROMPT}"}]`;

/** Sends this text to a provider that needs no splice but, perhaps, the model's name. */
async function forwarded(text: string, stream = false): Promise<string> {
	rig.replay.play(fixture(dialect("local"), "text", { stream }).response);
	const { status, text: answer } = await rig.post(CHAT, text);
	if (status !== 200) throw new Error(`${status} ${answer}`);
	return rig.replay.only().body;
}

describe("trap: what the schema does not know goes through", () => {
	const odd = `{
  "z_unknown": {"deep": [{"er": 12345678901234567890, "e": 1e400, "f": 1.10, "neg": -0.0}]},
  ${messages},
  "top_k" : 40, "model": "NAME", "__proto__": {"x": 1},
  "metadata": {"same": 1, "same": 2}, "text": "\\u00e9\\ud83d\\ude42 é🙂 \\/"
}
`;

	test("unknown fields, nested ones, big integers, key order, escapes, spaces", async () => {
		expect(await forwarded(odd.replace("NAME", "gpt-5-mini"))).toBe(odd.replace("NAME", "gpt-5-mini"));
	});

	test("only the model's name is put in another's place", async () => {
		const got = await forwarded(odd.replace("NAME", "local/a-model"));
		expect(got).toBe(odd.replace("NAME", "a-model"));
	});

	test("a name that stands in the prompt, too, is left alone there", async () => {
		const text = `{"messages":[{"role":"user","content":"\\"model\\":\\"local/a\\""}],"model" : "local\\/a"}`;
		expect(await forwarded(text)).toBe(text.replace('"local\\/a"', '"a"'));
	});

	test.each([
		["absent", "", { include_usage: true }],
		["null", `,"stream_options":null`, { include_usage: true }],
		["empty", `,"stream_options":{ }`, { include_usage: true }],
		[
			"declined",
			`,"stream_options":{"include_usage":false,"include_obfuscation":false}`,
			{ include_usage: true, include_obfuscation: false },
		],
		[
			"with more",
			`,"stream_options":{"x":12345678901234567890}`,
			{ include_usage: true, x: Number("12345678901234567890") },
		],
	])("usage is asked of a stream where stream_options is %s", async (_, options, wanted) => {
		const got = await forwarded(`{"model":"gpt-5-mini",${messages},"stream":true${options}}`, true);
		expect(JSON.parse(got).stream_options).toEqual(wanted);
		if (options.includes("1234")) expect(got).toContain("12345678901234567890");
		expect(got).toContain(messages);
	});

	test("a stream that asks for usage itself is not touched", async () => {
		const text = `{"model":"gpt-5-mini",${messages},"stream":true,"stream_options":{ "include_usage" : true }}`;
		expect(await forwarded(text, true)).toBe(text);
	});

	test("numbers and fields of an answer come back as they were", async () => {
		const answer = `{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2},"big":12345678901234567890,"f":1.10,\n "z":{"a":1e400}}`;
		rig.replay.play({ status: 200, headers: { "content-type": "application/json" }, text: answer });
		expect((await rig.post(CHAT, `{"model":"gpt-5-mini",${messages}}`)).text).toBe(answer);
	});
});

describe("a wrong call gets its own answer, and the upstream is not called", () => {
	const good = `{"model":"gpt-5-mini",${messages}}`;
	const rows: [string, string, number, string, string | null][] = [
		["an empty body", "", 400, "invalid_json", null],
		["malformed JSON", `{"model":"gpt-5-mini",${messages}`, 400, "invalid_json", null],
		["text after the JSON", `${good} x`, 400, "invalid_json", null],
		["an array", `[${good}]`, 400, "invalid_value", null],
		["no model", `{${messages}}`, 400, "invalid_value", "model"],
		["a model that is a number", `{"model":5,${messages}}`, 400, "invalid_value", "model"],
		["no messages", '{"model":"gpt-5-mini"}', 400, "invalid_value", "messages"],
		["messages that are a text", `{"model":"gpt-5-mini","messages":"${PROMPT}"}`, 400, "invalid_value", "messages"],
		[
			"a role that is a number",
			'{"model":"gpt-5-mini","messages":[{"role":7,"content":"x"}]}',
			400,
			"invalid_value",
			"messages[0].role",
		],
		[
			"a temperature that is a text",
			`{"model":"gpt-5-mini",${messages},"temperature":"${PROMPT}"}`,
			400,
			"invalid_value",
			"temperature",
		],
		["stream that is a text", `{"model":"gpt-5-mini",${messages},"stream":"yes"}`, 400, "invalid_value", "stream"],
		["a field twice", `{"model":"gpt-5-mini",${messages},"model":"gpt-5"}`, 400, "duplicate_key", "model"],
		[
			"a field twice, once with an escape",
			`{"model":"gpt-5-mini",${messages},"mod\\u0065l":"gpt-5"}`,
			400,
			"duplicate_key",
			"model",
		],
		["an unknown model", `{"model":"nothing-like-it",${messages}}`, 404, "model_not_found", "model"],
		["100,000 brackets", `{"model":"gpt-5-mini","messages":${"[".repeat(100_000)}`, 400, "invalid_value", null],
	];
	test.each(rows)("%s", async (_, body, status, code, param) => {
		rig.replay.play(fixture(dialect("openai"), "text").response);
		const answer = await rig.post(CHAT, body);
		const error = clientError(answer.text);
		expect({ status: answer.status, code: error.code, param: error.param }).toEqual({ status, code, param });
		expect(answer.text).not.toContain(PROMPT);
		expect(answer.headers.get("content-type")).toStartWith("application/json");
		expect(answer.headers.get("x-request-id")).toMatch(/^req_/);
		// For a name that leads nowhere it may be asked what there is, to hint at it.
		expect(rig.replay.received.filter(({ path }) => !/\/models(\?|$)/.test(path))).toBeEmpty();
	});

	test("trap: text/plain is not JSON, whatever it holds", async () => {
		const answer = await rig.post(CHAT, good, { "content-type": "text/plain" });
		expect(answer.status).toBe(415);
		expect(clientError(answer.text).code).toBe("unsupported_media_type");
	});

	test("a charset beside the media type is fine", async () => {
		rig.replay.play(fixture(dialect("openai"), "text").response);
		expect((await rig.post(CHAT, good, { "content-type": "Application/JSON; charset=utf-8" })).status).toBe(200);
	});

	/** Where the prompt stands in a request; elsewhere it is messages. */
	const promptFields: Readonly<Record<string, string>> = {
		"/v1/completions": "prompt",
		"/v1/embeddings": "input",
		"/v1/responses": "input",
		"/api/generate": "prompt",
		"/api/embed": "input",
		"/api/embeddings": "prompt",
		"/v1/responses/compact": "input",
		"/v1/responses/input_tokens": "input",
	};
	/** It has no body. */
	const BARE = "/v1/responses/:id/cancel";

	/** What is refused whatever it holds. */
	const isRefused = (route: (typeof ROUTES)[number]) => "query" in route && route.query === "ollama-refusal";
	// What is passed on `dummy` has not: passed-calls.test.ts. Google's have their model in the path, and their own errors: gemini-pipeline.test.ts.
	const inBody = ROUTES.filter(
		(route) =>
			route.method === "POST" &&
			route.path !== BARE &&
			!["passes", "action", "methods"].some((kind) => kind in route) &&
			!isRefused(route),
	);
	test.each(inBody.map(({ path }) => path))("bytes that are no UTF-8 are refused: %s", async (path) => {
		const field = promptFields[path];
		const [before, behind] = field ? [`"${field}":"`, '"'] : ['"messages":[{"role":"user","content":"', '"}]'];
		const send = (prompt: number[]) =>
			fetch(rig.router.url + path, {
				method: "POST",
				headers: { "content-type": "application/json" },
				body: Buffer.concat([
					Buffer.from(`{"model":"dummy","max_tokens":9,${before}`),
					Uint8Array.from(prompt),
					Buffer.from(`${behind}}`),
				]),
			});
		for (const wrong of [[0xff, 0xfe], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80]]) {
			const answer = await send(wrong);
			expect(answer.status).toBe(400);
			const { error: sent } = (await answer.json()) as { error: string | { code?: string; message: string } };
			// Ollama's errors are texts.
			const error: { code?: string; message: string } = typeof sent === "string" ? { message: sent } : sent;
			expect(error.message).toContain("UTF-8");
			// Anthropic's have no code.
			expect(error.code ?? "invalid_json").toBe("invalid_json");
		}
		expect((await send([0xc3, 0xa9])).status).toBe(200);
	});

	test.each([
		["GET", CHAT],
		["PUT", CHAT],
		["DELETE", "/v1/models"],
		["POST", "/v1/models"],
	])("trap: a wrong method is a 405 with allow, not a 404: %s %s", async (method, path) => {
		const answer = await fetch(rig.router.url + path, { method });
		expect(answer.status).toBe(405);
		expect(clientError(await answer.text()).code).toBe("method_not_allowed");
		expect(answer.headers.get("allow")).toContain(path === CHAT ? "POST" : "GET");
	});

	test.each(["/v1/chat/completion", "/v2/chat/completions", "/nothing"])(
		"an unknown path says so: %s",
		async (path) => {
			const answer = await rig.post(path, good);
			expect(answer.status).toBe(404);
			expect(clientError(answer.text).code).toBe("unknown_path");
		},
	);

	test.each([
		["claude-sonnet-5", "ANTHROPIC_API_KEY"],
		["gemini-3-pro", "GEMINI_API_KEY"],
	])("a provider without a key names its variable: %s", async (model, variable) => {
		const answer = await rig.post(CHAT, `{"model":"${model}",${messages}}`);
		expect(answer.status).toBe(503);
		expect(clientError(answer.text)).toMatchObject({ code: "provider_key_missing" });
		expect(answer.text).toContain(variable);
	});
});

test.each(["/v1/models/team/fast", "/v1/models/team%2Ffast"])(
	"trap: a model's name may hold a slash: %s",
	async (path) => {
		const answer = await fetch(rig.router.url + path);
		expect(answer.status).toBe(200);
		expect(await answer.json()).toMatchObject({ id: "team/fast", object: "model" });
	},
);

test("no secret and no prompt is in what was printed", () => {
	const printed = rig.router.output();
	expect(printed).not.toContain(PROMPT);
	for (const { key } of [
		dialect("openai"),
		dialect("openrouter"),
		dialect("xai"),
		dialect("venice"),
		dialect("vllm-box"),
	]) {
		expect(printed).not.toContain(key!);
	}
});
