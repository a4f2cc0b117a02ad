/** Fields that clients of the Messages API send with every call: a server that refuses one is asked without it. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import type { Json } from "./kit/exchange.ts";
import { answers } from "./kit/faults.ts";
import { asking, HELLO, hello, messagesRig, user } from "./kit/messages.ts";

const rig = messagesRig();
afterAll(() => rig.stop());
beforeEach(() => {
	rig.restart();
	rig.upstream.run(hello);
});

/** What the upstream is asked for such a call; fails where it is refused. */
async function askedFor(body: Json): Promise<Json> {
	const { status, text } = await rig.send(body);
	expect([status, status === 200 ? "" : text]).toEqual([200, ""]);
	return rig.asked();
}

const refusing = (name: string, words: string, status = "400 Bad Request") =>
	rig.upstream.run((connection) =>
		connection.request.body.includes(name)
			? answers(status, words)(connection)
			: answers("200 OK", HELLO.openai)(connection),
	);
const error = (message: string, param: string | null = null) =>
	JSON.stringify({ error: { message, type: "invalid_request_error", param, code: null } });

describe("what a server refuses of that which such clients send unasked", () => {
	test("is refused to a client of OpenAI's, who meant it, and where the configuration says so", async () => {
		rig.restart({ models: [{ name: "strict", targets: ["box/m"], unsupported: "refuse" }] });
		refusing("reasoning_effort", error("Unsupported parameter: 'reasoning_effort'", "reasoning_effort"));
		const chat = { model: "box/m", messages: [user("hi")], reasoning_effort: "high" };
		expect((await rig.send(chat, {}, "/v1/chat/completions")).status).toBe(400);
		const { status } = await rig.send(asking({ output_config: { effort: "high" } }, "strict"));
		expect([status, rig.upstream.received.length]).toEqual([400, 2]);
	});

	test.each([
		["reasoning_effort", { output_config: { effort: "high" } }, error("Unsupported parameter", "reasoning_effort")],
		["top_k", { top_k: 5 }, error("Unrecognized request argument supplied: top_k")],
		["temperature", { temperature: 0.5 }, error("'temperature' is not supported with this model.")],
		["user", { metadata: { user_id: "x" } }, error("Extra inputs are not permitted", "user")],
	] as [string, Json, string][])("is left out, remembered and told: %s", async (name, more, words) => {
		refusing(`"${name}":`, words);
		for (const tried of [2, 3]) {
			const { status, headers } = await rig.send(asking({ ...more, system: `${tried}` }));
			expect([status, rig.upstream.received.length]).toEqual([200, tried]);
			expect(headers.get("x-router-dropped")).toBe(name);
			expect(name in rig.asked()).toBe(false);
		}
	});

	test("the newer name of the answer's limit is the older one then", async () => {
		refusing("max_completion_tokens", error("Unknown field: max_completion_tokens"), "422 Unprocessable Entity");
		const { status, headers } = await rig.send(asking());
		expect([status, headers.get("x-router-dropped")]).toEqual([200, null]);
		expect(rig.asked()).toEqual({ model: "m", messages: [user("hi")], max_tokens: 100 });
	});

	test.each([
		[
			"OpenAI",
			"max_tokens is too large: 64000. This model supports at most 16384 completion tokens, whereas you provided 64000.",
		],
		[
			"vLLM",
			"'max_tokens' or 'max_completion_tokens' is too large: 64000. This model's maximum context length is 32768 tokens and your request has 12 input tokens (64000 > 32768 - 12).",
		],
		[
			"older vLLM",
			"This model's maximum context length is 32768 tokens. However, you requested 64012 tokens (12 in the messages, 64000 in the completion).",
		],
	])("a limit that is more than there is room for is none, in that call: %s", async (_, words) => {
		refusing("64000", error(words));
		expect((await rig.send(asking({ max_tokens: 64_000 }))).status).toBe(200);
		expect(rig.asked()).toEqual({ model: "m", messages: [user("hi")] });
		expect((await askedFor(asking({ max_tokens: 9 })))["max_completion_tokens"]).toBe(9);
	});

	test("several of them, one after the other", async () => {
		rig.upstream.run((connection) => {
			const { body } = connection.request;
			const name = ["reasoning_effort", "top_k", "max_completion_tokens"].find((each) => body.includes(each));
			if (!name) return answers("200 OK", HELLO.openai)(connection);
			return answers("400 Bad Request", error(`Unknown parameter: '${name}'.`, name))(connection);
		});
		const { status } = await rig.send(asking({ top_k: 1, output_config: { effort: "low" } }));
		expect([status, rig.asked()]).toEqual([200, { model: "m", messages: [user("hi")], max_tokens: 100 }]);
	});
});

test("a limit that an OpenAI client gives its older name is asked for by the newer one where only that is taken", async () => {
	const words =
		"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
	refusing('"max_tokens"', error(words, "max_tokens"));
	for (const tried of [2, 3]) {
		const body = { model: "box/m", max_tokens: 9, messages: [user(`${tried}`)] };
		const { status, headers } = await rig.send(body, {}, "/v1/chat/completions");
		expect([status, headers.get("x-router-dropped"), rig.upstream.received.length]).toEqual([200, null, tried]);
		const sent = JSON.stringify({ model: "m", max_completion_tokens: 9, messages: body.messages });
		expect(rig.upstream.received.at(-1)!.body).toBe(sent);
	}
	const both = { model: "box/m", max_tokens: 9, max_completion_tokens: 8, messages: [user("hi")] };
	expect((await rig.send(both, {}, "/v1/chat/completions")).status).toBe(400);
});

describe("an answer that is to go on with the assistant's last words", () => {
	const messages = [user("A city, as JSON."), { role: "assistant", content: '{"name":' }];
	const begins = { add_generation_prompt: false, continue_final_message: true };

	test("is asked of vLLM so, which would begin another message", async () => {
		expect(await askedFor(asking({ messages, top_k: 3 }))).toEqual({
			...begins,
			model: "m",
			messages,
			max_completion_tokens: 100,
			top_k: 3,
		});
		expect(await askedFor(asking({ messages: [...messages, user("Go on.")] }))).not.toMatchObject(begins);
	});

	test("is asked as it is of a server that refuses that", async () => {
		refusing("continue_final_message", error("Extra inputs are not permitted", "continue_final_message"));
		expect(await askedFor(asking({ messages }))).toEqual({ model: "m", messages, max_completion_tokens: 100 });
	});
});

describe("no thinking", () => {
	const off = { thinking: { type: "disabled" } };
	const kwargs = { enable_thinking: false, thinking: false };

	test("is what vLLM's chat templates are told; with thinking they are told nothing", async () => {
		expect(await askedFor(asking(off))).toMatchObject({ chat_template_kwargs: kwargs });
		expect("chat_template_kwargs" in (await askedFor(asking({ thinking: { type: "adaptive" } })))).toBe(false);
	});

	test("is not told to a server that refuses it, nor to vendors", async () => {
		refusing("chat_template_kwargs", error("Extra inputs are not permitted", "chat_template_kwargs"));
		expect("chat_template_kwargs" in (await askedFor(asking(off)))).toBe(false);
		rig.restart({ providers: { openai: { api_key: "sk-of-the-router", base_url: rig.upstream.origin } } });
		rig.upstream.run(hello);
		expect("chat_template_kwargs" in (await askedFor(asking({ ...off, model: "openai/gpt-6" })))).toBe(false);
	});
});
