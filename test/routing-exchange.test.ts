/** What routing knows, exchanged by routers: load, cached prompts and sessions, whatever is lost on the way. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { BLOCK, promptOf } from "../src/routing/affinity.ts";
import { plan } from "../src/routing/plan.ts";
import {
	decodeBlocks,
	decodeRoutingMessage,
	encodeBlocks,
	encodeConversation,
	encodeRoutingMessage,
} from "../src/routing/routing-message.ts";
import { RoutingNotes } from "../src/routing/routing-notes.ts";
import { random } from "./kit/random.ts";
import { call, replica, route } from "./kit/routes.ts";
import { EXCHANGED_KINDS, ExchangeNetwork, type ExchangingRouter } from "./kit/routing-exchange.ts";
import { until } from "./kit/until.ts";

let network: ExchangeNetwork;
beforeEach(() => {
	network = new ExchangeNetwork();
});
afterEach(() => network.close());

/** Random text of so many blocks. */
const text = (seed: number, blocks: number) => {
	const { below } = random(seed);
	return Array.from({ length: blocks * BLOCK }, () => String.fromCharCode(97 + below(26))).join("");
};
const promptFrom = (seed: number, blocks = 20) => promptOf("", [text(seed, blocks)]);
const give = ({ state }: ExchangingRouter, target: string, seed: number) =>
	state.opened(target, true, { prompt: promptFrom(seed) }).closed({});
const uncached = ({ state }: ExchangingRouter, target: string, seed: number) =>
	state.of(target).prefixes?.uncached(promptFrom(seed)) ?? 20 * BLOCK;
const loadAt = ({ state }: ExchangingRouter, target = "box/m") => {
	const { inFlight, waiting, queuedCharacters } = state.of(target);
	return [inFlight, waiting, queuedCharacters];
};
/** Routers that know each other, and have long been there: each has asked what is remembered, in vain. */
async function joined(...names: string[]) {
	const routers = names.map((name) => network.join(name));
	for (let at = 0; at < 5; at++) for (const each of routers) each.tick();
	const isThere = (name: string) =>
		network.sent.some((each) => each.includes(`"from":"${name}"`) && !each.includes('"new"'));
	await until(() => names.every(isThere));
	return routers as [ExchangingRouter, ExchangingRouter, ExchangingRouter];
}

/** A message of a router that is none of the test's. */
const message = (over: object) => JSON.stringify({ v: 1, from: "stranger", ...over });

describe.each(EXCHANGED_KINDS)("routers of %s:", (_, kind) => {
	beforeEach(() => {
		network = new ExchangeNetwork(kind);
	});

	describe("calls under way", () => {
		test("count at all routers, at each stage, and plans go by them", async () => {
			const [a, b, c] = await joined("a", "b", "c");
			const prompt = promptFrom(1);
			const first = a.state.opened("box/m", true, { prompt });
			const second = b.state.opened("box/m", true);
			await until(() => loadAt(c).join() === [2, 2, 20 * BLOCK].join());
			await until(() => loadAt(a)[0] === 2 && loadAt(b)[0] === 2);
			const twoReplicas = route([replica("box/m"), replica("other/m")]);
			const chosen = plan(call("x"), twoReplicas, c.state, 0, () => 0).targets[0]!.id;
			expect(chosen).toBe("other/m");
			first.firstToken();
			await until(() => loadAt(c).join() === "2,1,0");
			second.closed({ failure: "timeout" });
			first.closed({});
			await until(() => [a, b, c].every((each) => loadAt(each).join() === "0,0,0"));
		});

		test("of a router that ends are gone at once, of one that dies once it is not heard of, and the others' stay", async () => {
			const [a, b, c] = await joined("a", "b", "c");
			for (const each of [a, b, c]) each.state.opened("box/m", false);
			await until(() => [a, b, c].every((each) => loadAt(each)[0] === 3));
			b.leave();
			await until(() => [a, c].every((each) => loadAt(each)[0] === 2));
			c.isDead = true;
			network.now += 2_900;
			a.tick();
			expect(loadAt(a)[0]).toBe(2);
			network.now += 200;
			a.tick();
			expect(loadAt(a)[0]).toBe(1);
			c.isDead = false;
			c.tick();
			await until(() => loadAt(a)[0] === 2);
		});

		test("are right again after messages were lost", async () => {
			const [a, b] = await joined("a", "b");
			const gone = a.state.opened("gone/m", true);
			await until(() => loadAt(b, "gone/m")[0] === 1);
			network.loses = () => true;
			const lost = network.sent.length;
			gone.closed({});
			a.state.opened("new/m", true);
			await until(() => network.sent.slice(lost).some((each) => each.includes("new/m")));
			network.loses = () => false;
			a.tick();
			await until(() => loadAt(b, "gone/m")[0] === 0 && loadAt(b, "new/m")[0] === 1);
		});

		test("at more targets than anyone remembers are some of them, whoever names them", async () => {
			const [a, b] = await joined("a", "b");
			for (let at = 0; at < 5_000; at++)
				network.publish(message({ prompts: [[`other/${at}`, encodeBlocks(Int32Array.of(1))]] }));
			const remembered = [...b.exchanged.prompts()].map(([target]) => target);
			expect([remembered.length, remembered[0]]).toEqual([kind.caches, "other/4999"]);
			const many = Array.from({ length: 3_000 }, (_, at) => a.state.opened(`box/${at}`, true));
			await until(() => loadAt(b, "box/0")[0] === 1);
			expect(loadAt(b, "box/2999")[0]).toBe(0);
			for (const each of many) each.closed({});
			a.tick();
			await until(() => many.every((_, at) => loadAt(b, `box/${at}`)[0] === 0));
		});
	});

	describe("cached prompts", () => {
		test("of a target are known to all, until it is started anew", async () => {
			const [a, b] = await joined("a", "b");
			give(a, "box/m", 1);
			await until(() => uncached(b, "box/m", 1) === 1);
			expect(uncached(b, "other/m", 1)).toBe(20 * BLOCK);
			b.state.restarted("box/m");
			give(b, "box/m", 2);
			await until(() => uncached(a, "box/m", 2) === 1);
			expect([uncached(a, "box/m", 1), uncached(b, "box/m", 1)]).toEqual([20 * BLOCK, 20 * BLOCK]);
		});

		test("are gone everywhere where nobody listens any more, but not by the probes of a router that reaches nobody", async () => {
			const [a, b] = await joined("a", "b");
			give(a, "box/m", 1);
			await until(() => uncached(b, "box/m", 1) === 1);
			a.state.opened("box/m", true).closed({ failure: "transport" });
			await until(() => uncached(b, "box/m", 1) === 20 * BLOCK);
			while (a.state.of("box/m").breaker.state === "closed") {
				a.state.opened("box/m", true).closed({ failure: "transport" });
			}
			a.state.opened("mark/m", true);
			await until(() => loadAt(b, "mark/m")[0] === 1);
			give(b, "box/m", 3);
			await until(() => uncached(a, "box/m", 3) === 1);
			a.state.opened("box/m", true).closed({ failure: "transport" });
			expect(uncached(a, "box/m", 3)).toBe(20 * BLOCK);
			// What is told later has come, so that what was told before it has, too.
			a.state.opened("last/m", true);
			await until(() => loadAt(b, "last/m")[0] === 1);
			expect(uncached(b, "box/m", 3)).toBe(1);
		});
	});

	describe("sessions", () => {
		const use = ({ state }: ExchangingRouter, session: string, target: string) =>
			state.opened(target, true, { prompt: promptOf("", []), session }).closed({});

		test("are where their last call went, whichever router sent it", async () => {
			const [a, b] = await joined("a", "b");
			use(a, "s", "box/m");
			await until(() => b.state.session("s") === "box/m");
			use(b, "s", "other/m");
			await until(() => a.state.session("s") === "other/m");
		});

		test("that two routers move at once are at one place afterwards", async () => {
			const routers = await joined("a", "b", "c");
			for (let at = 0; at < 10; at++) {
				use(routers[at % 3]!, `s${at}`, "first/m");
				use(routers[(at + 1) % 3]!, `s${at}`, "second/m");
			}
			const told = (name: string) =>
				network.sent.some((each) => each.includes(`"from":"${name}"`) && each.includes('"sessions"'));
			await until(() => ["a", "b", "c"].every(told));
			for (let at = 0; at < 10; at++) {
				const places = new Set(routers.map(({ state }) => state.session(`s${at}`)));
				expect([...places]).toHaveLength(1);
			}
		});
	});

	describe("conversations that vendors' caches have", () => {
		const key = (first: number) => ({ first, second: -7 });

		test("are known to all for as long as they are kept yet, to a router that joins later, too", async () => {
			const [a, b] = await joined("a", "b");
			for (let at = 0; at < 1_200; at++) a.state.conversations.keep(key(at), 60_000);
			await until(() => b.state.conversations.leftMs(key(1_199)) === 60_000);
			network.now += 20_000;
			const late = network.join("d");
			await until(() => [0, 600, 1_199].every((at) => late.state.conversations.leftMs(key(at)) === 40_000));
		});

		test("are told when Redis takes messages again", async () => {
			const [a, b] = await joined("a", "b");
			network.refuses = () => true;
			a.state.conversations.keep(key(1), 60_000);
			network.refuses = () => false;
			a.tick();
			await until(() => b.state.conversations.leftMs(key(1)) === 60_000);
		});

		test("are none where a message says nonsense", async () => {
			const [a] = await joined("a");
			const good = encodeConversation(key(3));
			const bad = [good, [good], [good, -1], [good, 1e12], [good, "1"], ["x".repeat(40), 5], [1, 5], null];
			network.publish(message({ conversations: [...bad, [encodeConversation(key(4)), 5_000]] }));
			expect([...a.state.conversations.all()]).toEqual([[key(4), 5_000]]);
		});
	});

	describe("a router that joins", () => {
		test("is told what was remembered before, once, however many there are", async () => {
			const [a] = await joined("a", "b", "c");
			for (let seed = 1; seed <= 5; seed++) give(a, `box${seed}/m`, seed);
			for (let at = 0; at < 1_200; at++) {
				a.state.opened("box1/m", true, { prompt: promptOf("", []), session: `s${at}` }).closed({});
			}
			const late = network.join("d");
			await until(() => late.state.session("s0") === "box1/m" && late.state.session("s1199") === "box1/m");
			await until(() => [1, 2, 3, 4, 5].every((seed) => uncached(late, `box${seed}/m`, seed) === 1));
			const tellers = new Set(
				network.sent.filter((each) => each.includes('"to":["d"]')).map((each) => JSON.parse(each).from),
			);
			expect(tellers.size).toBe(1);
		});

		test("is told by the next one where the first is stuck", async () => {
			const [a, b] = await joined("a", "b");
			give(b, "box/m", 1);
			await until(() => uncached(a, "box/m", 1) === 1);
			network.loses = (each) => each.includes('"from":"a"') && each.includes('"to"');
			const late = network.join("d");
			late.tick();
			await until(() => uncached(late, "box/m", 1) === 1);
		});

		test("again, after it was cut off, learns what it has missed", async () => {
			const [a, b] = await joined("a", "b");
			b.isDeaf = true;
			give(a, "box/m", 1);
			a.state.opened("box/m", true, { prompt: promptOf("", []), session: "s" }).closed({});
			await until(() => network.sent.some((each) => each.includes('"sessions":[["s"')));
			b.isDeaf = false;
			expect([uncached(b, "box/m", 1), b.state.session("s")]).toEqual([20 * BLOCK, undefined]);
			b.resume();
			await until(() => uncached(b, "box/m", 1) === 1 && b.state.session("s") === "box/m");
		});
	});

	describe("several routers that listen again later than another one tells", () => {
		test("learn what it told, though none of those who answer them knows it", async () => {
			const [a, b, z] = await joined("a", "b", "z");
			a.isDeaf = b.isDeaf = true;
			give(z, "box/m", 1);
			z.state.opened("box/m", true, { prompt: promptOf("", []), session: "s" }).closed({});
			await until(() => network.sent.some((each) => each.includes('"sessions":[["s"')));
			a.isDeaf = b.isDeaf = false;
			a.resume();
			b.resume();
			for (const router of [a, b]) {
				await until(() => uncached(router, "box/m", 1) === 1 && router.state.session("s") === "box/m");
			}
		});

		test("learn where a session went last, whoever tells what again", async () => {
			const [a, b, z] = await joined("a", "b", "z");
			const move = (router: typeof a, target: string) =>
				router.state.opened(target, true, { prompt: promptOf("", []), session: "s" }).closed({});
			move(z, "box/m");
			await until(() => [a, b].every((router) => router.state.session("s") === "box/m"));
			move(b, "other/m");
			await until(() => [a, z].every((router) => router.state.session("s") === "other/m"));
			for (const router of [z, a, b]) router.resume();
			await until(() => network.sent.filter((each) => each.includes('"sessions":[["s","other/m"')).length > 1);
			expect([a, b, z].map((router) => router.state.session("s"))).toEqual(["other/m", "other/m", "other/m"]);
			expect(network.sent.filter((each) => each.includes('"sessions":[["s","box/m"')).length).toBe(1);
		});
	});

	describe("while Redis is away", () => {
		test("nothing is sent, and what was noted meanwhile is told when it is back", async () => {
			const [a, b] = await joined("a", "b");
			network.isUp = false;
			const sent = network.sent.length;
			give(a, "box/m", 1);
			a.state.opened("box/m", true, { prompt: promptOf("", []), session: "s" });
			a.tick();
			expect(network.sent.length).toBe(sent);
			network.isUp = true;
			await until(() => uncached(b, "box/m", 1) === 1 && b.state.session("s") === "box/m" && loadAt(b)[0] === 1);
		});

		test("what it did not take is told again, but for what is known better by then", async () => {
			const [a, b] = await joined("a", "b");
			let refused = 0;
			network.refuses = (each) => {
				const isRefused = each.includes('"sessions"') && refused < 2;
				if (isRefused && ++refused === 1) {
					a.state.opened("later/m", true, { prompt: promptFrom(2), session: "s" });
				}
				return isRefused;
			};
			a.state.opened("box/m", true, { prompt: promptFrom(1), session: "s" });
			await until(() => b.state.session("s") === "later/m" && loadAt(b)[0] === 1 && loadAt(b, "later/m")[0] === 1);
			await until(() => uncached(b, "box/m", 1) === 1 && uncached(b, "later/m", 2) === 1);
			expect([refused, a.state.session("s")]).toEqual([2, "later/m"]);
		});
	});
});

describe("messages", () => {
	test.each([
		"",
		"null",
		"[]",
		"no json",
		'{"v":2,"from":"x","loads":[["box/m",7,0,0]]}',
		'{"v":1,"loads":[["box/m",7,0,0]]}',
		message({
			loads: [["box/m", -1, 0, 0], ["box/m", 1.5, 0, 0], ["box/m", 1e300, 0, 0], ["box/m", "1", 0, 0], 7, null],
		}),
		message({
			loads: [
				["x".repeat(501), 7, 0, 0],
				["", 7, 0, 0],
			],
			emptied: [7, null],
			to: "x",
			asks: -1,
		}),
		message({
			loads: 7,
			emptied: {},
			prompts: [["box/m", 7]],
			sessions: [["s"], ["s", 7], ["x".repeat(201), "box/m"]],
		}),
	])("that make no sense change nothing: %s", async (sent) => {
		const [a] = await joined("a");
		network.publish(sent);
		expect([loadAt(a), a.state.session("s"), a.state.of("box/m").prefixes]).toEqual([[0, 0, 0], undefined, undefined]);
	});

	test("are read as they were written, whatever bytes they have become otherwise", () => {
		const { below } = random(5);
		const blocks = Int32Array.from({ length: 100 }, () => below(2 ** 32) | 0);
		expect(decodeBlocks(encodeBlocks(blocks))).toEqual(blocks);
		expect(decodeBlocks(encodeBlocks(blocks.subarray(10, 20)))).toEqual(blocks.slice(10, 20));
		const written = {
			...{ from: "a", isNew: true, asks: 2, isWhole: true, isLeaving: false },
			loads: [["box/m", { inFlight: 3, waiting: 2, queuedCharacters: 1_000 }]] as const,
			...{ emptied: ["x"], prompts: [["y", encodeBlocks(blocks)]] as const, sessions: [["s", "z"]] as const },
			conversations: [[encodeConversation({ first: 1, second: -1 }), 7]] as const,
		};
		const sent = encodeRoutingMessage(written);
		expect(decodeRoutingMessage(sent)).toEqual(written);
		for (let round = 0; round < 2_000; round++) {
			const at = below(sent.length);
			const changed = sent.slice(0, at) + String.fromCharCode(32 + below(90)) + sent.slice(at + below(3));
			const read = decodeRoutingMessage(changed);
			for (const [, each] of read?.prompts ?? []) decodeBlocks(each);
		}
	});

	test("hold so much and no more, and what waits for Redis is bounded: what was noted last is there", () => {
		const notes = new RoutingNotes(() => {});
		for (let nth = 0; nth < 20_000; nth++) {
			notes.promptGiven(
				`box/${nth % 7}`,
				Int32Array.from({ length: 20 }, (_, at) => nth * 20 + at),
			);
		}
		for (let at = 0; at < 30_000; at++) notes.sessionMoved(`s${at}`, "box/m");
		for (let at = 0; at < 3_000; at++) notes.loadChanged(`box/${at}`);
		const blocks = new Set<number>();
		const sessions: string[] = [];
		let isAnyTold = false;
		while (!notes.isEmpty) {
			const batch = notes.take();
			const count = batch.prompts.reduce((sum, [, each]) => sum + decodeBlocks(each).length, 0);
			expect([count <= 8_192 + 20, batch.sessions.length <= 500]).toEqual([true, true]);
			for (const [, each] of batch.prompts) for (const block of decodeBlocks(each)) blocks.add(block);
			sessions.push(...batch.sessions.map(([session]) => session));
			isAnyTold ||= batch.changed === undefined;
		}
		expect([blocks.size <= 131_072, blocks.has(20_000 * 20 - 1), blocks.has(0)]).toEqual([true, true, false]);
		expect([sessions.length, sessions.at(-1), isAnyTold]).toEqual([10_000, "s29999", true]);
	});
});
