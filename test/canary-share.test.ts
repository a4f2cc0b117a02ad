/** Which calls go to a replica on trial at an agent: a share of conversations, each of which stays on its side. */
import { describe, expect, test } from "bun:test";
import { accessTo } from "../src/routing/agent-targets.ts";
import { needsOf } from "../src/routing/requirements.ts";
import type { RouteTarget } from "../src/routing/route.ts";
import type { Json } from "./kit/exchange.ts";
import { factsOf } from "./kit/facts.ts";
import { Clock, call, replica, route } from "./kit/routes.ts";

const OLD = [0, 1].map((n) => replica(`local/a/m#${n}`, { readiness: 0, canaryShare: 0.1, isCanary: false }));
const CANARY = replica("local/a/m#2", { readiness: 0, canaryShare: 0.1, isCanary: true });
const LOADED_BY_CALL = replica("local/b/m", { readiness: 4 });
const of = (conversation: number) => call("hello", { conversation: () => conversation });

describe("a replica on trial", () => {
	const way = route([...OLD, CANARY, LOADED_BY_CALL]);

	test("whose breaker is open gets none of the conversations that are its", () => {
		const clock = new Clock();
		clock.failed(CANARY.id, 5);
		expect(clock.ids(of(0.05), way).slice(0, 2)).not.toContain(CANARY.id);
	});

	test("that fails a call has the old ones behind it, before whatever would have to be loaded", () => {
		const ids = new Clock().ids(of(0.05), way);
		expect([ids[0], ids.at(-1)]).toEqual([CANARY.id, LOADED_BY_CALL.id]);
	});

	test("that is retired with its agent is behind the old ones there, and before whatever would have to be loaded", () => {
		const retired = [OLD[0]!, CANARY].map((each) => ({ ...each, readiness: 0.75 }));
		const asleep = replica("local/b/m", { readiness: 1 });
		const ids = new Clock().ids(of(0.5), route([asleep, ...retired]));
		expect(ids).toEqual([OLD[0]!.id, CANARY.id, asleep.id]);
	});

	test("is behind the old ones for all other conversations, however idle it is and whatever it has cached", () => {
		const clock = new Clock();
		for (const { id } of OLD) for (let n = 0; n < 5; n++) clock.state.opened(id, true, { prompt: of(0.5).prompt() });
		clock.served(CANARY.id, 1, of(0.5));
		const ids = clock.ids(of(0.5), way);
		expect([ids[2], ids[3]]).toEqual([CANARY.id, LOADED_BY_CALL.id]);
	});

	test("gets its share of many conversations, and a session stays on its side", () => {
		const clock = new Clock();
		const sides = Array.from({ length: 5000 }, (_, n) => {
			const session = `session-${n}`;
			const needs = needsOf({
				operation: "chat",
				stream: true,
				facts: factsOf({ messages: [] }),
				headers: new Headers({ "x-session-id": session }),
			});
			const side = clock.ids(needs, way)[0] === CANARY.id;
			expect(clock.ids(needs, way)[0] === CANARY.id).toBe(side);
			return side;
		});
		const share = sides.filter(Boolean).length / sides.length;
		expect(share).toBeGreaterThan(0.08);
		expect(share).toBeLessThan(0.12);
	});
});

describe("a conversation without a session", () => {
	const placeOf = (messages: Json[], more: Json = {}) =>
		needsOf({
			operation: "chat",
			stream: true,
			facts: factsOf({ messages, ...more }),
			headers: new Headers(),
		}).conversation();
	const system = { role: "system", content: 'Say {"role":"assistant"} when you are done.' };
	const asked = { role: "user", content: "How high is it?" };
	const turns = [
		{ role: "assistant", content: "4,478 m." },
		{ role: "user", content: "And the other one?" },
	];

	test("is known by what it began with, turn after turn", () => {
		const first = placeOf([system, asked]);
		expect(placeOf([system, asked, ...turns])).toBe(first);
		expect(placeOf([system, asked, ...turns, ...turns])).toBe(first);
		expect(placeOf([system, asked, { content: null, tool_calls: [], role: "assistant" }])).toBe(first);
	});

	test.each([
		["an answer with a brace in its text before its role", { content: "a { b", role: "assistant" }],
		[
			"tool calls before its role",
			{ tool_calls: [{ id: "1", type: "function", function: { name: "f" } }], role: "assistant" },
		],
		["a part of its own that names a role", { parts: [{ role: "assistant" }, "{"], content: "no", role: "assistant" }],
	])("is the same after %s", (_, answered) => {
		expect(placeOf([system, asked, answered, ...turns])).toBe(placeOf([system, asked]));
	});

	test("is known by its question, too, where tools name a role, or the model has spoken first", () => {
		const tools = [{ type: "function", function: { name: "f", parameters: { examples: [{ role: "assistant" }] } } }];
		const greeting = { role: "assistant", content: "Good day! What may I do?" };
		for (const [messages, more] of [
			[[system, asked], { tools }],
			[[system, greeting, asked], {}],
			[[greeting, asked], {}],
		] as const) {
			const first = placeOf([...messages], more);
			expect(placeOf([...messages, ...turns], more)).toBe(first);
			expect(placeOf([...messages.slice(0, -1), { ...asked, content: "How deep is it?" }], more)).not.toBe(first);
		}
	});

	test("takes no time by long white space", () => {
		const long = { role: "user", content: `${" ".repeat(100_000)}x` };
		expect(placeOf([long, ...turns])).toBe(placeOf([long]));
	});

	test("is another one for another question behind the same system prompt, and for other tools", () => {
		const first = placeOf([system, asked]);
		expect(placeOf([system, { ...asked, content: "How deep is it?" }])).not.toBe(first);
		expect(placeOf([system, asked], { tools: [{ type: "function", function: { name: "f" } }] })).not.toBe(first);
	});
});

describe("an agent that rolls a model", () => {
	const ways = (...replicas: { state?: "ready" | "starting" | "draining"; canary?: number }[]) =>
		accessTo(
			{
				name: "m",
				state: "ready",
				replicas: replicas.map(({ state = "ready", ...each }, number) => ({ replica: number, state, ...each })),
			},
			0,
		).map(({ replica: number, canaryShare, isCanary }): Partial<RouteTarget> & { replica?: number | undefined } => ({
			replica: number,
			canaryShare,
			isCanary,
		}));

	test("names the share at each side", () => {
		expect(ways({}, { canary: 0.2 })).toEqual([
			{ replica: 0, canaryShare: 0.2, isCanary: false },
			{ replica: 1, canaryShare: 0.2, isCanary: true },
		]);
	});

	test("names none while only one side is ready", () => {
		for (const all of [
			[{}, { state: "starting", canary: 0.2 }],
			[{ state: "draining" }, { canary: 0.2 }],
		] as const) {
			for (const way of ways(...all)) expect([way.canaryShare, way.isCanary]).toEqual([undefined, undefined]);
		}
	});
});
