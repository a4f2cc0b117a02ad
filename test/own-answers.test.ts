/** Whole answers for clients that speak their upstream's wire: of what goes on as it came no other form is made, unless somebody else wants it. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import { methodHandler } from "../src/api/gemini-calls.ts";
import { callHandler } from "../src/api/handler.ts";
import { anthropicMessages } from "../src/dialects/anthropic-messages/messages-dialect.ts";
import type { Answer, Provider } from "../src/providers/provider.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { HELLO } from "./kit/messages.ts";
import { pipeline } from "./kit/pipeline.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());

/** Whose answers were asked for in OpenAI's words. */
let asked: string[];
beforeEach(() => {
	asked = [];
});

/** The same provider, whose answers tell when they are. */
const telling = (provider: Provider): Provider => ({
	...provider,
	decode(...sent) {
		const answer = provider.decode(...sent);
		if (!("body" in answer)) return answer;
		const body = () => {
			asked.push(provider.name);
			return answer.body;
		};
		return Object.create(answer, { body: { get: body } }) as Answer;
	},
});

const STEPS = ["auth", "limits", "cache", "relay"] as const;

function handlers(cached: boolean) {
	const env = { ANTHROPIC_BASE_URL: upstream.origin, GEMINI_BASE_URL: upstream.origin };
	const keys = { ANTHROPIC_API_KEY: "key-of-anthropic", GEMINI_API_KEY: "key-of-gemini" };
	const { context } = pipeline({ env: { ...env, ...keys }, change: telling, cached });
	return {
		claude: callHandler({ operation: "chat", dialect: anthropicMessages, steps: STEPS }, context),
		gemini: methodHandler({ path: "/v1beta/models/*" }, context),
	};
}

const CALLS = {
	claude: {
		path: "/v1/messages",
		body: { model: "claude-opus-4-7", max_tokens: 9, temperature: 0, messages: [{ role: "user", content: "hi" }] },
	},
	gemini: {
		path: "/v1beta/models/gemini-2.5-flash:generateContent",
		body: { contents: [{ parts: [{ text: "hi" }] }], generationConfig: { temperature: 0 } },
	},
} as const;

test.each(["claude", "gemini"] as const)("of %s", async (wire) => {
	upstream.run(answers("200 OK", HELLO[wire]));
	const { path, body } = CALLS[wire];
	const send = async (cached: boolean) => {
		const request = new Request(`http://localhost${path}`, {
			method: "POST",
			headers: { "content-type": "application/json" },
			body: JSON.stringify(body),
		});
		return (await handlers(cached)[wire](request, null)).text();
	};
	expect([await send(false), asked]).toEqual([HELLO[wire], []]);
	// The cache keeps OpenAI's form.
	expect(await send(true)).toBe(HELLO[wire]);
	expect(asked.length).toBeGreaterThan(0);
});
