/** A body, or an answer, of so many fields or levels that a parse would keep everyone else waiting is refused before it is parsed. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import { RouterError } from "../src/errors.ts";
import { JsonTooLarge, MAX_DEPTH, MAX_PARTS, parseBounded, UNCHECKED_LENGTH } from "../src/openai/json.ts";
import type { Operation } from "../src/openai/operations.ts";
import { clientError } from "./kit/contract.ts";
import { type FaultUpstream, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, streams } from "./kit/faults.ts";
import { pipeline } from "./kit/pipeline.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const fields = (count: number) => Array.from({ length: count }, (_, at) => `"k${at}":1`).join(",");
const lists = (count: number) => Array(count).fill("[]").join(",");
const deep = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
const deepObject = (levels: number) => `${'{"a":'.repeat(levels)}1${"}".repeat(levels)}`;
const START = '"model":"dummy","messages":[{"role":"user","content":"hi"}]';
/** Fields, objects and lists in START: two fields, a list, an object, its two fields. */
const IN_START = 6;
const chat = (more: string) => `{${START},${more}}`;

function refusal(operation: Operation, raw: string): [string, string] | undefined {
	try {
		parseRequest(operation, raw);
		return undefined;
	} catch (error) {
		expect(error).toBeInstanceOf(RouterError);
		const { errorCode, message } = error as RouterError;
		return [errorCode, message];
	}
}

const MANY: [string, string] = ["body_too_large", `The body has more than ${MAX_PARTS} fields, objects and lists.`];
const DEEP: [string, string] = ["invalid_value", `The body is nested more than ${MAX_DEPTH} levels deep.`];

describe("a call's body", () => {
	const rest = MAX_PARTS - IN_START;
	test.each([
		["as many fields as may be", chat(fields(rest)), undefined],
		["a field more", chat(fields(rest + 1)), MANY],
		["the same inside an object", chat(`"metadata":{${fields(rest - 2)}}`), undefined],
		["a field more inside an object", chat(`"metadata":{${fields(rest - 1)}}`), MANY],
		["as many lists as may be", chat(`"x":[${lists(rest - 2)}]`), undefined],
		["a list more", chat(`"x":[${lists(rest - 1)}]`), MANY],
		["objects without fields", chat(`"x":[${Array(rest).fill("{}").join(",")}]`), MANY],
		["a million fields", chat(fields(1_000_000)), MANY],
		["ten million empty objects", chat(`"x":[${"{},".repeat(9_999_999)}{}]`), MANY],
		["as many levels as may be", chat(`"x":${deep(MAX_DEPTH)}`), undefined],
		["a level more", chat(`"x":${deep(MAX_DEPTH + 1)}`), DEEP],
		["a level more of objects", chat(`"x":${deepObject(MAX_DEPTH + 1)}`), DEEP],
		["millions of levels that are never closed", chat(`"x":${"[".repeat(8_000_000)}`), DEEP],
		["many colons and brackets in a text", chat(`"x":"${':[{,\\"'.repeat(300_000)}"`), undefined],
		["millions of numbers in a list", chat(`"x":[${"1,".repeat(2_000_000)}1]`), undefined],
	])("%s", (_, raw, expected) => expect(refusal("chat", raw)).toEqual(expected));

	test.each([
		["a list of levels in place of an object", "[".repeat(4_000_000)],
		["a list of a million fields", `[{${fields(1_000_000)}}]`],
	])("%s is no object, and is not read", (_, raw) => {
		expect(refusal("chat", raw)).toEqual(["invalid_value", 'The body must be a JSON object, such as {"model": …}.']);
	});

	test.each([
		["what is no JSON before the levels", `{"a" "x":${deep(5_000)}}`],
		["a word before the levels", `word ${deep(4_000_000)}`],
		["an object before the levels", `{} ${deep(4_000_000)}`],
		["a key with half an escape", '{"\\u12":1}'],
		["a key that does not end", '{"a'],
		["a key without a value", '{"a":'],
		["nothing", ""],
	])("%s is no JSON", (_, raw) => {
		expect(["invalid_json", "invalid_value"]).toContain(refusal("chat", raw)![0]);
	});
});

describe("other JSON", () => {
	test("is held to the same, from the length on that is worth a look", () => {
		expect(parseBounded(deep(MAX_DEPTH))).toBeArray();
		expect(() => parseBounded(deep(MAX_DEPTH + 1))).toThrow(JsonTooLarge);
		expect(() => parseBounded(`{${fields(MAX_PARTS)}}`, UNCHECKED_LENGTH)).toThrow("has more than");
		expect(parseBounded(` {${fields(MAX_PARTS - 1)}}`)).toBeObject();
		expect(() => parseBounded("{")).toThrow(SyntaxError);
	});
});

describe("over HTTP", () => {
	let router: RunningRouter;
	let agent: RunningRouter;
	beforeAll(async () => {
		const config = {
			keys: [{ name: "a", key: "test-key-1" }],
			admin: { keys: [{ name: "root", key: "the-admin-key" }] },
		};
		[router, agent] = await Promise.all([
			startRouter({ config, env: { ROUTER_AGENT_TOKEN: "agent-token-1" } }),
			startRouter({ args: ["--agent"] }),
		]);
	});
	afterAll(() => Promise.all([router.stop(), agent.stop()]));

	test.each([
		["/v1/chat/completions", "test-key-1"],
		["/v1/completions", "test-key-1"],
		["/v1/embeddings", "test-key-1"],
		["/v1/route", "test-key-1"],
		["/register", "agent-token-1"],
		["/heartbeat", "agent-token-1"],
		["/admin/keys", "the-admin-key"],
		["/models/m/load", undefined],
	])("%s refuses both with what there is too much of", async (path, key) => {
		const { url } = key === undefined ? agent : router;
		const headers = { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) };
		const ask = async (body: string) => {
			const answer = await fetch(url + path, { method: "POST", headers, body });
			return [answer.status, clientError(await answer.text()).message];
		};
		expect(await ask(`{"a":${deep(20_000)}}`)).toEqual([400, DEEP[1]]);
		// A megabyte is the most that agents and admins may send; an agent's model takes less.
		const many = `{"a":[${"{},".repeat(path.startsWith("/models") ? 0 : MAX_PARTS)}{}]}`;
		if (!path.startsWith("/models")) expect(await ask(many)).toEqual([413, MANY[1]]);
	});
});

describe("an upstream's answer", () => {
	let upstream: FaultUpstream;
	beforeAll(() => {
		upstream = startFaultUpstream();
	});
	afterAll(() => upstream.stop());

	const providers = () => ({
		box: { type: "vllm", base_url: upstream.origin },
		anthropic: { base_url: upstream.origin, api_key: "sk-x" },
		gemini: { base_url: upstream.origin, api_key: "sk-x" },
	});
	const call = { messages: [{ role: "user", content: "hi" }] };

	test.each(["box/m", "claude-x", "gemini-x"])(
		"%s: of too many fields or levels is no answer, and is not parsed",
		async (model) => {
			for (const [odd, why] of [
				[`{${fields(MAX_PARTS + 1)}}`, "has more than"],
				[`{"a":[${"{},".repeat(MAX_PARTS)}{}]}`, "has more than"],
				[`{"a":${deep(70_000)}}`, "is nested more than"],
			] as const) {
				upstream.run(answers("200 OK", odd));
				const answer = await pipeline({ config: { providers: providers() } }).send({ model, ...call });
				expect([answer.status, clientError(await answer.text()).message]).toEqual([
					502,
					expect.stringContaining(`sent an answer that ${why}`),
				]);
			}
		},
	);

	test.each([
		[
			"claude-x",
			(args: string) =>
				`{"type":"message","role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":${args}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":1}}`,
		],
		[
			"gemini-x",
			(args: string) =>
				`{"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"name":"f","args":${args}}}]},"finishReason":"STOP"}]}`,
		],
	])(
		"%s: a tool's arguments of as many levels as are not looked for are an answer, and of more are none",
		async (model, answerOf) => {
			const ask = async (levels: number) => {
				upstream.run(answers("200 OK", answerOf(`{"a":${deep(levels)}}`)));
				return (await pipeline({ config: { providers: providers() } }).send({ model, ...call })).status;
			};
			expect([await ask((UNCHECKED_LENGTH - 300) / 2), await ask(70_000)]).toEqual([200, 502]);
		},
	);

	test.each(["box/m", "claude-x", "gemini-x"])(
		"%s: a refusal or an event of many levels reaches nobody's stack",
		async (model) => {
			upstream.run(answers("400 Bad Request", `{"error":${deep(50_000)}}`));
			const router = pipeline({ config: { providers: providers() } });
			expect((await router.send({ model, ...call })).status).toBe(400);
			upstream.run(streams([`data: {"choices":${deep(50_000)}}\n\n`]));
			const text = await (await router.send({ model, ...call, stream: true })).text();
			expect(text).not.toContain("internal_error");
			expect(text).not.toContain("[[[");
		},
	);
});
