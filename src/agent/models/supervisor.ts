/**
 * What to do so that the containers become the desired ones: `(desired, observed, failures, now) → actions`, pure. The state
 * table is in design.md (src/agent).
 *
 * States are derived from what is observed at each tick. Only failures are remembered, and only until the replica is ready or
 * its spec changes, so that whatever recovers is seen to have recovered.
 */
import type { Problem } from "../problem.ts";
import {
	type Action,
	type Activity,
	type DesiredReplica,
	type FailureRecord,
	nextFailure,
	type ObservedContainer,
	type ObservedState,
	type ReplicaState,
} from "./replica-state.ts";

/** Longest durations. */
export interface SupervisorLimits {
	/** Longest time without progress of a start, ms. */
	readonly silenceMs: number;
	/** Longest start in all, ms. */
	readonly startMs: number;
	/** Longest that a container that has to go waits for its calls, ms. */
	readonly drainMs: number;
}

/** What to do now, the states, and what the next call is given. */
export interface SupervisorDecision {
	readonly actions: readonly Action[];
	/** By key. */
	readonly states: ReadonlyMap<string, ReplicaState>;
	/** By key; what the next call is given. */
	readonly failures: ReadonlyMap<string, FailureRecord>;
	/** By container id: since when it drains. What the next call is given. */
	readonly draining: ReadonlyMap<string, number>;
}

/** What the previous decision hands to the next one. */
export type SupervisorState = Pick<SupervisorDecision, "failures" | "draining">;

/** For the first decision after a start. */
export const INITIAL_STATE: SupervisorState = { failures: new Map(), draining: new Map() };

/** Decides. The same answer for the same arguments; nothing is done here. */
export function supervise(
	replicas: readonly DesiredReplica[],
	observed: ObservedState,
	before: SupervisorState,
	limits: SupervisorLimits,
	now: number,
): SupervisorDecision {
	const actions: Action[] = [];
	const states = new Map<string, ReplicaState>();
	const failures = new Map<string, FailureRecord>();
	const draining = new Map<string, number>();
	const keys = new Set(replicas.map(({ key }) => key));
	const pulls = new Set(replicas.filter(({ key }) => observed.inFlight.get(key) === "pull").map(({ image }) => image));

	for (const desired of replicas) {
		const { key, hash } = desired;
		const recorded = before.failures.get(key);
		const past = recorded?.hash === hash ? recorded : undefined;
		const decision = decideReplica({ desired, observed, past, draining: before.draining, limits, now });
		states.set(key, withFailures(decision));
		if (decision.failures) failures.set(key, decision.failures);
		if (decision.drains) draining.set(decision.drains, before.draining.get(decision.drains) ?? now);
		for (const action of decision.actions) {
			// Replicas of a model share an image: one of them pulls it.
			if (action.do === "pull" && pulls.has(action.image)) continue;
			if (action.do === "pull") pulls.add(action.image);
			actions.push(action);
		}
	}
	for (const { id, key, running = 0 } of observed.containers) {
		if (keys.has(key) || observed.engineProblem || observed.inFlight.has(id)) continue;
		const since = before.draining.get(id) ?? now;
		draining.set(id, since);
		if (running > 0 && now - since < limits.drainMs) continue;
		actions.push({ do: "stop", key: id, id, failed: false });
	}
	return { actions, states, failures, draining };
}

/** What is decided about one replica. */
interface ReplicaDecision {
	readonly state: ReplicaState;
	readonly actions: readonly Action[];
	readonly failures?: FailureRecord | undefined;
	/** The container that finishes its calls before it is stopped. */
	readonly drains?: string | undefined;
}

/** What a decision about one replica is made from. */
interface ReplicaInput {
	readonly desired: DesiredReplica;
	readonly observed: ObservedState;
	/** Failures of this spec. */
	readonly past: FailureRecord | undefined;
	readonly draining: ReadonlyMap<string, number>;
	readonly limits: SupervisorLimits;
	readonly now: number;
}

function decideReplica(input: ReplicaInput): ReplicaDecision {
	const { desired, observed, past } = input;
	const { key, hash, goal } = desired;
	const own = observed.containers.filter((each) => each.key === key);
	// The one of the right spec that runs, if there is one; any other has to go first.
	const [seen, ...others] = own.sort((a, b) => rank(b, hash) - rank(a, hash) || b.startedAt - a.startedAt);
	const effect = observed.inFlight.get(key);
	if (effect) return unchanged(input, duringEffect(effect, seen));
	if (observed.engineProblem) return unchanged(input, withoutEngine(seen, goal, observed.engineProblem));
	const last = others.at(-1);
	if (last) return unchanged(input, stateOf(seen!), { actions: [stopOf(last, false)] });
	if (!seen) return withoutContainer(desired, observed, past, input.now);
	if (seen.state === "removing") return unchanged(input, { state: goal === "down" ? "draining" : "starting" });
	const isRight = goal !== "down" && seen.hash === hash;
	if (seen.state === "running" || seen.state === "restarting" || seen.state === "paused") {
		return isRight ? rightContainer(input, seen) : wrongContainer(input, seen);
	}
	if (isRight) return failed(input, seen, seen.problem ?? ENDED);
	return unchanged(input, whenDown(past, input.now), { actions: [stopOf(seen, false)] });
}

/** A sleeping replica has none: it was ready after them. */
function withFailures({ state, failures }: ReplicaDecision): ReplicaState {
	return failures && state.state !== "sleeping" ? { ...state, failures } : state;
}

/** Remembers its failures; does nothing but `more`. */
function unchanged({ past }: ReplicaInput, state: ReplicaState, more: Partial<ReplicaDecision> = {}): ReplicaDecision {
	return { state, actions: [], failures: past, ...more };
}

function stopOf({ key, id }: ObservedContainer, failed: boolean): Action {
	return { do: "stop", key, id, failed };
}

/** The log, which says why, is read when the container is removed: until then calls wait. */
function failed({ desired, past, now }: ReplicaInput, seen: ObservedContainer, problem: Problem): ReplicaDecision {
	const failures = nextFailure(past, desired.hash, problem, now);
	return { state: { state: "draining" }, actions: [stopOf(seen, true)], failures };
}

/** A container runs that is not wanted, or is of another spec. */
function wrongContainer(input: ReplicaInput, seen: ObservedContainer): ReplicaDecision {
	const { desired, observed, draining, limits, now } = input;
	const { key, image, goal, running, drainMs = limits.drainMs } = desired;
	// The new image is pulled while the old container still serves.
	if (goal !== "down" && !observed.images.has(image)) {
		return unchanged(input, stateOf(seen), { actions: [{ do: "pull", key, image }] });
	}
	const since = draining.get(seen.id) ?? now;
	if (running > 0 && now - since < drainMs) return unchanged(input, { state: "draining" }, { drains: seen.id });
	return unchanged(input, { state: "draining" }, { actions: [stopOf(seen, false)], drains: seen.id });
}

/** The container that is wanted runs. */
function rightContainer(input: ReplicaInput, seen: ObservedContainer): ReplicaDecision {
	const { desired, observed, limits, now } = input;
	const { key, goal, running, waitReason } = desired;
	if (seen.state === "paused") return unchanged(input, { state: "failed", problem: paused(seen.id, observed.command) });
	switch (seen.health) {
		case "unknown": {
			const late = startTimeout(seen, limits, now);
			return late ? failed(input, seen, late) : unchanged(input, { state: "starting" });
		}
		case "dead":
		case "hung":
			return failed(input, seen, seen.problem ?? (seen.health === "hung" ? HUNG : DEAD));
		case "up":
			// Ready: earlier failures are forgotten.
			if (goal === "asleep" && running === 0) {
				return { state: { state: "ready" }, actions: [{ do: "sleep", key, id: seen.id }] };
			}
			if (goal === "up" && seen.isWarming) {
				return { state: { state: "starting", waitReason: WARMING }, actions: [] };
			}
			return { state: { state: "ready", id: seen.id }, actions: [] };
		case "asleep":
			if (goal === "up" && waitReason === undefined) {
				return { state: { state: "sleeping" }, actions: [{ do: "wake", key, id: seen.id }] };
			}
			return { state: { state: "sleeping" }, actions: [] };
	}
}

/** There is no container. */
function withoutContainer(
	desired: DesiredReplica,
	observed: ObservedState,
	past: FailureRecord | undefined,
	now: number,
): ReplicaDecision {
	const { key, goal, image, waitReason, misfit } = desired;
	const quiet = (state: ReplicaState, actions: Action[] = []): ReplicaDecision => ({ state, actions, failures: past });
	if (goal !== "up") return quiet(whenDown(past, now));
	if (past && past.retryAt > now) return quiet({ state: "failed", problem: past.problem, retryAt: past.retryAt });
	if (misfit) return quiet({ state: "failed", problem: misfit });
	if (!observed.images.has(image)) return quiet({ state: "pulling" }, [{ do: "pull", key, image }]);
	if (waitReason !== undefined) return quiet({ state: "starting", waitReason });
	return quiet({ state: "starting" }, [{ do: "start", key }]);
}

/**
 * It is not to run. Its failure is shown until it may be tried again; from then on it is `stopped`, because a router sends no call
 * to a failed model.
 */
function whenDown(past: FailureRecord | undefined, now: number): ReplicaState {
	if (!past) return { state: "stopped" };
	const { problem, retryAt } = past;
	return retryAt > now ? { state: "failed", problem, retryAt } : { state: "stopped", problem };
}

function rank({ hash, state }: ObservedContainer, desiredHash: string): number {
	return (hash === desiredHash ? 2 : 0) + (state === "running" ? 1 : 0);
}

function duringEffect(effect: Activity, seen: ObservedContainer | undefined): ReplicaState {
	switch (effect) {
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
	goal: DesiredReplica["goal"],
	engine: Problem,
): ReplicaState {
	if (seen && seen.state === "running" && (seen.health === "up" || seen.health === "asleep")) return stateOf(seen);
	return goal === "up" || seen ? { state: "failed", problem: engine } : { state: "stopped" };
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

const WARMING = "it computes ahead what calls begin with, while others serve";
const SEE_LOG = "see its log: GET /models/{name}/logs";
const ENDED: Problem = { reason: "its container ended", fix: SEE_LOG };
const DEAD: Problem = { reason: "its engine died: /health answers no more", fix: SEE_LOG };
const HUNG: Problem = { reason: "its engine hung: calls ran, and nothing moved", fix: SEE_LOG };
const paused = (id: string, command = "docker"): Problem => ({
	reason: `somebody paused its container (\`${command} pause\`)`,
	fix: `\`${command} unpause ${id.slice(0, 12)}\`, or remove it: it is started again`,
});
