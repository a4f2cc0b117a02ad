/** `router models roll`: one agent after the other, what is printed, and where it stops. */
import { afterAll, describe, expect, test } from "bun:test";
import { rollModel } from "../src/cli/roll-command.ts";

import type { Loose } from "./kit/exchange.ts";
import { configOf } from "./kit/pipeline.ts";

/**
 * What agents show of their roll, at one question after the other; the last stays. `undefined`: none, of an agent that does not say whether it has decided;
 * `ordered`: it has not. `none`: it has, and there is nothing to roll. A number: that status.
 * A roll that is `ordered`: the one before, while it has not.
 */
type Story = readonly (Loose | number | "ordered" | "none" | undefined)[];
const at = (seconds: number) => new Date(seconds * 1000).toISOString();
const roll = (state: string, seconds: number, more: Loose = {}) => ({ state, image: "i", at: at(seconds), ...more });
const GOOD: Story = [
	undefined,
	roll("starting", 1),
	roll("canary", 1, { canary: 0.1 }),
	roll("promoted", 9, { reason: "good" }),
];
const BAD: Story = [undefined, roll("starting", 1), roll("taken back", 9, { reason: "no such flag" })];

const servers: { stop(force: boolean): unknown }[] = [];
afterAll(() => Promise.all(servers.map((server) => server.stop(true))));

/** A router whose agents tell so; what it was asked. */
function fakeRouter(stories: Readonly<Record<string, Story>>, state = "fresh") {
	const asked: string[] = [];
	const steps = new Map<string, number>();
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		fetch({ method, url }) {
			const { pathname } = new URL(url);
			const agents = Object.keys(stories).map((name) => ({ name, state, models: [{ name: "qwen" }] }));
			if (pathname === "/agents") return Response.json({ data: agents });
			const name = pathname.split("/")[2]!;
			asked.push(`${method === "POST" ? "order" : "view"} ${name}`);
			const step = steps.get(name) ?? 0;
			steps.set(name, step + 1);
			const shown = stories[name]![Math.min(step, stories[name]!.length - 1)];
			if (typeof shown === "number") return Response.json({ error: { message: "away" } }, { status: shown });
			const view = { name: "qwen", state: shown === "none" ? "stopped" : "ready" };
			if (shown === "none") return Response.json(view);
			if (shown === "ordered") return Response.json({ ...view, reason: "Docker is away", roll_ordered: true });
			const { ordered, ...shownRoll } = (shown ?? {}) as Loose;
			return Response.json({
				...view,
				...(shown && { roll: shownRoll }),
				...(ordered === true && { roll_ordered: true }),
			});
		},
	});
	servers.push(server);
	return { url: server.url.origin, asked };
}

async function rolled(stories: Readonly<Record<string, Story>>, isWaiting = true) {
	const { url, asked } = fakeRouter(stories);
	const lines: string[] = [];
	const config = configOf({ admin: { keys: [{ name: "admin", key: "the-key-of-an-administrator" }] } });
	let error = "";
	await rollModel({ model: "qwen", isWaiting }, url, config, (line) => lines.push(line), 1).catch((thrown: Error) => {
		error = thrown.message;
	});
	return { lines, error, asked };
}

test("without an admin key it says that a router without keys has none, and how to set one", async () => {
	const asked = rollModel({ model: "qwen", isWaiting: true }, "http://127.0.0.1:9", configOf({}), () => {}, 1);
	await expect(asked).rejects.toThrow(/A router without keys has none either: name one under `admin\.keys`/);
});

test("of a model whose agents are all gone it says whose it is", async () => {
	const { url } = fakeRouter({ a: GOOD, b: GOOD }, "gone");
	const config = configOf({ admin: { keys: [{ name: "admin", key: "the-key-of-an-administrator" }] } });
	for (const [model, whose] of [
		["qwen", "a, b"],
		["local/b/qwen", "b"],
	] as const) {
		const asked = rollModel({ model, isWaiting: true }, url, config, () => {}, 1);
		await expect(asked).rejects.toThrow(`is a model of ${whose}, not heard of any more: see whether`);
	}
});

test("what has to go one replica at a time is told so", async () => {
	const { lines } = await rolled({ a: [undefined, roll("starting", 1, { in_place: true }), ...GOOD.slice(2)] });
	expect(lines[1]).toBe("a: qwen starting, one replica at a time: there is no memory for one more");
});

describe("a roll at several agents", () => {
	test("stops at the first that takes it back, and says which were not asked", async () => {
		const { lines, error, asked } = await rolled({ a: GOOD, b: BAD, c: GOOD, d: GOOD });
		expect(error).toBe("b: the roll of qwen was taken back; not asked: c, d");
		expect(lines.at(-1)).toBe("b: qwen taken back: no such flag");
		expect(asked.some((each) => /[cd]$/.test(each))).toBe(false);
	});

	test("is ordered from the next one once the one before is over, and each step is printed once", async () => {
		const slow = GOOD.flatMap((step) => [step, step]);
		const { lines, error, asked } = await rolled({ a: slow, b: GOOD });
		expect(error).toBe("");
		expect(asked.indexOf("order b")).toBe(asked.lastIndexOf("view a") + 1);
		expect(lines.slice(0, 5)).toEqual([
			"a: qwen is to be rolled (it is ready)",
			"a: qwen starting",
			"a: qwen canary (10 % of calls)",
			"a: qwen promoted: good",
			"b: qwen is to be rolled (it is ready)",
		]);
	});

	test("takes the end of the roll before for none of this one", async () => {
		const before = roll("taken back", 0.5, { reason: "bad" });
		const { error, lines } = await rolled({ a: [before, before, ...GOOD.slice(1)] });
		expect([error, lines.at(-1)]).toEqual(["", "a: qwen promoted: good"]);
	});

	test("goes on where an agent is away for a while, and ends where it stays away", async () => {
		expect((await rolled({ a: [undefined, roll("starting", 1), 502, 502, roll("promoted", 9)] })).error).toBe("");
		expect((await rolled({ a: [undefined, 502], b: GOOD })).error).toContain("answers 502: away");
	});

	test("goes on to the next agent where a model is not up, and has nothing to roll", async () => {
		const { error, lines, asked } = await rolled({ a: [undefined], b: GOOD });
		expect(error).toBe("");
		expect(lines[1]).toStartWith("a: qwen has nothing to roll: it is ");
		expect(asked).toContain("order b");
	});

	test("goes on as soon as an agent has decided that there is nothing to roll", async () => {
		const { error, lines, asked } = await rolled({
			a: ["ordered", "none"],
			b: ["ordered", "ordered", ...GOOD.slice(1)],
		});
		expect(error).toBe("");
		expect(lines[1]).toBe("a: qwen has nothing to roll: it is stopped, and starts with what is new");
		expect(asked.slice(0, 3)).toEqual(["order a", "view a", "order b"]);
		expect(lines.at(-1)).toBe("b: qwen promoted: good");
	});

	test("stops at an agent that serves and has lost the order, as by its restart, and says so", async () => {
		const before = roll("promoted", 0.5, { reason: "good" });
		for (const lost of [undefined, before]) {
			const first = lost === undefined ? "ordered" : { ...before, ordered: true };
			const { error, lines, asked } = await rolled({ a: [first, first, 502, lost], b: GOOD });
			expect(error).toBe(
				"a: the roll of qwen was forgotten, as by a restart of the agent: order it again; not asked: b",
			);
			expect(lines).toEqual(["a: qwen is to be rolled (it is ready)"]);
			expect(asked).not.toContain("order b");
		}
	});

	test("stops at an agent that can't decide, and says why", async () => {
		const { error, asked } = await rolled({ a: ["ordered"], b: GOOD });
		expect(error).toBe("a: the roll of qwen has not begun: Docker is away; not asked: b");
		expect(asked).not.toContain("order b");
	});

	test("is ordered from all at once where nobody waits", async () => {
		const { error, asked } = await rolled({ a: BAD, b: GOOD }, false);
		expect([error, asked]).toEqual(["", ["order a", "order b"]]);
	});
});
