/** The target whose prompt cache has a conversation's history comes first, unless another is worth more even so. */
import { describe, expect, test } from "bun:test";
import { PROMPT_CACHES } from "../src/providers/prompt-cache.ts";
import type { Provider } from "../src/providers/provider.ts";
import { keepAt } from "../src/routing/cache-places.ts";
import { explain } from "../src/routing/explain.ts";
import { historyIn } from "../src/routing/history.ts";
import { plan } from "../src/routing/plan.ts";
import type { Needs } from "../src/routing/requirements.ts";
import type { Policy, RouteTarget } from "../src/routing/route.ts";
import { Clock, call, route, target } from "./kit/routes.ts";

const asked = { isMarked: false, isForHour: false, retention: undefined };
/** A vendor's model. Prices in USD per million tokens. */
function vendor(id: string, over: Partial<RouteTarget> = {}, keys = 1): RouteTarget {
	const name = id.slice(0, id.indexOf("/"));
	const account = (number: number) =>
		({
			name,
			keySetting: `providers.${name}.api_keys[${number}]`,
			promptCache: { rules: PROMPT_CACHES.openai, scope: `${name} ${number}` },
		}) as unknown as Provider;
	const [provider, ...otherAccounts] = Array.from({ length: keys }, (_, at) => account(at));
	return target(id, { provider: { ...provider!, ...(keys > 1 && { otherAccounts }) }, ...over });
}

const said = (text: string, characters: number) =>
	JSON.stringify({ role: "user", content: text.padEnd(characters, ".") });
/** 40,000 characters, 10,000 tokens. */
const before = historyIn([`[${said("long", 40_000)}]`]);
const history = historyIn([
	`[${said("long", 40_000)},${JSON.stringify({ role: "assistant", content: "b" })},${said("c", 4_000)}]`,
]);
const needs = (over: Partial<Needs> = {}): Needs =>
	call("", { characters: 44_000, tokens: 11_000, leastTokens: 5_500, maxTokens: 100, history: () => history, ...over });
const PRICE = { input: 2, output: 8, cached: 0.2 };

function chosen(policy: Policy, targets: readonly RouteTarget[], held: RouteTarget, make = new Clock()) {
	keepAt(make.state.conversations, held, before, asked);
	const way = route(targets, { policy });
	const plan = make.plan(needs(), way);
	return explain({ model: "m", needs: needs(), route: way, plan, now: make.now }).candidates;
}

describe("cheapest", () => {
	// Without a cache 11,000 tokens and an answer of 100 cost 0.0228 USD; with 10,000 of them cached 0.018 less.
	test.each([
		["costs more even so", 0.3, ["other/m", "held/m"]],
		["costs more without", 0.5, ["held/m", "other/m"]],
	])("another that %s", (_, input, order) => {
		const held = vendor("held/m", { price: PRICE });
		const candidates = chosen("cheapest", [vendor("other/m", { price: { input, output: 8, cached: 0 } }), held], held);
		expect(candidates.map(({ id }) => id)).toEqual(order);
		const { inputs } = candidates.find(({ id }) => id === "held/m")!;
		expect(inputs).toMatchObject({ cost_usd: 0.0228, cached_tokens: 10_007, saved_usd: 0.01801 });
	});

	test("one whose price for what is cached nobody knows saves nothing", () => {
		const held = vendor("held/m", { price: { input: 2, output: 8 } });
		const candidates = chosen("cheapest", [vendor("other/m", { price: { input: 1.9, output: 8 } }), held], held);
		expect(candidates.map(({ id, inputs }) => [id, inputs.saved_usd])).toEqual([
			["other/m", undefined],
			["held/m", undefined],
		]);
	});
});

describe("balanced", () => {
	const timed = (ms: number) => {
		const clock = new Clock();
		clock.served("held/m", ms);
		clock.served("other/m", 100);
		return clock;
	};

	test.each([
		["as fast stays", 100, "held/m"],
		["somewhat slower stays", 700, "held/m"],
		["much slower goes elsewhere", 900, "other/m"],
	])("one that is %s", (_, ms, first) => {
		// What is saved leaves 21 % of the price: 7.1 times as slow is half as much more.
		const held = vendor("held/m", { price: PRICE });
		expect(chosen("balanced", [vendor("other/m", { price: PRICE }), held], held, timed(ms))[0]!.id).toBe(first);
	});

	test("says why", () => {
		const held = vendor("held/m", { price: PRICE }, 2);
		const clock = new Clock();
		const second = held.provider.otherAccounts![0]!;
		keepAt(clock.state.conversations, { provider: second, model: "m" }, before, asked);
		const way = route([vendor("other/m", { price: PRICE }), held]);
		const [first, last] = explain({
			model: "m",
			needs: needs(),
			route: way,
			plan: clock.plan(needs(), way),
			now: 0,
		}).candidates;
		expect(first).toMatchObject({
			id: "held/m",
			reason: "its prompt cache has the conversation",
			inputs: { cached_tokens: 10_007, saved_usd: 0.01801, cached_key: "providers.held.api_keys[1]" },
		});
		expect(last).toMatchObject({ id: "other/m", reason: "behind held/m: its prompt cache has the conversation" });
	});
});

test.each(["order", "fastest"] as const)("%s is as its owner wants it, whatever is cached", (policy) => {
	const clock = new Clock();
	clock.served("held/m", 200);
	clock.served("other/m", 100);
	const held = vendor("held/m", { price: PRICE });
	expect(chosen(policy, [vendor("other/m", { price: PRICE }), held], held, clock)[0]!.id).toBe("other/m");
});

test("weights share out conversations, each of which stays where it is", () => {
	const held = vendor("held/m", { weight: 1 });
	const clock = new Clock();
	keepAt(clock.state.conversations, held, before, asked);
	const way = route([vendor("other/m", { weight: 100 }), held]);
	for (const chance of [0, 0.3, 0.9]) expect(clock.ids(needs(), way, () => chance)[0]).toBe("held/m");
	expect(clock.ids(needs({ history: () => before }), way, () => 0.5)[0]).toBe("other/m");
});

test.each([
	["is out of order", (clock: Clock) => clock.failed("held/m", 5)],
	["asked to be left alone", (clock: Clock) => clock.state.pause("held/m", 1_000, "asked to be left alone")],
])("a target that %s comes last, whatever it has cached", (_, harm) => {
	const clock = new Clock();
	harm(clock);
	const held = vendor("held/m", { price: PRICE });
	expect(chosen("balanced", [held, vendor("other/m", { price: PRICE })], held, clock)[0]!.id).toBe("other/m");
});

test("what the cache of a key has that is out of use counts for nothing", () => {
	const clock = new Clock();
	const held = vendor("held/m", { weight: 1 }, 2);
	keepAt(clock.state.conversations, held, before, asked);
	const way = route([vendor("other/m", { weight: 100 }), held]);
	const chosenWith = (isReady: boolean) => {
		const keys = { isReady: (_: unknown, key: number) => isReady || key !== 0 };
		return plan(needs(), way, clock.state, 0, () => 0.5, undefined, keys).targets[0]!.id;
	};
	expect([chosenWith(true), chosenWith(false)]).toEqual(["held/m", "other/m"]);
});

test("a session that its client names stays where it is, whatever another has cached", () => {
	const clock = new Clock();
	clock.served("other/m", 100, call("", { session: "s" }));
	const held = vendor("held/m", { price: PRICE });
	keepAt(clock.state.conversations, held, before, asked);
	const way = route([held, vendor("other/m", { price: PRICE })]);
	expect(clock.ids(needs({ session: "s" }), way)[0]).toBe("other/m");
});

test.each([
	["one cache is no choice", [vendor("held/m"), target("free/m")], "chat"],
	["embeddings have none", [vendor("held/m"), vendor("other/m")], "embeddings"],
] as const)("nothing is asked of a prompt's history where %s", (_, targets, operation) => {
	const never = () => {
		throw new Error("its history was asked for");
	};
	expect(new Clock().ids(needs({ operation, history: never }), route(targets)).length).toBe(2);
});
