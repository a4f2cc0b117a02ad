/** Wrong bodies get a sentence that names the field, says what it must be and what it is, and never what it holds. */
import { describe, expect, test } from "bun:test";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import { RouterError } from "../src/errors.ts";
import { readRequestText, releaseBody } from "../src/http/request-body.ts";
import type { Operation } from "../src/openai/operations.ts";
import { messagesRequest } from "../src/providers/anthropic/request.ts";
import { NO_INPUTS } from "../src/providers/provider.ts";

const SECRET = "the-prompt-nobody-may-repeat";

/** The error a body makes; throws when it makes none. */
function refusal(operation: Operation, body: unknown): RouterError {
	try {
		parseRequest(operation, typeof body === "string" ? body : JSON.stringify(body));
	} catch (thrown) {
		if (thrown instanceof RouterError) return thrown;
		throw thrown;
	}
	throw new Error("the body was taken");
}

const hi = { role: "user", content: SECRET };
const chat = (more: object) => ({ model: "m", messages: [hi], ...more });

const ROWS: [Operation, string, unknown, string, string][] = [
	["chat", "no model", { messages: [hi] }, "model", 'The field "model" is missing.'],
	["chat", "a null model", chat({ model: null }), "model", "must be a string of 1 to 512 characters; it is null"],
	["chat", "an empty model", chat({ model: "" }), "model", "it is an empty string"],
	["chat", "an endless model", chat({ model: "m".repeat(513) }), "model", "1 to 512 characters; it is a string of 513"],
	["chat", "no messages", { model: "m" }, "messages", 'The field "messages" is missing.'],
	["chat", "no message", chat({ messages: [] }), "messages", "must be a non-empty array; it is an empty array"],
	["chat", "messages as an object", chat({ messages: hi }), "messages", "must be a non-empty array; it is an object"],
	["chat", "a text for a message", chat({ messages: [SECRET] }), "messages[0]", "must be an object; it is a string"],
	["chat", "no role", chat({ messages: [{ content: SECRET }] }), "messages[0].role", "is missing"],
	["chat", "an empty role", chat({ messages: [{ role: "" }] }), "messages[0].role", "must be a non-empty string"],
	[
		"chat",
		"content that is a number",
		chat({ messages: [hi, { role: "user", content: 5 }] }),
		"messages[1].content",
		"must be a string or an array; it is a number",
	],
	[
		"chat",
		"a content part without a type",
		chat({ messages: [{ role: "user", content: [{ text: SECRET }] }] }),
		"messages[0].content[0].type",
		"is missing",
	],
	[
		"chat",
		"tool calls that are an object",
		chat({ messages: [{ role: "assistant", tool_calls: {} }] }),
		"messages[0].tool_calls",
		"must be an array; it is an object",
	],
	["chat", "stream as a text", chat({ stream: "true" }), "stream", "must be true or false; it is a string"],
	["chat", "stream as a number", chat({ stream: 1 }), "stream", "must be true or false; it is a number"],
	[
		"chat",
		"include_usage as a text",
		chat({ stream: true, stream_options: { include_usage: SECRET } }),
		"stream_options.include_usage",
		"must be true or false; it is a string",
	],
	["chat", "stream_options as a list", chat({ stream_options: [] }), "stream_options", "must be an object"],
	["chat", "temperature as a text", chat({ temperature: SECRET }), "temperature", "must be a number; it is a string"],
	[
		"chat",
		"half a token",
		chat({ max_tokens: 1.5 }),
		"max_tokens",
		"must be an integer; it is a number with a fraction",
	],
	["chat", "less than no limit", chat({ max_tokens: -2 }), "max_tokens", "must be -1 or more"],
	["chat", "a limit below all", chat({ max_tokens: -50_000 }), "max_tokens", "must be -1 or more"],
	["chat", "a limit beyond 32 bits", chat({ max_tokens: 2 ** 31 }), "max_tokens", "must be 2147483647 or less"],
	[
		"chat",
		"a limit beyond all tokens",
		chat({ max_completion_tokens: 1e30 }),
		"max_completion_tokens",
		"must be 2147483647 or less",
	],
	["completions", "the same", { model: "m", prompt: "x", max_tokens: -2 }, "max_tokens", "must be -1 or more"],
	["chat", "a text for tools", chat({ tools: SECRET }), "tools", "must be an array; it is a string"],
	["chat", "a tool without a type", chat({ tools: [{}] }), "tools[0].type", "is missing"],
	["chat", "stop as a list of numbers", chat({ stop: [1] }), "stop[0]", "must be a string; it is a number"],
	["chat", "user as an object", chat({ user: { name: SECRET } }), "user", "must be a string; it is an object"],
	["completions", "no prompt", { model: "m" }, "prompt", 'The field "prompt" is missing.'],
	["completions", "a prompt that is an object", { model: "m", prompt: { text: SECRET } }, "prompt", "it is an object"],
	["completions", "a prompt of objects", { model: "m", prompt: [{}] }, "prompt[0]", "it is an object"],
	["completions", "echo as a text", { model: "m", prompt: "x", echo: "yes" }, "echo", "must be true or false"],
	["embeddings", "no input", { model: "m" }, "input", 'The field "input" is missing.'],
	["embeddings", "null for input", { model: "m", input: null }, "input", "it is null"],
	["embeddings", "dimensions as a text", { model: "m", input: "x", dimensions: "8" }, "dimensions", "an integer"],
];

test.each(ROWS)("%s: %s", (operation, _, body, param, words) => {
	const { errorCode, status, message, body: answer } = refusal(operation, body);
	expect([errorCode, status, answer.error.param]).toEqual(["invalid_value", 400, param]);
	expect(message).toContain(words);
	expect(message).not.toContain(SECRET);
	expect(message).not.toContain("undefined");
});

test.each(["5", '"text"', "null", "[]", "true"])("a body that is %s must be an object", (body) => {
	expect(refusal("chat", body).message).toContain("must be a JSON object");
});

describe("broken JSON", () => {
	test.each([
		["nothing", ""],
		["space", "  \n"],
		["half an object", `{"model":"${SECRET}`],
		["a bare word", `{"model":${SECRET}}`],
		["single quotes", `{'model':'${SECRET}'}`],
		["a trailing comma", `{"model":"${SECRET}",}`],
		["a line end in a string", `{"model":"${SECRET}\n"}`],
		["a wrong escape", `{"model":"${SECRET}\\x"}`],
		["two bodies", `{"model":"${SECRET}"}{"model":"m"}`],
		["NaN", `{"model":"m","temperature":NaN,"user":"${SECRET}"}`],
	])("is told without a word of it: %s", (_, body) => {
		const { errorCode, message } = refusal("chat", body);
		expect(errorCode).toBe("invalid_json");
		expect(message).not.toContain(SECRET);
		expect(message).not.toContain("the-prompt");
	});
});

describe("extremes neither crash nor pass for something else", () => {
	test.each([
		["lists", "[".repeat(999) + "]".repeat(999)],
		["objects", `${'{"a":'.repeat(999)}1${"}".repeat(999)}`],
	])("999 levels of %s in a free field", (_, deep) => {
		const raw = `{"model":"m","messages":[{"role":"user","content":"x"}],"metadata":{"deep":${deep}}}`;
		expect(parseRequest("chat", raw).body().raw).toBe(raw);
	});

	test("1,000 levels where a message belongs", () => {
		const deep = "[".repeat(1_000) + "]".repeat(1_000);
		expect(refusal("chat", `{"model":"m","messages":${deep}}`).body.error.param).toBe("messages[0]");
	});

	test.each(["temperature", "max_tokens"])("a number beyond all limits: %s", (field) => {
		const { message, body } = refusal("chat", `{"model":"m","messages":[{"role":"user"}],"${field}":1e400}`);
		expect(body.error.param).toBe(field);
		expect(message).toContain("it is a number too large to hold");
	});

	test("an integer that a double can't hold goes through as written", () => {
		const raw = '{"model":"m","messages":[{"role":"user"}],"seed":12345678901234567890}';
		expect(parseRequest("chat", raw).body().raw).toBe(raw);
	});

	test("half a surrogate pair, written as an escape", () => {
		const raw = '{"model":"m\\ud800","messages":[{"role":"user","content":"\\udfff"}]}';
		expect(parseRequest("chat", raw).body().raw).toBe(raw);
	});

	test.each(["__proto__", "constructor", "hasOwnProperty"])("%s as a field changes nothing", (field) => {
		const raw = `{"${field}":{"stream":true,"model":"x"},"model":"m","messages":[{"role":"user"}]}`;
		const { facts, stream } = parseRequest("chat", raw);
		expect([facts.model, stream]).toEqual(["m", false]);
	});

	test("a repeated key as long as a novel is named by its beginning", () => {
		const key = "k".repeat(10_000);
		const { errorCode, message } = refusal("chat", `{"${key}":1,"${key}":2,"model":"m"}`);
		expect(errorCode).toBe("duplicate_key");
		expect(message.length).toBeLessThan(200);
	});
});

test.each([
	["chat", chat({ temperature: null, stream: null, stop: null, tools: null, user: null, stream_options: null })],
	["chat", chat({ messages: [{ role: "assistant", content: null, tool_calls: [{ id: "a", type: "function" }] }] })],
	["completions", { model: "m", prompt: [[1, 2], [3]] }],
	["completions", { model: "m", prompt: null, logprobs: 3 }],
	["embeddings", { model: "m", input: [1, 2, 3], stream: true }],
] as [Operation, object][])("what OpenAI's own schema allows is taken: %s %j", (operation, body) => {
	expect(parseRequest(operation, JSON.stringify(body)).stream).toBe(false);
});

describe("the bytes of a body", () => {
	const request = (
		body: string | Uint8Array<ArrayBuffer>,
		headers: Record<string, string> = { "content-type": "application/json" },
	) => new Request("http://localhost/v1/chat/completions", { method: "POST", body, headers });
	const refused = async (sent: Request, limit = 1000) => {
		const thrown = await readRequestText(sent, limit).catch((error: unknown) => error);
		return thrown instanceof RouterError ? thrown.errorCode : thrown;
	};

	test.each([
		["a byte that begins nothing", [0x22, 0xff, 0x22]],
		["half a character", [0x22, 0xe4, 0xbd, 0x22]],
		["a surrogate in UTF-8", [0x22, 0xed, 0xa0, 0x80, 0x22]],
		["an overlong slash", [0x22, 0xc0, 0xaf, 0x22]],
		["UTF-16", [0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00]],
	])("that are no UTF-8 are refused: %s", async (_, bytes) => {
		expect(await refused(request(Uint8Array.from(bytes)))).toBe("invalid_json");
	});

	test.each(["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "text/json"])(
		"of the type %p are refused",
		async (type) => expect(await refused(request("{}", { "content-type": type }))).toBe("unsupported_media_type"),
	);

	test("that are compressed are refused", async () => {
		const headers = { "content-type": "application/json", "content-encoding": "gzip" };
		expect(await refused(request("{}", headers))).toBe("unsupported_media_type");
	});

	test("one too many are refused, exactly the limit is taken", async () => {
		expect(await refused(request("x".repeat(1001)))).toBe("body_too_large");
		expect(await refused(request("x".repeat(1000)))).toBe("x".repeat(1000));
	});

	test.each(["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"])(
		"of the type %p are read",
		async (type) => expect(await readRequestText(request("{}", { "content-type": type }), 10)).toBe("{}"),
	);
});

describe("numbers at their ends", () => {
	const chat = (more: object) => ({ model: "m", messages: [{ role: "user", content: "x" }], ...more });
	test.each([
		["embeddings", { model: "m", input: "x", dimensions: 0 }, 'The field "dimensions" must be 1 or more.'],
		["embeddings", { model: "m", input: "x", dimensions: -5 }, 'The field "dimensions" must be 1 or more.'],
		["embeddings", { model: "m", input: "x", dimensions: 1.5 }, 'The field "dimensions" must be an integer'],
		["embeddings", { model: "m", input: [] }, "must be a string or a non-empty array; it is an empty array."],
		["embeddings", { model: "m", input: [[]] }, 'The field "input[0]" must be'],
		["chat", chat({ n: 0 }), 'The field "n" must be 1 or more.'],
		["chat", chat({ n: -1 }), 'The field "n" must be 1 or more.'],
		["completions", { model: "m", prompt: "x", n: 0 }, 'The field "n" must be 1 or more.'],
		["completions", { model: "m", prompt: "x", best_of: -1 }, 'The field "best_of" must be 0 or more.'],
		["completions", { model: "m", prompt: [] }, "must be a string or a non-empty array; it is an empty array."],
		["chat", { model: "m", messages: [] }, 'The field "messages" must be a non-empty array'],
	] as const)("%s %j is refused for every upstream", (operation, body, words) => {
		const { errorCode, status, message } = refusal(operation, body);
		expect([errorCode, status]).toEqual(["invalid_value", 400]);
		expect(message).toContain(words);
	});

	test.each([
		["chat", chat({ max_tokens: 0 })],
		["chat", chat({ max_tokens: -1 })],
		["chat", chat({ max_completion_tokens: -1 })],
		["chat", chat({ max_tokens: 2 ** 31 - 1 })],
		["chat", chat({ max_tokens: null })],
		["chat", chat({ max_completion_tokens: 0 })],
		["chat", chat({ top_logprobs: -1, logprobs: true })],
		["chat", chat({ temperature: 3, top_p: 0, seed: -1, n: 129 })],
		["chat", chat({ n: null, temperature: null })],
		["completions", { model: "m", prompt: "x", max_tokens: 0, echo: true, best_of: 0 }],
		["completions", { model: "m", prompt: null }],
		["embeddings", { model: "m", input: "", dimensions: 1 }],
		["embeddings", { model: "m", input: [1, 2], dimensions: null }],
	] as const)("%s %j means something to some upstream, and goes on as it is", (operation, body) => {
		const raw = JSON.stringify(body);
		expect(parseRequest(operation, raw).body().raw).toBe(raw);
	});

	test("max_tokens: 0 reaches Anthropic, whose cache it warms", () => {
		const { value } = parseRequest("chat", JSON.stringify(chat({ max_tokens: 0 }))).body();
		const encoded = messagesRequest(value, "claude-x", false, NO_INPUTS);
		expect(JSON.parse((encoded as { body: string }).body).max_tokens).toBe(0);
	});
});

describe("the memory of a body that nobody reads any more", () => {
	test("is given back where it is long", () => {
		const long = Buffer.from(new ArrayBuffer(100_000));
		releaseBody(long);
		expect(long.length).toBe(0);
	});

	test("stays where it is short, and where others lie in the same block", () => {
		const short = Buffer.from(new ArrayBuffer(1000));
		const part = Buffer.from(new ArrayBuffer(200_000)).subarray(0, 100_000);
		for (const each of [short, part]) releaseBody(each);
		expect([short.length, part.length]).toEqual([1000, 100_000]);
	});
});
