/** Routing, limits, the cache and rules read a call's facts: its body, which another wire's call has to be translated for, is the providers'. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { SlidingWindowLimiter } from "../src/accounts/limits/sliding-window.ts";
import { HardwareClocks } from "../src/accounts/usage/hardware-clocks.ts";
import { LearnedUsage } from "../src/accounts/usage/learned-usage.ts";
import { LocalSpend } from "../src/accounts/usage/local-spend.ts";
import { callHandler } from "../src/api/handler.ts";
import { type Dialect, madeOnce } from "../src/dialects/dialect.ts";
import { openAiChat, parseRequest } from "../src/dialects/openai-chat.ts";
import { openAiResponses } from "../src/dialects/openai-responses/index.ts";
import { NO_FLEET } from "../src/routing/agent-targets.ts";
import { routerSnapshot } from "../src/server/snapshot.ts";
import type { Json } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { entriesOf, type Pipeline, pipeline } from "./kit/pipeline.ts";
import { plainDialect } from "./kit/plain-dialect.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());
const WHOLE =
	'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant",' +
	'"content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}';

const key = (name: string, more: Json = {}) => ({ name, key: `key-of-${name}-1234`, ...more });
const config = {
	providers: {
		box: { type: "openai-compatible", base_url: upstream.origin },
		other: { type: "vllm", base_url: upstream.origin },
		paid: { type: "openai-compatible", base_url: "https://paid.example/v1" },
	},
	models: [{ name: "several", targets: ["box/m", "other/m"], policy: "balanced" }],
	prices: { "box/m": { input: 1, output: 1 } },
	keys: [
		key("open"),
		key("narrow", { models: ["box/*"] }),
		key("slow", { rpm: 1, tpm: 100_000 }),
		key("short", { input: 1 }),
		key("poor", { budget: { usd: 1, per: "day" } }),
		key("rich", { budget: { usd: 100, per: "day" }, tpm: 1_000_000, rpm: 1_000, concurrency: 9 }),
	],
	limits: { models: { "*": { rpm: 10_000, tpm: 10_000_000 } } },
};

let router: Pipeline;
/** The files that asked for a call's body, in their order. */
let asked: string[];
beforeEach(() => {
	router = pipeline({ config, cached: true });
	const { snapshot } = router;
	const spend = new LocalSpend({ spent: () => 1, spenders: () => [] });
	const state = {
		limiter: new SlidingWindowLimiter(),
		spend,
		learned: new LearnedUsage(),
		clocks: new HardwareClocks(),
	};
	const services = { fleet: NO_FLEET, state, onRefused: undefined };
	Object.assign(snapshot, routerSnapshot(snapshot.config, entriesOf(snapshot.config), snapshot.auth, services));
	asked = [];
	upstream.run(answers("200 OK", WHOLE));
});

/** The same wire, which notes who asks for its calls' bodies. */
function noting(dialect: Dialect): Dialect {
	return {
		...dialect,
		parse(operation, text) {
			const parsed = dialect.parse(operation, text);
			const body = () => {
				const caller = new Error().stack!.split("\n").find((line, at) => at > 1 && line.includes("/src/"));
				asked.push(/\/src\/([\w/.-]+)/.exec(caller!)![1]!);
				return parsed.body();
			};
			return { ...parsed, body };
		},
	};
}

describe.each([
	["OpenAI's own wire", openAiChat, (ask: string): Json => ({ messages: [{ role: "user", content: ask }] })],
	["a wire that is translated", plainDialect, (ask: string): Json => ({ ask })],
	["OpenAI's Responses", openAiResponses, (ask: string): Json => ({ input: ask })],
] as const)("of a call in %s nobody asks for the body", (_, dialect, words) => {
	const noted = noting(dialect);
	const steps = ["auth", "limits", "cache", "relay"] as const;
	const asking = (more: Json = {}): Json => ({ model: "box/m", ...words("Who is there?"), ...more });
	async function send(body: Json | string, of = "open", headers: Record<string, string> = {}) {
		const request = new Request("http://localhost/v1", {
			method: "POST",
			headers: { "content-type": "application/json", authorization: `Bearer key-of-${of}-1234`, ...headers },
			body: typeof body === "string" ? body : JSON.stringify(body),
		});
		const handle = callHandler({ operation: "chat", dialect: noted, steps }, router.context);
		const answer = await handle(request, null);
		await answer.text();
		return { status: answer.status, cache: answer.headers.get("x-router-cache"), error: router.settled.at(-1)?.error };
	}

	test.each([
		["a model that nobody serves", { model: "nobody" }, "open", "model_not_found"],
		["a model that its key may not use", { model: "other/m" }, "narrow", "model_not_allowed"],
		["a longer prompt than its key may send", {}, "short", "input_too_large"],
		["a price that nobody knows", { model: "paid/m" }, "rich", "price_unknown"],
		["more than its budget holds", {}, "poor", "insufficient_quota"],
	] as const)("where it is refused for %s", async (_what, more, of, error) => {
		expect((await send(asking(more), of)).error).toBe(error);
		expect([asked, router.attempts]).toEqual([[], []]);
	});

	test("where it is refused for a limit on calls", async () => {
		await send(asking(), "slow");
		asked = [];
		expect((await send(asking(), "slow")).error).toBe("rate_limit_exceeded");
		expect(asked).toEqual([]);
	});

	test("where the cache answers it: by its text, by what it means, and as a stream", async () => {
		const repeated = asking({ temperature: 0 });
		expect((await send(repeated, "rich")).cache).toBe("miss");
		asked = [];
		const spaced = JSON.stringify(repeated, undefined, "\t");
		const [streamed, bypassed] = [
			asking({ temperature: 0, stream: true }),
			asking({ temperature: 0, model: "several" }),
		];
		for (const body of [repeated, repeated, repeated, spaced, streamed]) {
			expect((await send(body, "rich")).cache).toBe("hit");
		}
		expect([asked, router.attempts.length]).toEqual([[], 1]);
		await send(bypassed, "open");
		expect(asked).not.toEqual([]);
	});

	test.each([
		["to one target", {}, "rich", {}],
		["to one of several, and says why", { model: "several" }, "open", { "x-router-explain": "1" }],
		["that is kept for others", { temperature: 0 }, "open", { "x-router-cache": "no-cache" }],
		["that thinks as long as it is given", { model: "several" }, "open", { "x-router-timeout-ms": "9000" }],
	] as [string, Json, string, Record<string, string>][])("but its provider: %s", async (_what, more, of, headers) => {
		expect((await send(asking(more), of, headers)).status).toBe(200);
		expect(asked).not.toEqual([]);
		expect(asked.filter((file) => !file.startsWith("providers/"))).toEqual([]);
	});
});

test("a body is made once, and not before it is asked for", () => {
	let made = 0;
	const body = madeOnce(() => {
		made++;
		return parseRequest("chat", '{"model":"m","messages":[{"role":"user"}]}').body();
	});
	expect(made).toBe(0);
	expect(body()).toBe(body());
	expect([made, body().value.model]).toEqual([1, "m"]);
});
