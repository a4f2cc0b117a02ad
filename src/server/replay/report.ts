/** What a replay would have changed, and how far a replay of what was is from what was. Pure. */
import type { Policy } from "../../routing/route.ts";
import type { RecordedCall } from "./recorded-call.ts";
import type { RecordedTraffic } from "./recorded-traffic.ts";
import { isPlanned } from "./replayed-plan.ts";
import { percentile } from "./service-times.ts";
import { type ReplayedCall, recordedWait, replayTraffic } from "./simulation.ts";

/** A figure as it was, and by the replay; null where nobody knows. */
export interface Compared {
	readonly live: number | null;
	readonly replay: number | null;
}

/** What would have changed. USD, and ms to the first token, or to the answer where that is no stream. */
export interface ReplayReport {
	readonly object: "replay";
	/** Null: as it was. */
	readonly policy: Policy | null;
	readonly model?: string | undefined;
	readonly calls: {
		/** Of that time. */
		readonly all: number;
		/** Of those asked for that had several targets: all that follows is about them. */
		readonly decided: number;
		/** Had several, and their rows don't say what was known of those: older ones, and those of which that was not kept. */
		readonly unexplained: number;
		/** Of those decided, would have run elsewhere. */
		readonly moved: number;
		/** Of those, at targets that no call of that time was answered by: how long they take is a guess. */
		readonly guessed: number;
		/** At targets that would have answered more than twice what they did: what they take with so many is not seen of them. */
		readonly extrapolated: number;
	};
	readonly cost_usd: Compared & {
		/** Calls of which it is not known on both sides; they are in neither sum. */
		readonly unknown: number;
	};
	readonly wait_ms: { readonly median: Compared; readonly p95: Compared };
	/** The dearest as it was first. */
	readonly targets: readonly ReplayedTarget[];
	/** Of a replay by the policies that were live: how many of its calls ran where they had, and by what share cost and median wait are off. */
	readonly error: {
		readonly same_targets: number | null;
		readonly cost: number | null;
		readonly median_wait: number | null;
	};
}

/** A target, as it was and by the replay. */
export interface ReplayedTarget {
	readonly target: string;
	readonly calls: Compared;
	readonly cost_usd: Compared;
	readonly median_wait_ms: Compared;
}

/** More than so many times the calls that a target answered are beyond what was seen of it. */
const MOST_TIMES = 2;

/** What is asked of a replay. */
export interface ReplayQuestion {
	/** Undefined: the policies that were live. */
	readonly policy?: Policy | undefined;
	/** A name of `models:`; the calls of others go where they went. */
	readonly model?: string | undefined;
}

/** Replays calls twice, by the policy and by those that were live. */
export function replayReport(traffic: RecordedTraffic, { policy, model }: ReplayQuestion): ReplayReport {
	const isAsked = (call: RecordedCall) => !call.isCopy && (model === undefined || call.model === model);
	const decidedOf = (all: readonly ReplayedCall[]) =>
		all.filter(({ call }) => isPlanned(call) && hasRun(call) && isAsked(call));
	const own = decidedOf(replayTraffic(traffic, { policy: undefined, isAsked }));
	const replay = policy === undefined ? own : decidedOf(replayTraffic(traffic, { policy, isAsked }));
	const moved = replay.filter(isMoved);
	const targets = targetsOf(replay);
	return {
		object: "replay",
		policy: policy ?? null,
		model,
		calls: {
			all: traffic.calls.filter(({ isCopy }) => !isCopy).length,
			decided: replay.length,
			unexplained: traffic.calls.filter((call) => call.isUnexplained && isAsked(call)).length,
			moved: moved.length,
			guessed: moved.filter(({ isGuess }) => isGuess).length,
			extrapolated: targets
				.filter(({ calls }) => calls.live! > 0 && calls.replay! > MOST_TIMES * calls.live!)
				.reduce((sum, { calls }) => sum + calls.replay!, 0),
		},
		cost_usd: costOf(replay),
		wait_ms: waitsOf(replay),
		targets,
		error: errorOf(own),
	};
}

const hasRun = ({ attempts }: ReplayedCall["call"]): boolean => attempts.length > 0;
const isMoved = ({ call, target }: ReplayedCall): boolean => target !== call.target;

function costOf(calls: readonly ReplayedCall[]): ReplayReport["cost_usd"] {
	let [live, replay, unknown] = [0, 0, 0];
	for (const { call, cost } of calls) {
		// What failed has no cost, there as here.
		if (call.cost === undefined && cost === undefined) continue;
		if (call.cost === undefined || cost === undefined) unknown++;
		else {
			live += call.cost;
			replay += cost;
		}
	}
	return { live, replay, unknown };
}

function waitsOf(calls: readonly ReplayedCall[]): ReplayReport["wait_ms"] {
	const live = calls.map(({ call }) => recordedWait(call));
	const replay = calls.map(({ waitMs }) => waitMs);
	const at = (share: number): Compared => {
		return { live: percentile(live, share) ?? null, replay: percentile(replay, share) ?? null };
	};
	return { median: at(0.5), p95: at(0.95) };
}

function targetsOf(calls: readonly ReplayedCall[]): ReplayedTarget[] {
	const ids = new Set(calls.flatMap(({ call, target }) => [call.target, target]));
	const sum = (all: readonly (number | undefined)[]) => all.reduce<number>((total, each = 0) => total + each, 0);
	const rows = [...ids].map((id): ReplayedTarget => {
		const live = calls.filter(({ call }) => call.target === id);
		const replay = calls.filter(({ target }) => target === id);
		return {
			target: id ?? "",
			calls: { live: live.length, replay: replay.length },
			cost_usd: { live: sum(live.map(({ call }) => call.cost)), replay: sum(replay.map(({ cost }) => cost)) },
			median_wait_ms: {
				live:
					percentile(
						live.map(({ call }) => recordedWait(call)),
						0.5,
					) ?? null,
				replay:
					percentile(
						replay.map(({ waitMs }) => waitMs),
						0.5,
					) ?? null,
			},
		};
	});
	return rows.sort((one, other) => other.cost_usd.live! - one.cost_usd.live! || other.calls.live! - one.calls.live!);
}

function errorOf(own: readonly ReplayedCall[]): ReplayReport["error"] {
	const { live, replay } = costOf(own);
	const { median } = waitsOf(own);
	return {
		same_targets: own.length === 0 ? null : 1 - own.filter(isMoved).length / own.length,
		cost: changeOf({ live, replay }),
		median_wait: changeOf(median),
	};
}

/** By what share a figure is another one; null where that is not known. */
export function changeOf({ live, replay }: Compared): number | null {
	if (!live || replay === null) return null;
	return replay / live - 1;
}
