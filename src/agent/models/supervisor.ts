/**
 * What to do so that the containers become what is wanted: `(wanted, observed, history, now) → actions`, pure. Its state
 * table is in design.md beside this file.
 *
 * States are derived from what is seen now; the one thing remembered is how often a replica failed, and that is forgotten
 * once it is ready or its spec changes. So nothing latches: whatever comes back is seen to be back.
 */
import type { ModelState } from "../../protocol/agent.ts";
import type { ContainerState } from "../docker/docker-output.ts";
import type { Problem } from "../problem.ts";

/** One replica of a model, as it should be. */
export interface DesiredReplica {
	/** `model#replica`, see `replicaKey`. */
	readonly key: string;
	readonly desired: "up" | "asleep" | "down";
	/** Of the spec; a container of another hash is drained and replaced. */
	readonly hash: string;
	readonly image: string;
	/** Calls in flight. */
	readonly running: number;
	/** Why it can't be started now though nothing failed: other models still give their memory back. */
	readonly waitReason?: string | undefined;
	/** Why it can't be started at all as things are: it does not fit. */
	readonly misfit?: Problem | undefined;
}

/** How a running container answers. `unknown`: not up yet, or not asked yet. `dead`, `hung`: it was up before. */
export type Health = "unknown" | "up" | "asleep" | "dead" | "hung";

/** One of our containers, as it is. Times are ms of one clock. */
export interface ObservedContainer {
	readonly id: string;
	readonly key: string;
	readonly hash: string;
	readonly state: ContainerState;
	readonly health: Health;
	/** When it was started; where it ran before this agent did, when it was first seen. */
	readonly startedAt: number;
	/** When its start last made progress; at first as `startedAt`. */
	readonly progressAt: number;
	/** Why it ended or is ill, where something is known. */
	readonly problem?: Problem | undefined;
}

/** What an effect in flight does for a replica. */
export type Activity = "pull" | "start" | "stop" | "sleep" | "wake";

/** The world, as far as it concerns containers. */
export interface ObservedState {
	/** Why Docker can't be asked; `containers` is then what was seen last. */
	readonly engineProblem?: Problem | undefined;
	readonly containers: readonly ObservedContainer[];
	/** Images known to be there. */
	readonly images: ReadonlySet<string>;
	/** By key: no second action is begun for a replica (or an orphan's id) until the first has ended and been seen to. */
	readonly inFlight: ReadonlyMap<string, Activity>;
}

/** What is remembered of a replica. */
export interface FailureRecord {
	readonly hash: string;
	readonly count: number;
	/** No start before then, ms. */
	readonly retryAt: number;
	readonly problem: Problem;
}

/** One thing to do. */
export type Action =
	| { readonly do: "pull"; readonly key: string; readonly image: string }
	| { readonly do: "start"; readonly key: string }
	/** Stops and removes it. `failed`: it ended by itself or is ill, and its log says why. */
	| { readonly do: "stop"; readonly key: string; readonly id: string; readonly failed: boolean }
	| { readonly do: "sleep" | "wake"; readonly key: string; readonly id: string };

/** A replica's state; `id` is the container that calls may go to. */
export interface ReplicaState {
	readonly state: ModelState;
	readonly id?: string | undefined;
	readonly problem?: Problem | undefined;
	readonly retryAt?: number | undefined;
}

/** How long is too long. */
export interface SupervisorLimits {
	/** Longest time without progress of a start, ms. */
	readonly silenceMs: number;
	/** Longest start in all, ms. */
	readonly startMs: number;
	/** Longest that a container that has to go waits for its calls, ms. */
	readonly drainMs: number;
}

/** What to do now, how things stand, and what to remember. */
export interface SupervisorDecision {
	readonly actions: readonly Action[];
	/** By key. */
	readonly states: ReadonlyMap<string, ReplicaState>;
	/** By key; what the next call is given. */
	readonly failures: ReadonlyMap<string, FailureRecord>;
	/** By container id: since when it drains. What the next call is given. */
	readonly draining: ReadonlyMap<string, number>;
}

/** What the call before left behind. */
export type SupervisorState = Pick<SupervisorDecision, "failures" | "draining">;

/** The memory of an agent that has just started. */
export const INITIAL_STATE: SupervisorState = { failures: new Map(), draining: new Map() };

/** The key of one replica. `#` stands in no model's name. */
export const replicaKey = (model: string, replica: number): string => `${model}#${replica}`;

/** The model of a replica's key. */
export const modelOfKey = (key: string): string => key.slice(0, key.lastIndexOf("#"));

/** How long after the n-th failure in a row the next start waits, ms: 0, 10 s, 20 s, … 300 s. */
export function backoff(count: number): number {
	return Math.min(300_000, Math.max(0, count - 1) * 10_000);
}

/** One more failure of a replica. */
export function nextFailure(
	before: FailureRecord | undefined,
	hash: string,
	problem: Problem,
	now: number,
): FailureRecord {
	const count = (before?.hash === hash ? before.count : 0) + 1;
	return { hash, count, retryAt: now + backoff(count), problem };
}

/** Decides. The same answer for the same arguments; nothing is done here. */
export function supervise(
	wanted: readonly DesiredReplica[],
	observed: ObservedState,
	memory: SupervisorState,
	limits: SupervisorLimits,
	now: number,
): SupervisorDecision {
	const actions: Action[] = [];
	const states = new Map<string, ReplicaState>();
	const failures = new Map<string, FailureRecord>();
	const draining = new Map<string, number>();
	const keys = new Set(wanted.map(({ key }) => key));
	const pulls = new Set(wanted.filter(({ key }) => observed.inFlight.get(key) === "pull").map(({ image }) => image));

	for (const each of wanted) {
		const past = memory.failures.get(each.key);
		const decided = decideReplica(
			each,
			observed,
			past?.hash === each.hash ? past : undefined,
			memory.draining,
			limits,
			now,
		);
		states.set(each.key, decided.state);
		if (decided.failures) failures.set(each.key, decided.failures);
		if (decided.drains) draining.set(decided.drains, memory.draining.get(decided.drains) ?? now);
		for (const action of decided.actions) {
			// Replicas of a model share an image: one of them pulls it.
			if (action.do === "pull" && pulls.has(action.image)) continue;
			if (action.do === "pull") pulls.add(action.image);
			actions.push(action);
		}
	}
	for (const { id, key } of observed.containers) {
		if (keys.has(key) || observed.engineProblem || observed.inFlight.has(id)) continue;
		actions.push({ do: "stop", key: id, id, failed: false });
	}
	return { actions, states, failures, draining };
}

interface ReplicaDecision {
	readonly state: ReplicaState;
	readonly actions: readonly Action[];
	readonly failures?: FailureRecord | undefined;
	/** The container that waits for its calls. */
	readonly drains?: string | undefined;
}

function decideReplica(
	wanted: DesiredReplica,
	observed: ObservedState,
	past: FailureRecord | undefined,
	draining: ReadonlyMap<string, number>,
	limits: SupervisorLimits,
	now: number,
): ReplicaDecision {
	const { key, desired, hash, image, running } = wanted;
	const own = observed.containers.filter((each) => each.key === key);
	// The one of the right spec that runs, if there is one; any other has to go first.
	const [seen, ...others] = own.sort((a, b) => rank(b, hash) - rank(a, hash) || b.startedAt - a.startedAt);
	const work = observed.inFlight.get(key);
	const quiet = (state: ReplicaState, more: Partial<ReplicaDecision> = {}): ReplicaDecision => ({
		state,
		actions: [],
		failures: past,
		...more,
	});
	if (work) return quiet(duringEffect(work, seen));
	if (observed.engineProblem) return quiet(withoutEngine(seen, desired, observed.engineProblem));
	const stop = (id: string, failed: boolean): Action => ({ do: "stop", key, id, failed });
	if (others.length > 0) return quiet(stateOf(seen!), { actions: [stop(others.at(-1)!.id, false)] });
	if (!seen) return withoutContainer(wanted, observed, past, now);

	const isRunning = seen.state === "running" || seen.state === "restarting" || seen.state === "paused";
	const failed = (why: Problem): ReplicaDecision => {
		const failures = nextFailure(past, hash, why, now);
		// Why will be known once its log is read, as it is removed: until then calls wait.
		return { state: { state: "draining" }, actions: [stop(seen.id, true)], failures };
	};
	if (seen.state === "removing") return quiet({ state: desired === "down" ? "draining" : "starting" });
	if (!isRunning) {
		if (desired === "down" || seen.hash !== hash)
			return quiet(whenDown(past, now), { actions: [stop(seen.id, false)] });
		return failed(seen.problem ?? ENDED);
	}
	if (desired === "down" || seen.hash !== hash) {
		// What comes next is fetched while what there is still serves.
		if (desired !== "down" && !observed.images.has(image)) {
			return quiet(stateOf(seen), { actions: [{ do: "pull", key, image }] });
		}
		const since = draining.get(seen.id) ?? now;
		if (running > 0 && now - since < limits.drainMs) return quiet({ state: "draining" }, { drains: seen.id });
		return quiet({ state: "draining" }, { actions: [stop(seen.id, false)], drains: seen.id });
	}
	if (seen.state === "paused") return quiet({ state: "failed", problem: PAUSED });
	switch (seen.health) {
		case "unknown": {
			const late = startTimeout(seen, limits, now);
			return late ? failed(late) : quiet({ state: "starting" });
		}
		case "dead":
		case "hung":
			return failed(seen.problem ?? (seen.health === "hung" ? HUNG : DEAD));
		case "up":
			// Ready: what failed before is forgotten.
			if (desired === "asleep" && running === 0) {
				return { state: { state: "ready" }, actions: [{ do: "sleep", key, id: seen.id }] };
			}
			return { state: { state: "ready", id: seen.id }, actions: [] };
		case "asleep":
			if (desired === "up" && wanted.waitReason === undefined) {
				return { state: { state: "sleeping" }, actions: [{ do: "wake", key, id: seen.id }] };
			}
			return { state: { state: "sleeping" }, actions: [] };
	}
}

/** There is no container. */
function withoutContainer(
	wanted: DesiredReplica,
	observed: ObservedState,
	past: FailureRecord | undefined,
	now: number,
): ReplicaDecision {
	const { key, desired, image, waitReason, misfit } = wanted;
	const quiet = (state: ReplicaState, actions: Action[] = []): ReplicaDecision => ({ state, actions, failures: past });
	if (desired !== "up") return quiet(whenDown(past, now));
	if (past && past.retryAt > now) return quiet({ state: "failed", problem: past.problem, retryAt: past.retryAt });
	if (misfit) return quiet({ state: "failed", problem: misfit });
	if (!observed.images.has(image)) return quiet({ state: "pulling" }, [{ do: "pull", key, image }]);
	if (waitReason !== undefined) return quiet({ state: "starting", problem: { reason: waitReason, fix: "" } });
	return quiet({ state: "starting" }, [{ do: "start", key }]);
}

/**
 * Nothing is wanted of it; why it failed is told until it is tried again. Once its time has come it waits for a call like any
 * other: a router sends none to what has failed.
 */
function whenDown(past: FailureRecord | undefined, now: number): ReplicaState {
	if (!past) return { state: "stopped" };
	const { problem, retryAt } = past;
	return retryAt > now ? { state: "failed", problem, retryAt } : { state: "stopped", problem };
}

function rank({ hash, state }: ObservedContainer, wanted: string): number {
	return (hash === wanted ? 2 : 0) + (state === "running" ? 1 : 0);
}

function duringEffect(work: Activity, seen: ObservedContainer | undefined): ReplicaState {
	switch (work) {
		case "pull":
			// A replacement is pulled while the container before it serves.
			return seen?.health === "up" ? stateOf(seen) : { state: "pulling" };
		case "start":
			return { state: "starting" };
		case "stop":
			return { state: "draining" };
		case "sleep":
		case "wake":
			return { state: "sleeping" };
	}
}

/** Without Docker nothing can be changed, but a container that answers goes on serving. */
function withoutEngine(
	seen: ObservedContainer | undefined,
	want: DesiredReplica["desired"],
	engine: Problem,
): ReplicaState {
	if (seen && seen.state === "running" && (seen.health === "up" || seen.health === "asleep")) return stateOf(seen);
	return want === "up" || seen ? { state: "failed", problem: engine } : { state: "stopped" };
}

function stateOf({ health, id }: ObservedContainer): ReplicaState {
	if (health === "up") return { state: "ready", id };
	return { state: health === "asleep" ? "sleeping" : "starting" };
}

function startTimeout(
	{ startedAt, progressAt }: ObservedContainer,
	{ silenceMs, startMs }: SupervisorLimits,
	now: number,
): Problem | undefined {
	const fix =
		"see its log: GET /models/{name}/logs; if it only needs longer, raise agent.start.silence or agent.start.limit";
	if (now - progressAt > silenceMs) {
		return { reason: `it made no progress for ${seconds(silenceMs)} while starting`, fix };
	}
	if (now - startedAt > startMs) {
		return { reason: `it was not ready within ${seconds(startMs)}`, fix };
	}
	return undefined;
}

const seconds = (ms: number): string =>
	ms >= 120_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 1000)} s`;

const SEE_LOG = "see its log: GET /models/{name}/logs";
const ENDED: Problem = { reason: "its container ended", fix: SEE_LOG };
const DEAD: Problem = { reason: "its engine died: /health answers no more", fix: SEE_LOG };
const HUNG: Problem = { reason: "its engine hung: calls ran, and nothing moved", fix: SEE_LOG };
const PAUSED: Problem = {
	reason: "its container is paused",
	fix: "docker unpause it, or remove it: it is started again",
};
