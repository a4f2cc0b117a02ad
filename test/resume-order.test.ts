/** Whom the rest of an answer that broke is asked of, in which order and how often: decided without a server. */
import { describe, expect, test } from "bun:test";
import type { Call } from "../src/openai/call.ts";
import { SentRecord } from "../src/openai/sent-so-far.ts";
import type { Failure } from "../src/providers/failure.ts";
import { RefusedAdditions } from "../src/proxy/refused-additions.ts";
import { canResume, type ResumeContext, ResumeProgress, resume } from "../src/proxy/resume.ts";
import { resumeSpend } from "../src/proxy/resume-request.ts";
import type { StartedAnswer } from "../src/proxy/started-answer.ts";
import type { RouteTarget } from "../src/routing/route.ts";

describe("an answer that breaks again and again", () => {
	test("goes on while it gets further, twenty times at most", () => {
		const progress = new ResumeProgress();
		for (let told = 0; told < 20; told++) expect(progress.broke(told)).toBe(0);
		expect(progress.broke(20)).toBeUndefined();
	});

	test("goes on after a pause where it got no further, and ends after three of these", () => {
		const progress = new ResumeProgress();
		const waits = [3, 3, 3, 5, 5, 5, 5, 5].map((told) => progress.broke(told));
		expect(waits).toEqual([0, 500, 1000, 0, 500, 1000, 2000, undefined]);
	});
});

test("an answer goes on after more connections that broke than engines that died, with nothing new in between; most often at one's own engines", () => {
	const breaks = ["connection", "connection", "connection", "death", "connection", "death", "connection"] as const;
	const progress = new ResumeProgress();
	expect(breaks.map((by) => progress.broke(3, by))).toEqual([0, 500, 500, 1000, 2000, 4000, undefined]);
	const own = new ResumeProgress();
	const waits = Array.from({ length: 17 }, () => own.broke(3, "ownConnection"));
	expect(waits).toEqual([0, ...Array(4).fill(500), ...Array(11).fill(1000), undefined]);
});

test.each([
	["connection", 20],
	["ownConnection", 20],
	["tunnel", 80],
] as const)("an answer that gets further each time goes on after %s broke %i times, and no more", (by, most) => {
	const progress = new ResumeProgress();
	for (let told = 0; told < most; told++) expect(progress.broke(told, by)).toBe(0);
	expect(progress.broke(most, by)).toBeUndefined();
});

describe("how long an answer's rest is waited for depends on who is left", () => {
	const targets = ["a", "b", "c"].map((id) => ({ id, provider: {}, model: "m" }) as RouteTarget);
	const told = new SentRecord().soFar();
	const streamed = { stream: true, body: () => ({ value: { messages: [] } }) } as unknown as Call;

	test("one other target is a place to go on at, the one that began it is none", () => {
		const may = (...left: RouteTarget[]) => canResume({ call: streamed, targets: left }, targets[0]!);
		expect([may(), may(targets[0]!), may(targets[1]!)]).toEqual([false, false, true]);
		expect(canResume({ call: { ...streamed, stream: false }, targets }, targets[0]!)).toBe(false);
	});

	test("one alone is a place to go on at where its host opens the connection again", () => {
		const alone = { ...targets[0]!, reopens: true };
		expect(canResume({ call: streamed, targets: [alone] }, targets[0]!)).toBe(true);
		const fallback = { ...alone, tier: "fallback" } as const;
		expect(canResume({ call: streamed, targets: [fallback] }, fallback)).toBe(false);
	});

	/** Whom it asks, and whether it is told that others are left; each fails so. */
	async function asked(
		broke: Failure["kind"],
		kinds: Record<string, Failure["kind"] | Failure["kind"][]>,
		among = targets,
		mayContinue: ResumeContext["mayContinue"] = () => "now",
		late: RouteTarget[][] = [],
	) {
		const seen: string[] = [];
		const broken = { target: among[0]! } as StartedAnswer;
		const end = await resume(
			broken,
			{ kind: broke, message: "" },
			{
				call: streamed,
				targets: among,
				sent: told,
				spent: resumeSpend(told, undefined, undefined),
				tries: ({ id }) => Number(id === "a"),
				isUnhealthy: () => false,
				mayContinue,
				refused: new RefusedAdditions(),
				wait: async () => true,
				late: () => late.shift() ?? [],
				attempt: async ({ id }, _, hasOthers) => {
					seen.push(`${id}${hasOthers ? "+" : ""}`);
					return { kind: typeof kinds[id] === "string" ? kinds[id] : kinds[id]!.shift()!, message: "" };
				},
			},
		);
		expect(end).toBeUndefined();
		return seen.join(" ");
	}

	test.each([
		["truncated", { a: "not_found", b: "timeout", c: "timeout" }, "b+ c+ a"],
		["timeout", { b: "timeout", c: "timeout" }, "b+ c"],
		["timeout", { b: "overloaded", c: "timeout" }, "b+ c+ b b"],
		["truncated", { a: "transport", b: "transport", c: "not_found" }, "b+ c+ a+ b+ a+ b+ a+"],
	] as const)("after %s, %o", async (broke, kinds, order) => {
		expect(await asked(broke, kinds)).toBe(order);
	});

	test("one that came since is asked where all have failed for good, and with the others where they are asked again", async () => {
		const kinds = { a: "transport", b: "not_found", c: "not_found" } as const;
		const [a, b, c] = targets as [RouteTarget, RouteTarget, RouteTarget];
		const now = () => "now" as const;
		expect(await asked("timeout", kinds, [a, b], now, [[c]])).toBe("b c");
		expect(await asked("timeout", kinds, [a, b], now, [[{ ...c, tier: "fallback" }]])).toBe("b");
		expect(await asked("truncated", kinds, [a, b], now, [[c]])).toBe("b+ a a+ c+ a");
	});

	test("an agent that is back before its engine is asked for as long as one that is not back", async () => {
		const agents = targets.slice(0, 2).map((each) => ({ ...each, agent: "gpu-1" }));
		const back: Failure["kind"][] = ["transport", "transport", "transport", ...new Array(3).fill("overloaded")];
		expect(await asked("truncated", { a: back, b: "not_found" }, agents)).toBe("b+ a a a a a a");
	});

	test("agents that can't be reached are asked for as long as one that is started again may take", async () => {
		const agents = targets.slice(0, 2).map((each) => ({ ...each, agent: "gpu-1" }));
		expect(await asked("truncated", { a: "transport", b: "transport" }, agents)).toBe(
			new Array(6).fill("b+ a+").join(" "),
		);
		expect(await asked("truncated", { a: "overloaded", b: "overloaded" }, agents)).toBe("b+ a+ b+ a+ b+ a+");
	});

	test("one that was silent is asked again where an engine has died meanwhile, and so is the one that fell silent", async () => {
		const order = await asked("timeout", { a: "transport", b: "timeout", c: "engine_died" });
		expect(order).toStartWith("b+ c c+ a+ b+ ");
	});

	test.each([
		["truncated", "later", { a: "transport", b: "engine_died", c: "transport" }, "b+ a+ b+ a+ b+ a+ b+ a+ b+ a+ b+ a+"],
		["truncated", "never", { a: "transport", b: "engine_died", c: "transport" }, "b+ a+ b+ a+ b+ a+ b+ a+ b+ a+ b+ a+"],
	] as const)(
		"after %s, where an engine dies of it and the last one is asked %s, %o",
		async (broke, permission, kinds, order) => {
			expect(await asked(broke, kinds, targets, ({ id }) => (id === "b" ? "now" : permission))).toBe(order);
		},
	);

	test.each([
		["is being started is asked behind all that are ready, the one that broke among them", 52, false, "c+ a b"],
		["has yet to be woken comes there, too", 1, false, "c+ a b"],
		["is a queue behind ready replicas is asked in its turn", 90, true, "b+ c+ a"],
		["was not heard of lately is asked in its turn", 100, false, "b+ c+ a"],
	] as const)("one that %s", async (_, readiness, isQueue, order) => {
		const among = targets.map((each) => (each.id === "b" ? { ...each, readiness, isQueue } : each));
		expect(await asked("truncated", { a: "not_found", b: "not_found", c: "not_found" }, among)).toBe(order);
	});
});
