/** A worker that is ended before any of its steps on memory that threads share: the main thread, which has not heard of that yet, goes on. */
import { describe, expect, test } from "bun:test";
import { SharedLearnedUsage } from "../src/accounts/usage/shared-learned-usage.ts";
import { ClaimTable } from "../src/cache/claim-table.ts";
import { SharedRing } from "../src/memory/shared-ring.ts";
import { SharedKeyRotation } from "../src/proxy/shared-key-rotation.ts";
import { SharedSuspects } from "../src/proxy/shared-suspects.ts";
import { SharedRoutingState } from "../src/routing/shared-routing-state.ts";
import {
	type DyingSteps,
	dies,
	keyOf,
	PROMPT,
	PROVIDER,
	queueOf,
	routingOf,
	type SharedThings,
	sharedThings,
	slotsOf,
} from "./kit/dying-steps.ts";

/** When a breaker's pause is over. */
const later = () => performance.now() + 20_000;

/** Has a worker begin this work and be ended before each of its steps in turn, and looks at what it leaves. How many steps there were. */
async function endedBeforeEach(
	what: DyingSteps["what"],
	look: (things: SharedThings, step: number) => void,
	before: (things: SharedThings) => void = () => {},
): Promise<number> {
	for (let step = 0; ; step++) {
		const things = sharedThings();
		before(things);
		const worker = new Worker(new URL("./kit/dying-steps.ts", import.meta.url));
		const { promise, resolve, reject } = Promise.withResolvers<string>();
		worker.onmessage = ({ data }) => resolve(data);
		worker.onerror = ({ message }) => reject(new Error(message));
		worker.postMessage({ things, what, step } satisfies DyingSteps);
		const said = await promise;
		// Nothing is awaited from here on: no event says that it has ended.
		worker.terminate();
		if (said === "done") return step;
		look(things, step);
	}
}

describe("a worker that is ended in the midst of", () => {
	test("a call leaves nothing that the main thread waits for, and nothing counted", async () => {
		const steps = await endedBeforeEach("a call", (things) => {
			const main = routingOf(things, 0);
			const calls = ["a/m", "b/m", "c/m"].map((target) =>
				main.opened(target, true, { prompt: PROMPT, session: "chat" }),
			);
			for (const call of calls) {
				call.firstToken();
				call.closed({});
			}
			main.pause("a/m", 0, "its key is out of use");
			// The event has come.
			main.freed(1);
			for (const target of ["a/m", "b/m", "c/m"]) {
				expect(main.of(target)).toMatchObject({
					inFlight: 0,
					waiting: 0,
					queuedCharacters: 0,
					waitingSince: undefined,
				});
				expect(main.of(target).breaker.state).toBe("closed");
				// All three of its blocks, of 256 characters each, are known.
				expect(main.of(target).prefixes!.uncached(PROMPT)).toBe(232);
			}
			expect(main.session("chat")).toBe("c/m");
		});
		expect(steps).toBeGreaterThan(40);
	}, 60_000);

	test("a call keeps no probe of another worker, which has ended too, from being over", async () => {
		const steps = await endedBeforeEach(
			"a call",
			({ routing }) => {
				const main = new SharedRoutingState(routing, { thread: 0, offset: 0 }, later);
				// That one's end is heard of first.
				main.freed(2);
				expect(main.of("a/m").breaker.state).toBe("open");
			},
			({ routing }) => {
				const main = new SharedRoutingState(routing, { thread: 0, offset: 0 });
				for (let at = 0; at < 5; at++) main.opened("a/m", true).closed({ failure: "timeout" });
				const other = new SharedRoutingState(routing, { thread: 2, offset: 0 }, later);
				other.opened("a/m", true);
				expect(main.of("a/m").breaker.state).toBe("probing");
			},
		);
		expect(steps).toBeGreaterThan(40);
	}, 60_000);

	test("the change of a slot's id leaves each slot to one id at most, and to whoever asks for it next", async () => {
		const steps = await endedBeforeEach("the change of a slot's id", (things) => {
			const main = slotsOf(things, 0);
			const hold = (id: string) => {
				const slot = main.hold(id);
				expect(slot.id).toBe(id);
				main.letGo(slot);
				expect(main.find(id)?.number).toBe(slot.number);
				const ids = [...main.all()].map(([each]) => each);
				expect(new Set(ids).size).toBe(ids.length);
			};
			for (const id of ["one", "two", "three", "four", "two"]) hold(id);
			// The event has come: what it held is free, too.
			main.freed(1);
			for (const id of ["two", "four"]) hold(id);
			expect([...main.all()].map(([id]) => id).sort()).toEqual(["four", "two"]);
		});
		expect(steps).toBeGreaterThan(20);
	}, 60_000);

	test("a claim leaves every call to others", async () => {
		const steps = await endedBeforeEach(
			"a claim",
			({ claims }) => {
				const main = new ClaimTable(claims, 0);
				main.onEnded = (ended) => main.freed(ended);
				// Another worker has ended, too, and it is that one's end which is heard of first.
				main.freed(2);
				main.freed(1);
				const other = new ClaimTable(claims, 3);
				for (const name of [1, 2]) expect(other.take(keyOf(name))).toBe("ours");
				expect(other.release(keyOf(3))!.waiting).toEqual([]);
			},
			({ claims }) => void new ClaimTable(claims, 3).take(keyOf(3)),
		);
		expect(steps).toBeGreaterThan(8);
	}, 60_000);

	test("a turn in front of a model leaves all places to others", async () => {
		const steps = await endedBeforeEach("a turn", (things) => {
			const main = queueOf(things, 0);
			// Where it has not ended in the midst of something, what it held is free when the event has come.
			main.queues.freed(1);
			const { queue } = queueOf(things, 2);
			expect([queue.enterNow(), queue.enterNow()]).not.toContain(undefined);
			expect(queue.hasRoom).toBe(false);
		});
		expect(steps).toBeGreaterThan(10);
	}, 60_000);

	test("a suspicion leaves what is known of calls whole, and the line to others", async () => {
		const steps = await endedBeforeEach("a suspicion", ({ suspects: memory }) => {
			const main = new SharedSuspects(memory, 0, 0);
			const turn = main.enter("m", -1);
			// The event has come: what the worker tried there explains no death any more.
			main.freed(1);
			expect(dies(main, "z")).toBe("suspect");
			expect([main.hasTurn(turn), main.isReserved("a", turn)]).toEqual([true, false]);
			expect([main.stateOf("z"), main.lastDead("a") !== undefined]).toEqual(["suspect", true]);
			expect(main.begin(turn, "a", true)).toBe(true);
		});
		expect(steps).toBeGreaterThan(15);
	}, 60_000);

	test("a refused key leaves what is known of keys whole, and none out of use for ever", async () => {
		const steps = await endedBeforeEach("a refused key", ({ keys: memory }) => {
			const main = new SharedKeyRotation(memory, 0, 0, () => 0);
			const accounts = main.accountsOf(PROVIDER, 2);
			accounts.ended({ index: 1, isProbe: false }, "other", { kind: "auth", status: 401, message: "no" }, 10);
			expect([accounts.has("m", 60_009, [0]), main.hasRefusals]).toEqual([false, true]);
			main.freed(1);
			const later = [0, 1].map(() => accounts.take("m", 200_000)?.index);
			expect(later.sort()).toEqual([0, 1]);
		});
		expect(steps).toBeGreaterThan(8);
	}, 60_000);

	test("an answer leaves what answers come to known, or not yet", async () => {
		const steps = await endedBeforeEach("an answer", ({ learned: memory }) => {
			const main = new SharedLearnedUsage(memory, 0, () => 0);
			expect([100, undefined]).toContain(main.of("a", "m").answerTokens);
			for (let call = 0; call < 8; call++) main.of("a", "m").learn({ answer: 100, surplus: 1 });
			expect([main.of("a", "m").answerTokens, main.of("b", "m").surplus]).toEqual([100, 1]);
		});
		expect(steps).toBeGreaterThan(15);
	}, 60_000);

	test("a put leaves values that are whole", async () => {
		const steps = await endedBeforeEach("a put", ({ ring: memory }) => {
			const main = new SharedRing(memory, 0);
			expect(main.put(keyOf(9), new Uint8Array(100).fill(9))).toBe(true);
			for (let name = 0; name < 3; name++) {
				const value = main.get(keyOf(name));
				if (value) expect(value).toEqual(new Uint8Array(1_000).fill(name));
			}
			expect(main.get(keyOf(9))).toEqual(new Uint8Array(100).fill(9));
		});
		expect(steps).toBeGreaterThan(10);
	}, 60_000);
});
