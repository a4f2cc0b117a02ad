/** A worker that knows of targets what its siblings do. It does what it is told, one thing after the other. */
import { SharedLock } from "../../src/memory/shared-lock.ts";
import { SharedBreaker } from "../../src/routing/shared-breaker.ts";
import { type RoutingMemory, SharedRoutingState } from "../../src/routing/shared-routing-state.ts";
import type { AttemptEnd, OpenAttempt } from "../../src/routing/target-state.ts";
import { random } from "./random.ts";
import { call } from "./routes.ts";

declare const self: Worker;

/** What the workers of one test have in common. */
export interface SharedParts {
	readonly states: RoutingMemory;
	/** One breaker, whose lock and sequence begin it. */
	readonly breaker: SharedArrayBuffer;
	/** The clock of all threads, ms: a 64-bit number. Behind it 32-bit ones: how many have come to a barrier, and one for the test. */
	readonly control: SharedArrayBuffer;
	/** How many wait for each other at a barrier. */
	readonly workers: number;
}

/** A worker's own. */
export interface WorkerPlace {
	readonly thread: number;
	/** Its own clock is so far behind, ms. */
	readonly offset: number;
}

let parts: SharedParts;
let thread: number;
let state: SharedRoutingState;
const attempts: OpenAttempt[] = [];
let barriers = 0;

/** Waits until all have come here. */
function meet(): void {
	const arrived = new Int32Array(parts.control, 8, 1);
	const all = ++barriers * parts.workers;
	if (Atomics.add(arrived, 0, 1) + 1 === all) Atomics.notify(arrived, 0);
	for (let now = Atomics.load(arrived, 0); now < all; now = Atomics.load(arrived, 0)) Atomics.wait(arrived, 0, now);
}

const commands = {
	/** To be told first, and before anything else is done with other memory. */
	use(shared: SharedParts, place: WorkerPlace): void {
		parts = shared;
		thread = place.thread;
		barriers = 0;
		attempts.length = 0;
		const cell = new Float64Array(shared.control, 0, 1);
		const time = () => cell[0]! - place.offset;
		state = new SharedRoutingState(shared.states, place, time);
	},
	/** Opens an attempt; what it is known by. */
	open(target: string, isStream: boolean, prompt?: string, session?: string): number {
		const work = prompt === undefined ? undefined : { prompt: call(prompt).prompt(), session };
		return attempts.push(state.opened(target, isStream, work)) - 1;
	},
	firstToken: (attempt: number): void => attempts[attempt]!.firstToken(),
	close: (attempt: number, end: AttemptEnd): void => attempts[attempt]!.closed(end),
	/** What is known of a target. */
	view(target: string) {
		const view = state.of(target);
		const { inFlight, waiting, waitingSince, queuedCharacters, breaker, isUnreachable, pausedUntil, pausedFor } = view;
		const means = [view.firstToken, view.answer, view.answerTokens].map((latency) => latency.mean(state.now()));
		const counts = { inFlight, waiting, queuedCharacters };
		return { ...counts, waitingSince, breaker, isUnreachable, pausedUntil, pausedFor, means, now: state.now() };
	},
	session: (name: string): string | undefined => state.session(name),
	/** Characters of a prompt that a target would have to compute; undefined where it was given none. */
	uncached: (target: string, prompt: string): number | undefined =>
		state.of(target).prefixes?.uncached(call(prompt).prompt()),
	restarted: (target: string): void => state.restarted(target),
	pause: (target: string, ms: number): void => state.pause(target, ms, "its key is out of use"),
	/** Opens, answers and closes attempts at these targets, at the same time as its siblings. So many of each stay open. */
	hammer(targets: readonly string[], steps: number, stay: number): void {
		const { below, pick } = random(thread);
		const open: OpenAttempt[] = [];
		meet();
		for (let step = 0; step < steps; step++) {
			if (open.length < 8 && below(2) === 0) {
				const work = { prompt: call("x".repeat(300 + below(3_000))).prompt(), session: `s-${below(50)}` };
				open.push(state.opened(pick(targets), below(2) === 0, work));
			} else if (open.length > 0) {
				const at = below(open.length);
				open[at]!.firstToken();
				if (below(2) === 0) open.splice(at, 1)[0]!.closed({});
			}
			// Names that are used once have others' slots given away.
			if (step % 8 === 0) state.opened(`${thread}/${step}`, true).closed({ failure: pick(["timeout", undefined]) });
		}
		for (const attempt of open) attempt.closed({});
		for (const target of targets) {
			for (let at = 0; at < stay; at++)
				attempts.push(state.opened(target, true, { prompt: call("y".repeat(100)).prompt() }));
		}
		meet();
	},
	closeAll(end: AttemptEnd): void {
		for (const attempt of attempts) attempt.closed(end);
	},
	/** Opens attempts at a target and has them fail, at the same time as its siblings. */
	fail(target: string, count: number): void {
		meet();
		for (let at = 0; at < count; at++) state.opened(target, true).closed({ failure: "timeout" });
	},
	/** The same attempts for ever. */
	hammerOn(target: string): void {
		const told = new Int32Array(parts.control, 12, 1);
		for (;;) {
			const attempt = state.opened(target, true, { prompt: call("z".repeat(600)).prompt(), session: `s-${thread}` });
			attempt.firstToken();
			attempt.closed({});
			Atomics.add(told, 0, 1);
		}
	},
	/** In each round: whether this thread's attempt is the one that finds out how the target is. Somebody opens the breaker before each. */
	probe(rounds: number): boolean[] {
		const { breaker, lock } = ownBreaker();
		return Array.from({ length: rounds }, (_, round) => {
			meet();
			if (thread === 1) {
				lock.acquire();
				// Each time a century later: whatever pause it has is over.
				breaker.change("dead", round * 1e9);
				lock.release();
			}
			meet();
			lock.acquire();
			const isProbe = breaker.begun(round * 1e9 + 1e6);
			lock.release();
			meet();
			if (thread === 1) {
				lock.acquire();
				breaker.change("good", round * 1e9 + 2e6, true);
				lock.release();
			}
			return isProbe;
		});
	},
	/** Opens and closes a breaker until the test has seen enough: at even times it opens, at odd ones it closes. */
	flip(): void {
		const { breaker, lock } = ownBreaker();
		const told = new Int32Array(parts.control, 12, 1);
		for (let now = 0; Atomics.load(told, 0) === 0; now += 2e6) {
			lock.acquire();
			breaker.change("dead", now);
			lock.release();
			lock.acquire();
			breaker.begun(now + 1e6);
			lock.release();
			lock.acquire();
			breaker.change("good", now + 1e6 + 1, true);
			lock.release();
		}
	},
};

function ownBreaker(): { readonly breaker: SharedBreaker; readonly lock: SharedLock } {
	const ints = new Int32Array(parts.breaker);
	const floats = new Float64Array(parts.breaker);
	const address = { ints, floats, sequence: 1, prober: 2, cells: 2 };
	return { breaker: new SharedBreaker(address, thread, 0), lock: new SharedLock(ints, 0, thread) };
}

/** What it can be told. */
export type RoutingCommands = typeof commands;

self.onmessage = ({ data: [name, args] }: MessageEvent<[keyof RoutingCommands, never]>) => {
	const command = commands[name] as (...args: unknown[]) => unknown;
	self.postMessage(command(...(args as unknown[])));
};
