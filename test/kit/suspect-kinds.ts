/** Holders of suspected calls: of one thread, and of several that share what is known. */
import { makeSuspects, SharedSuspects } from "../../src/proxy/shared-suspects.ts";
import type { DeathReport, SuspectEvent } from "../../src/proxy/suspect-step.ts";
import { Suspects, type SuspectsView } from "../../src/proxy/suspects.ts";

/** A worker's clock is so far behind the main thread's, ms. */
const OFFSETS = [0, 100_000, 7] as const;

/** Views of three threads on the same calls, the main one's first. @param time the clock of all, ms */
export function suspectViews(time: () => number): readonly [SharedSuspects, SharedSuspects, SharedSuspects] {
	const memory = makeSuspects();
	const view = (thread: 0 | 1 | 2) =>
		new SharedSuspects(memory, thread, OFFSETS[thread], () => time() - OFFSETS[thread]);
	return [view(0), view(1), view(2)];
}

/** Views of two threads with one clock as if they were one: each step is another one's, but that of a turn is its own thread's. */
function alternating(time: () => number): SuspectsView {
	const memory = makeSuspects();
	const views = [1, 2].map((thread) => new SharedSuspects(memory, thread, 0, time)) as SuspectsView[];
	let steps = 0;
	const ownerOf = (args: readonly unknown[]): SuspectsView | undefined => {
		const { id, turn = { id } } = (args[0] ?? {}) as { id?: string; turn?: { id?: string } };
		return turn.id === undefined ? undefined : views[Number(turn.id.split("/")[0]) - 1];
	};
	return new Proxy(views[0]!, {
		get(_, name: keyof SuspectsView) {
			const view = views[steps++ % 2]!;
			if (typeof view[name] !== "function") return view[name];
			return (...args: unknown[]) => {
				const own = ownerOf(args) ?? ownerOf(args.slice(1)) ?? view;
				return (own[name] as (...all: unknown[]) => unknown).apply(own, args);
			};
		},
		set(_, name: "refuseMs" | "report", value) {
			for (const view of views) Object.assign(view, { [name]: value });
			return true;
		},
	});
}

/** Rows of tests that hold for each. */
export const SUSPECT_KINDS: readonly (readonly [name: string, make: (time: () => number) => SuspectsView])[] = [
	["one thread", (time) => new Suspects(time)],
	["two threads, by turns", alternating],
];

/** A holder of one kind at a time of the test's own, ms, with what it reports. */
export function suspectHolder(make: (time: () => number) => SuspectsView) {
	const clock = { now: 1_000 };
	const suspects = make(() => clock.now);
	const events: SuspectEvent[] = [];
	suspects.report = (event) => events.push(event);
	const dies = (fingerprint: string, more: Partial<DeathReport> = {}) =>
		suspects.died({
			...{ engine: "a", startedAt: clock.now - 500, fingerprint, model: "m", call: `req_${fingerprint}` },
			...{ hasTokens: false, turn: undefined, wasWell: true },
			...more,
		});
	/** It is tried at an engine, which dies of it. */
	const diesOnTrial = (fingerprint: string, engine = "a", isAlone = true) => {
		const turn = suspects.enter("m", clock.now);
		suspects.begin(turn, engine, isAlone);
		clock.now += 100;
		const verdict = dies(fingerprint, { engine, turn, startedAt: clock.now - 1, wasWell: false });
		suspects.leave(turn);
		return verdict;
	};
	return { clock, suspects, events, dies, diesOnTrial };
}
