/**
 * What to do so that the containers become what is wanted: `(wanted, observed, history, now) → actions`, pure. Its state
 * table is in design.md beside this file.
 *
 * States are derived from what is seen now; the one thing remembered is how often a replica failed, and that is forgotten
 * once it is ready or its spec changes. So nothing latches: whatever comes back is seen to be back.
 */
import type { ModelState } from "../../protocol/agent.ts";
import type { ContainerState } from "../docker/docker.ts";

/** Why something is as it is, and what a person does about it. */
export interface Reason {
	readonly reason: string;
	readonly fix: string;
}

/** One replica of a model, as it should be. */
export interface Wanted {
	/** `model#replica`, see `replicaKey`. */
	readonly key: string;
	readonly want: "up" | "asleep" | "down";
	/** Of the spec; a container of another hash is drained and replaced. */
	readonly hash: string;
	readonly image: string;
	/** Calls in flight. */
	readonly busy: number;
	/** Why it can't be started now though nothing failed: other models still give their memory back. */
	readonly hold?: string | undefined;
	/** Why it can't be started at all as things are: it does not fit. */
	readonly misfit?: Reason | undefined;
}

/** How a running container answers. `unknown`: not up yet, or not asked yet. `dead`, `hung`: it was up before. */
export type Health = "unknown" | "up" | "asleep" | "dead" | "hung";

/** One of our containers, as it is. Times are ms of one clock. */
export interface Seen {
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
	readonly why?: Reason | undefined;
}

/** What an effect in flight does for a replica. */
export type Activity = "pull" | "start" | "stop" | "sleep" | "wake";

/** The world, as far as it concerns containers. */
export interface Observed {
	/** Why Docker can't be asked; `containers` is then what was seen last. */
	readonly engine?: Reason | undefined;
	readonly containers: readonly Seen[];
	/** Images known to be there. */
	readonly images: ReadonlySet<string>;
	/** By key: no second action is begun for a replica (or an orphan's id) until the first has ended and been seen to. */
	readonly working: ReadonlyMap<string, Activity>;
}

/** What is remembered of a replica. */
export interface Failures {
	readonly hash: string;
	readonly count: number;
	/** No start before then, ms. */
	readonly retryAt: number;
	readonly why: Reason;
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
	readonly why?: Reason | undefined;
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
export interface Supervised {
	readonly actions: readonly Action[];
	/** By key. */
	readonly states: ReadonlyMap<string, ReplicaState>;
	/** By key; what the next call is given. */
	readonly history: ReadonlyMap<string, Failures>;
	/** By container id: since when it drains. What the next call is given. */
	readonly draining: ReadonlyMap<string, number>;
}

/** What the call before left behind. */
export type Backoffs = Pick<Supervised, "history" | "draining">;

/** The memory of an agent that has just started. */
export const NO_ACTIVITY: Backoffs = { history: new Map(), draining: new Map() };

/** The key of one replica. `#` stands in no model's name. */
export const replicaKey = (model: string, replica: number): string => `${model}#${replica}`;

/** How long after the n-th failure in a row the next start waits, ms: 0, 10 s, 20 s, … 300 s. */
export function backoff(count: number): number {
	return Math.min(300_000, Math.max(0, count - 1) * 10_000);
}

/** One more failure of a replica. */
export function failure(before: Failures | undefined, hash: string, why: Reason, now: number): Failures {
	const count = (before?.hash === hash ? before.count : 0) + 1;
	return { hash, count, retryAt: now + backoff(count), why };
}

/** Decides. The same answer for the same arguments; nothing is done here. */
export function supervise(
	wanted: readonly Wanted[],
	observed: Observed,
	memory: Backoffs,
	limits: SupervisorLimits,
	now: number,
): Supervised {
	const actions: Action[] = [];
	const states = new Map<string, ReplicaState>();
	const history = new Map<string, Failures>();
	const draining = new Map<string, number>();
	const keys = new Set(wanted.map(({ key }) => key));
	const pulls = new Set(wanted.filter(({ key }) => observed.working.get(key) === "pull").map(({ image }) => image));

	for (const each of wanted) {
		const past = memory.history.get(each.key);
		const decided = replica(each, observed, past?.hash === each.hash ? past : undefined, memory.draining, limits, now);
		states.set(each.key, decided.state);
		if (decided.failures) history.set(each.key, decided.failures);
		if (decided.drains) draining.set(decided.drains, memory.draining.get(decided.drains) ?? now);
		for (const action of decided.actions) {
			// Replicas of a model share an image: one of them pulls it.
			if (action.do === "pull" && pulls.has(action.image)) continue;
			if (action.do === "pull") pulls.add(action.image);
			actions.push(action);
		}
	}
	for (const { id, key } of observed.containers) {
		if (keys.has(key) || observed.engine || observed.working.has(id)) continue;
		actions.push({ do: "stop", key: id, id, failed: false });
	}
	return { actions, states, history, draining };
}

interface Decided {
	readonly state: ReplicaState;
	readonly actions: readonly Action[];
	readonly failures?: Failures | undefined;
	/** The container that waits for its calls. */
	readonly drains?: string | undefined;
}

function replica(
	wanted: Wanted,
	observed: Observed,
	past: Failures | undefined,
	draining: ReadonlyMap<string, number>,
	limits: SupervisorLimits,
	now: number,
): Decided {
	const { key, want, hash, image, busy } = wanted;
	const own = observed.containers.filter((each) => each.key === key);
	// The one of the right spec that runs, if there is one; any other has to go first.
	const [seen, ...others] = own.sort((a, b) => rank(b, hash) - rank(a, hash) || b.startedAt - a.startedAt);
	const work = observed.working.get(key);
	const quiet = (state: ReplicaState, more: Partial<Decided> = {}): Decided => ({
		state,
		actions: [],
		failures: past,
		...more,
	});
	if (work) return quiet(whileWorking(work, seen));
	if (observed.engine) return quiet(withoutEngine(seen, want, observed.engine));
	const stop = (id: string, failed: boolean): Action => ({ do: "stop", key, id, failed });
	if (others.length > 0) return quiet(stateOf(seen!), { actions: [stop(others.at(-1)!.id, false)] });
	if (!seen) return absent(wanted, observed, past, now);

	const isRunning = seen.state === "running" || seen.state === "restarting" || seen.state === "paused";
	const failed = (why: Reason): Decided => {
		const failures = failure(past, hash, why, now);
		// Why will be known once its log is read, as it is removed: until then calls wait.
		return { state: { state: "draining" }, actions: [stop(seen.id, true)], failures };
	};
	if (seen.state === "removing") return quiet({ state: want === "down" ? "draining" : "starting" });
	if (!isRunning) {
		if (want === "down" || seen.hash !== hash) return quiet(resting(past, now), { actions: [stop(seen.id, false)] });
		return failed(seen.why ?? ENDED);
	}
	if (want === "down" || seen.hash !== hash) {
		// What comes next is fetched while what there is still serves.
		if (want !== "down" && !observed.images.has(image)) {
			return quiet(stateOf(seen), { actions: [{ do: "pull", key, image }] });
		}
		const since = draining.get(seen.id) ?? now;
		if (busy > 0 && now - since < limits.drainMs) return quiet({ state: "draining" }, { drains: seen.id });
		return quiet({ state: "draining" }, { actions: [stop(seen.id, false)], drains: seen.id });
	}
	if (seen.state === "paused") return quiet({ state: "failed", why: PAUSED });
	switch (seen.health) {
		case "unknown": {
			const late = tooLate(seen, limits, now);
			return late ? failed(late) : quiet({ state: "starting" });
		}
		case "dead":
		case "hung":
			return failed(seen.why ?? (seen.health === "hung" ? HUNG : DEAD));
		case "up":
			// Ready: what failed before is forgotten.
			if (want === "asleep" && busy === 0) {
				return { state: { state: "ready" }, actions: [{ do: "sleep", key, id: seen.id }] };
			}
			return { state: { state: "ready", id: seen.id }, actions: [] };
		case "asleep":
			if (want === "up" && wanted.hold === undefined) {
				return { state: { state: "sleeping" }, actions: [{ do: "wake", key, id: seen.id }] };
			}
			return { state: { state: "sleeping" }, actions: [] };
	}
}

/** There is no container. */
function absent(wanted: Wanted, observed: Observed, past: Failures | undefined, now: number): Decided {
	const { key, want, image, hold, misfit } = wanted;
	const quiet = (state: ReplicaState, actions: Action[] = []): Decided => ({ state, actions, failures: past });
	if (want !== "up") return quiet(resting(past, now));
	if (past && past.retryAt > now) return quiet({ state: "failed", why: past.why, retryAt: past.retryAt });
	if (misfit) return quiet({ state: "failed", why: misfit });
	if (!observed.images.has(image)) return quiet({ state: "pulling" }, [{ do: "pull", key, image }]);
	if (hold !== undefined) return quiet({ state: "starting", why: { reason: hold, fix: "" } });
	return quiet({ state: "starting" }, [{ do: "start", key }]);
}

/**
 * Nothing is wanted of it; why it failed is told until it is tried again. Once its time has come it waits for a call like any
 * other: a router sends none to what has failed.
 */
function resting(past: Failures | undefined, now: number): ReplicaState {
	if (!past) return { state: "stopped" };
	const { why, retryAt } = past;
	return retryAt > now ? { state: "failed", why, retryAt } : { state: "stopped", why };
}

function rank({ hash, state }: Seen, wanted: string): number {
	return (hash === wanted ? 2 : 0) + (state === "running" ? 1 : 0);
}

function whileWorking(work: Activity, seen: Seen | undefined): ReplicaState {
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
function withoutEngine(seen: Seen | undefined, want: Wanted["want"], engine: Reason): ReplicaState {
	if (seen && seen.state === "running" && (seen.health === "up" || seen.health === "asleep")) return stateOf(seen);
	return want === "up" || seen ? { state: "failed", why: engine } : { state: "stopped" };
}

function stateOf({ health, id }: Seen): ReplicaState {
	if (health === "up") return { state: "ready", id };
	return { state: health === "asleep" ? "sleeping" : "starting" };
}

function tooLate(
	{ startedAt, progressAt }: Seen,
	{ silenceMs, startMs }: SupervisorLimits,
	now: number,
): Reason | undefined {
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
const ENDED: Reason = { reason: "its container ended", fix: SEE_LOG };
const DEAD: Reason = { reason: "its engine died: /health answers no more", fix: SEE_LOG };
const HUNG: Reason = { reason: "its engine hung: calls ran, and nothing moved", fix: SEE_LOG };
const PAUSED: Reason = {
	reason: "its container is paused",
	fix: "docker unpause it, or remove it: it is started again",
};
