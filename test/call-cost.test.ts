/** What is reserved for a call before it is made: of tokens and of money, at the dearest target that it may reach. */
import { describe, expect, test } from "bun:test";
import type { Caller } from "../src/accounts/auth/keys.ts";
import { Admission, type AdmissionRequest } from "../src/accounts/limits/admission.ts";
import { CallCost, type CallReserve, type ReserveNeeds, type UsageServices } from "../src/accounts/usage/call-cost.ts";
import { LearnedUsage } from "../src/accounts/usage/learned-usage.ts";
import type { Rates } from "../src/accounts/usage/rates.ts";
import { type Estimated, estimatedTokens } from "../src/accounts/usage/token-estimate.ts";
import { limitCall } from "../src/api/handler.ts";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import type { Operation } from "../src/openai/operations.ts";
import { CallRecord } from "../src/proxy/call-record.ts";
import type { Route, RouteTarget } from "../src/routing/route.ts";
import type { Json } from "./kit/exchange.ts";
import { factsOf } from "./kit/facts.ts";
import { NO_LIMITS } from "./kit/pipeline.ts";

const RATES: Record<string, Rates> = {
	"one/m": { input: 1, output: 10 },
	"dear/m": { input: 2, output: 100 },
	"own/m": { input: 0, output: 0 },
	"hour/m": { input: 0, output: 0, gpu_hour: 2 },
	"fee/m": { input: 0, output: 0, request: 0.5 },
	"claude/m": { input: 1, output: 10, cached: 0.1, cache_write: 1.25, cache_write_1h: 2 },
	"think/m": { input: 1, output: 10, reasoning: 40 },
	"loud/m": { input: 1, output: 10, input_audio: 100, output_audio: 200, input_image: 50, output_image: 300 },
	"long/m": {
		input: { base: 1, tiers: [{ start: 1000, price: 4 }] },
		output: { base: 10, tiers: [{ start: 1000, price: 50 }] },
	},
	"one/other": { input: 5, output: 1000 },
	"unknown/m": undefined as never,
};
const target = (id: string, over: Partial<RouteTarget> = {}): RouteTarget => ({
	id,
	model: id.slice(id.indexOf("/") + 1),
	provider: { name: id.slice(0, id.indexOf("/")), routesModels: true } as RouteTarget["provider"],
	...over,
});
const caller: Caller = { id: "k", name: "k", isRestricted: false, limits: {}, mayUse: () => true };
const hi = { messages: [{ role: "user", content: "hi" }] };

const request = new Request("http://localhost/");
const ALL = { prompt: true, tokens: true, usd: true };

function admission(
	body: Json,
	targets: readonly RouteTarget[] = [target("one/m")],
	{
		operation = "chat",
		history = new LearnedUsage(),
		needs = ALL,
	}: { operation?: Operation; history?: LearnedUsage; needs?: ReserveNeeds | null } = {},
) {
	const call = {
		...parseRequest(operation, JSON.stringify({ model: "m", ...body })),
		operation,
		headers: new Headers(),
	};
	const route: Route = { targets, reason: "", label: "m" };
	const prices = { of: ({ id }: { id: string }) => (RATES[id] ? { rates: RATES[id], source: "prices" } : {}) };
	const usage = { prices, learned: history, clocks: undefined } as unknown as UsageServices;
	const record = new CallRecord("req_1", operation, 0, []);
	const prompt = estimatedTokens(call);
	let reserve: CallReserve | undefined;
	const control = {
		...NO_LIMITS,
		enter: ({ cost }: AdmissionRequest) => {
			if (needs) reserve = cost.reserve(needs);
			return new Admission({ counters: {}, time: () => 0 } as never, undefined, cost);
		},
	};
	const addresses = { of: () => "" };
	const admit = () =>
		limitCall({ admission: control, usage, addresses }, { call, caller, route, record, request, server: null });
	void admit();
	return { prompt, call, route, record, usage, made: record.cost!, reserve: reserve! };
}
const millionths = (usd: number) => Math.round(usd * 1e9) / 1e3;

describe("for an answer is reserved", () => {
	test.each([
		["what the client allows", { max_tokens: 100 }, 100],
		["the same for each choice", { max_tokens: 100, n: 3 }, 300],
		["4,096 tokens where nobody knows", {}, 4096],
		["the same for each choice where nobody knows", { n: 2 }, 8192],
		["no limit that is none", { max_tokens: 0 }, 4096],
	])("%s", (_, body, tokens) => {
		const { reserve } = admission({ ...hi, ...body });
		expect([reserve.answer, reserve.isAnswerLimited]).toEqual([tokens, Number((body as Json)["max_tokens"]) > 0]);
	});

	test("no more than the model can hold, and where several may answer what the largest can", () => {
		const small = target("one/m", { context: 1000 });
		expect(admission(hi, [small]).reserve.answer).toBe(1000);
		expect(admission({ ...hi, max_tokens: 1e9 }, [small]).reserve.answer).toBe(1000);
		expect(admission(hi, [small, target("dear/m")]).reserve.answer).toBe(4096);
	});

	test("nothing for embeddings, and for completions what is made in vain, too", () => {
		expect(admission({ input: "hi" }, undefined, { operation: "embeddings" }).reserve.answer).toBe(0);
		const several = admission({ prompt: ["a", "b"], max_tokens: 10, best_of: 4 }, undefined, {
			operation: "completions",
		});
		expect(several.reserve.answer).toBe(80);
	});

	test("what answers to the key usually have, learned from whole ones without a limit of the client's", () => {
		const history = new LearnedUsage();
		for (let at = 0; at < 8; at++) admission({ ...hi, n: 2 }, undefined, { history }).made.learn(600, undefined);
		for (let at = 0; at < 64; at++)
			admission({ ...hi, max_tokens: 7 }, undefined, { history }).made.learn(7, undefined);
		expect(admission(hi, undefined, { history }).reserve.answer).toBe(300);
		expect(admission({ ...hi, max_tokens: 2000 }, undefined, { history }).reserve.answer).toBe(2000);
	});
});

describe("of money is reserved", () => {
	const cost = (body: Json, ...ids: string[]) => {
		const { reserve, prompt } = admission(
			{ ...hi, max_tokens: 100, ...body },
			ids.map((id) => target(id)),
		);
		return { usd: millionths(reserve.usd), prompt };
	};

	test("prompt and answer at the dearest target, wherever it stands", () => {
		const { usd, prompt } = cost({}, "one/m");
		expect(usd).toBe(prompt + 1000);
		for (const ids of [
			["one/m", "dear/m"],
			["dear/m", "one/m"],
			["own/m", "dear/m", "one/m"],
		]) {
			expect(cost({}, ...ids).usd).toBe(2 * prompt + 10_000);
		}
	});

	test("nothing at local targets, by the hour or for nothing, and nothing where the price is unknown", () => {
		expect([cost({}, "own/m").usd, cost({}, "hour/m").usd, cost({}, "unknown/m").usd]).toEqual([0, 0, 0]);
	});

	test("a price a call", () => expect(cost({}, "fee/m").usd).toBe(500_000));

	test("a prompt that may be written to a cache, for an hour only where the client asks for that", () => {
		const { usd, prompt } = cost({}, "claude/m");
		expect(usd).toBe(1.25 * prompt + 1000);
		const kept = cost({ cache_control: { type: "ephemeral", ttl: "1h" } }, "claude/m");
		expect(kept.usd).toBe(2 * kept.prompt + 1000);
	});

	test("thought that is dearer than the answer", () => {
		const { usd, prompt } = cost({}, "think/m");
		expect(usd).toBe(prompt + 4000);
	});

	test("pictures and sound by prices of their own, in the answer only where the client asks for them", () => {
		const { usd, prompt } = cost({}, "loud/m");
		expect(usd).toBe(prompt + 1000);
		const content = [
			{ type: "image_url", image_url: { url: "https://x.example/a.png" } },
			{ type: "input_audio", input_audio: { data: "AAAA", format: "wav" } },
		];
		const seen = cost({ messages: [{ role: "user", content }] }, "loud/m");
		expect(seen.usd).toBe(seen.prompt - 1000 + 500 * 50 + 500 * 100 + 1000);
		expect(cost({ modalities: ["text", "audio"] }, "loud/m").usd).toBe(prompt + 20_000);
		expect(cost({ modalities: ["text", "image"] }, "loud/m").usd).toBe(prompt + 30_000);
	});

	test("a long prompt at its own price", () => {
		const { usd, prompt } = cost({ messages: [{ role: "user", content: "x".repeat(8000) }] }, "long/m");
		expect(usd).toBe(4 * prompt + 5000);
	});

	test("models that the call names to go on with", () => {
		const { usd, prompt } = cost({ models: ["other", "nobody"] }, "one/m");
		expect(usd).toBe(5 * prompt + 100_000);
	});

	test("and of those no more than upstreams take: each that is not known is looked for on the event loop", () => {
		const { usd, prompt } = cost({ models: ["nobody", "no-one", "none", "other"] }, "one/m");
		expect(usd).toBe(cost({}, "one/m").usd);
		expect(usd).toBeLessThan(5 * prompt + 100_000);
	});

	test("what calls have usually cost on top: searches, hours, a prompt that was longer than it seemed", () => {
		const history = new LearnedUsage();
		const made = () => admission({ ...hi, max_tokens: 100 }, undefined, { history });
		for (let at = 0; at < 8; at++) {
			const { made: call, prompt } = made();
			call.learn(50, (prompt + 500 + 20_000) / 1e6);
		}
		const { reserve, prompt } = made();
		expect(millionths(reserve.usd)).toBe(prompt + 1000 + 20_000 - 500);
	});

	test("and not, on top, what answers were longer than had been reserved: that is learned as their length", () => {
		const history = new LearnedUsage();
		for (let at = 0; at < 8; at++) {
			const { made } = admission(hi, undefined, { history });
			made.learn(10_000, 0.1);
		}
		const { reserve, prompt } = admission(hi, undefined, { history });
		expect(millionths(reserve.usd)).toBe(prompt + 100_000);
	});
});

describe("what became of a call is learned from", () => {
	const ended = (
		over: { isEstimated?: boolean; isCutShort?: boolean },
		history: LearnedUsage,
		needs: ReserveNeeds | null = ALL,
	) => {
		for (let at = 0; at < 8; at++) {
			const { record } = admission(hi, undefined, { history, needs });
			Object.assign(record, { tokens: { input: 5, output: 700 }, costUsd: 0.001, ...over });
			record.settle(200);
		}
		return history.of("k", "m").answerTokens;
	};

	test.each([
		["not where the router has guessed its tokens", { isEstimated: true }, undefined],
		["not where the client left", { isCutShort: true }, undefined],
		["where an upstream has counted them", {}, 700],
	])("%s", (_, over, tokens) => {
		const history = new LearnedUsage();
		history.of("k", "m").answerTokens;
		expect(ended(over, history)).toBe(tokens as number);
	});

	test("not before a limit has asked what calls come to", () => {
		expect(ended({}, new LearnedUsage(), null)).toBeUndefined();
	});
});

describe("what no limit needs is not looked at", () => {
	const never = () => {
		throw new Error("looked at for nothing");
	};
	/** A call whose prompt can't be read. */
	const unread: Estimated = { operation: "chat", facts: Object.assign(factsOf({}), { promptSizes: never }) };
	const costing = (rates: Rates | undefined, of = () => ({ rates, source: "prices" as const })) => {
		const services = { prices: { of }, learned: new LearnedUsage() } as unknown as UsageServices;
		return new CallCost(unread, caller, { targets: [target("own/m")], label: "m" }, services);
	};

	test("the prompt, where a budget meets what costs nothing", () => {
		const free = costing({ input: 0, output: 0 });
		expect(free.reserve({ prompt: false, tokens: false, usd: true }).usd).toBe(0);
		expect(() => costing(RATES["one/m"]).reserve({ prompt: false, tokens: false, usd: true })).toThrow("for nothing");
	});

	test("the price, where only the length of prompts is limited", () => {
		const cost = costing(undefined, never);
		expect(() => cost.reserve({ prompt: true, tokens: false, usd: false })).toThrow("for nothing");
		expect(cost.reserve({ prompt: false, tokens: false, usd: false })).toMatchObject({ prompt: 0, answer: 0, usd: 0 });
	});

	test("the client's address and the model's names, where no limit counts by them", () => {
		const { call, route, record, usage } = admission(hi);
		const asked: AdmissionRequest[] = [];
		const unasked = { of: never };
		const enter = (request: AdmissionRequest) => void asked.push(request);
		const options = { call, route, record, request, server: null };
		const none = { ...NO_LIMITS, enter };
		void limitCall({ admission: none as never, usage, addresses: unasked }, { ...options, caller });
		void limitCall({ admission: none as never, usage, addresses: unasked }, { ...options, caller: undefined });
		const byAddress = { ...none, limitsAddresses: true } as never;
		const addresses = { of: () => "10.0.0.7" };
		void limitCall({ admission: byAddress, usage, addresses: unasked }, { ...options, caller });
		void limitCall({ admission: byAddress, usage, addresses }, { ...options, caller: undefined });
		const models = { ...none, limitsModels: true } as never;
		void limitCall({ admission: models, usage, addresses: unasked }, { ...options, caller: undefined });
		const seen = asked.map(({ caller: its, names, address }) => [its?.id, names?.length, address]);
		expect(seen).toEqual([
			["k", undefined, undefined],
			["k", undefined, undefined],
			[undefined, undefined, "10.0.0.7"],
			[undefined, 2, undefined],
		]);
	});
});
