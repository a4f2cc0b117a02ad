/**
 * How many replicas of an on-demand model there are to be over all agents, and at which: up by demand, down when it is gone, never fewer than `min`
 * while they fit, never more than `max`. Pure: the same for the same arguments, decided anew every second.
 */
import type { ModelGoal } from "../protocol/agent.ts";
import { hasRoom, rankOffers } from "./placement.ts";
import type {
	PendingOrder,
	ReplicaBounds,
	ReplicaHost,
	Scaling,
	ScalingEvent,
	ScalingState,
	SleepingHost,
} from "./scaling-state.ts";

/** How long there must be too many calls before a replica is loaded for them, ms: two heartbeats. */
const BUSY_MS = 10_000;
/** With one replica less each of the others would have at most this share of the calls that would have one more loaded. */
const QUIET_SHARE = 0.5;
/** How long an agent may take to begin what it was told, ms: some heartbeats. */
const BEGIN_MS = 30_000;
/** For how long nothing is loaded where a load has failed, while there is another place, ms. */
const AVOID_MS = 300_000;
/** After so long without being fresh an agent counts as gone though it is heard of, ms: as long as one that is late is waited for. */
const ABSENT_MS = 15_000;

const holdsModel = ({ state }: ReplicaHost): boolean =>
	state === "ready" || state === "starting" || state === "pulling";
const canServe = ({ state, isFresh }: ReplicaHost): boolean => state === "ready" && isFresh;
const sizeOf = (hosts: readonly ReplicaHost[]): number => hosts.reduce((sum, { size }) => sum + size, 0);

/** Decides for one model. @param hosts those that are heard of; a gone one is none, so its replicas count no more @param sleepers gone ones whose hosts may be woken */
export function scaleModel(
	model: string,
	hosts: readonly ReplicaHost[],
	bounds: ReplicaBounds,
	before: ScalingState,
	now: number,
	sleepers: readonly SleepingHost[] = [],
): Scaling {
	const draft = new Draft(model, hosts, bounds, before, now, sleepers);
	draft.settle();
	const missing = draft.restoreMin();
	if (missing === 0) draft.followDemand();
	draft.retireSurplus();
	return draft.result(missing);
}

/** A decision in the making. */
class Draft {
	readonly #orders: Map<string, PendingOrder>;
	readonly #avoided: Map<string, number>;
	readonly #events: ScalingEvent[] = [];
	#busySince: number | undefined;
	#quiet: ScalingState["quiet"];
	readonly #awaySince: Map<string, number>;
	/** Those that count. */
	private readonly hosts: readonly ReplicaHost[];

	constructor(
		private readonly model: string,
		private readonly heard: readonly ReplicaHost[],
		private readonly bounds: ReplicaBounds,
		private readonly before: ScalingState,
		private readonly now: number,
		private readonly sleepers: readonly SleepingHost[],
	) {
		this.#orders = new Map(before.orders);
		this.#avoided = new Map([...before.avoided].filter(([, until]) => now < until));
		const away = heard.filter(({ isFresh }) => !isFresh);
		this.#awaySince = new Map(away.map(({ agent }) => [agent, before.awaySince?.get(agent) ?? now]));
		this.hosts = heard.filter(({ agent }) => now - (this.#awaySince.get(agent) ?? now) < ABSENT_MS);
	}

	/** Orders that are done, or have come to nothing, are forgotten. */
	settle(): void {
		for (const [agent, { what, since }] of this.#orders) {
			const host = this.hosts.find((each) => each.agent === agent);
			const state = host?.state;
			if (what === "retire") {
				if (!host || !holdsModel(host)) this.#orders.delete(agent);
				continue;
			}
			const isLate = (state === "stopped" || state === "sleeping") && this.now - since > BEGIN_MS;
			if (state === "failed" || isLate) this.#failed(agent, state === "failed" ? "it failed" : "it was not begun");
			if (!host || state === "ready" || state === "draining") this.#orders.delete(agent);
		}
		for (const { agent, state } of this.hosts) {
			if (state === "failed" && this.before.kept.has(agent) && !this.#avoided.has(agent))
				this.#failed(agent, "it failed");
		}
	}

	/**
	 * Has replicas loaded until there are `min`. Returns how many are still missing. One at an agent that is late counts as one that comes, since
	 * it may be back in a moment; none that serves goes for it.
	 */
	restoreMin(): number {
		const { min } = this.bounds;
		for (const { agent } of this.#retiring()) {
			if (this.#serving() >= min) break;
			this.#stay(agent, `fewer than ${min} would be left`);
		}
		let missing = Math.max(0, min - sizeOf(this.#staying()));
		while (missing > 0) {
			const host = this.#load(`${min} are to be loaded`);
			if (!host) return missing;
			missing -= host.size;
		}
		return 0;
	}

	/** One more where there have been too many calls for some time, one less where there have been few for longer. */
	followDemand(): void {
		const ready = this.#staying().filter(canServe);
		const replicas = sizeOf(ready);
		const calls = ready.reduce((sum, each) => sum + each.calls, 0);
		const pressure = this.#pressure(ready, replicas, calls);
		const smallest = Math.min(...ready.map(({ size }) => size));
		const isFew = (less: number) => calls <= this.bounds.calls * (replicas - less) * QUIET_SHARE;
		const isWaited = pressure !== undefined || ready.some(({ isWaiting }) => isWaiting);
		const isQuiet = ready.length > 0 && !isWaited && isFew(smallest);
		this.#busySince = pressure === undefined ? undefined : (this.before.busySince ?? this.now);
		this.#quiet = isQuiet ? this.#quietOf(ready, calls) : undefined;
		// One at a time: what is on its way may be enough.
		if (this.#staying().some(({ state }) => state !== "ready")) return;
		if (pressure !== undefined && this.now - this.#busySince! >= BUSY_MS) {
			const [back] = this.#retiring();
			if (back) this.#stay(back.agent, pressure);
			else if (!this.#load(pressure)) return;
			this.#busySince = this.now;
		} else if (this.#quiet && this.now - this.#quiet.since >= this.bounds.ttl && this.#orders.size === 0) {
			// The last one goes by itself, once it has idled: its agent knows best for how long it has.
			if (replicas <= Math.max(this.bounds.min, smallest)) return;
			const seconds = Math.round(this.bounds.ttl / 1000);
			const spare = ready.filter(({ size }) => isFew(size));
			const { most } = this.#quiet;
			const few = `at most ${most} ${most === 1 ? "call" : "calls"} for ${replicas} replicas for ${seconds} s`;
			this.#retire(spare, few);
			this.#quiet = undefined;
		}
	}

	/** Goes on while the same replicas serve: one that has just become ready had no time yet to be of use. */
	#quietOf(ready: readonly ReplicaHost[], calls: number): ScalingState["quiet"] {
		const among = String(ready.map(({ agent }) => agent).sort());
		const { quiet } = this.before;
		if (quiet?.among !== among) return { since: this.now, among, most: calls };
		return { ...quiet, most: Math.max(quiet.most, calls) };
	}

	/** Another limit is in force, or an agent has come back with its replica. */
	retireSurplus(): void {
		const { max = Number.POSITIVE_INFINITY } = this.bounds;
		for (;;) {
			const staying = this.#staying();
			const surplus = sizeOf(staying) - max;
			if (!(surplus > 0)) return;
			if (!this.#retire(staying, `${sizeOf(staying)} replicas are more than ${max}`)) return;
		}
	}

	result(missing: number): Scaling {
		const staying = this.#staying();
		const kept = this.#kept(staying, missing);
		const goals = new Map<string, Omit<ModelGoal, "model">>();
		for (const { agent, state, takesGoals } of this.hosts) {
			const order = this.#orders.get(agent);
			if (!takesGoals) continue;
			if (order?.what === "retire") goals.set(agent, { goal: "unload" });
			else if (kept.has(agent)) goals.set(agent, { goal: "keep" });
			else if (order?.what === "load") goals.set(agent, { goal: "load" });
			else if (state === "ready") goals.set(agent, { goal: "unload", idle_ms: this.bounds.ttl });
		}
		const ready = sizeOf(staying.filter(({ state }) => state === "ready"));
		return {
			state: {
				orders: this.#orders,
				avoided: this.#avoided,
				kept,
				busySince: this.#busySince,
				quiet: this.#quiet,
				awaySince: this.#awaySince,
			},
			goals,
			events: this.#events,
			wake: missing > 0 ? this.#wake() : undefined,
			ready,
			coming: sizeOf(staying) - ready,
			shortage: missing > 0 || this.heard.length + this.sleepers.length === 0 ? this.#shortage() : undefined,
		};
	}

	/** What has a replica, or is to have one, and does not go. */
	#staying(): ReplicaHost[] {
		return this.hosts.filter((host) => {
			const order = this.#orders.get(host.agent)?.what;
			return order === "load" || (order !== "retire" && holdsModel(host));
		});
	}

	/** Replicas that serve, and do not go. */
	#serving(): number {
		return sizeOf(this.#staying().filter(canServe));
	}

	/** What goes, and still serves. */
	#retiring(): ReplicaHost[] {
		return this.hosts.filter((host) => canServe(host) && this.#orders.get(host.agent)?.what === "retire");
	}

	/** Why there should be more; undefined where there are enough. */
	#pressure(ready: readonly ReplicaHost[], replicas: number, calls: number): string | undefined {
		const { calls: most, first_token: latest } = this.bounds;
		if (ready.length === 0 || calls === 0) return undefined;
		if (calls > most * replicas) return `${calls} calls are more than ${most} for each of ${replicas}`;
		if (ready.every(({ isWaiting }) => isWaiting)) return "calls wait at all of them";
		// Where a call finds a replica of its own one more would not be quicker: what is slow then is the prompt.
		if (calls <= replicas) return undefined;
		const times = ready.flatMap(({ calls: own, firstToken }) => (own > 0 ? (firstToken ?? []) : []));
		const mean = times.reduce((sum, each) => sum + each, 0) / times.length;
		if (latest === undefined || !(mean > latest)) return undefined;
		return `the first token takes ${(mean / 1000).toFixed(1)} s, longer than ${(latest / 1000).toFixed(1)} s`;
	}

	/** Has it loaded at the best place that there is. Undefined where there is none. */
	#load(reason: string): ReplicaHost | undefined {
		const left = this.#left();
		const candidates = this.hosts.filter(
			(host) =>
				host.isFresh &&
				host.takesGoals &&
				(host.state === "stopped" || host.state === "sleeping") &&
				host.size <= left &&
				!this.#orders.has(host.agent) &&
				!this.#avoided.has(host.agent) &&
				hasRoom(host.offer),
		);
		const [best] = rankOffers(
			this.model,
			candidates.map(({ offer }) => offer),
		);
		if (!best) return undefined;
		const { agent } = best.offer;
		const why = `${reason}; ${best.why}`;
		this.#orders.set(agent, { what: "load", since: this.now, why });
		this.#events.push({ what: "load", agent, why });
		return candidates.find((host) => host.agent === agent);
	}

	/** How many more replicas `max` lets there be. */
	#left(): number {
		const { max = Number.POSITIVE_INFINITY } = this.bounds;
		return max - sizeOf(this.hosts.filter((host) => holdsModel(host) || this.#orders.get(host.agent)?.what === "load"));
	}

	/** The best place at a host that sleeps, by what it last said: one at a time, and none for calls alone, which wake one themselves. */
	#wake(): Scaling["wake"] {
		if (this.sleepers.some(({ wake }) => wake === "waking")) return undefined;
		const left = this.#left();
		const able = this.sleepers.filter(
			({ agent, takesGoals, state, size, offer }) =>
				takesGoals && state !== "failed" && size <= left && !this.#avoided.has(agent) && hasRoom(offer),
		);
		const [best] = rankOffers(
			this.model,
			able.map(({ offer }) => offer),
		);
		if (!best) return undefined;
		return { agent: best.offer.agent, why: `min of ${this.model} is ${this.bounds.min}` };
	}

	/**
	 * Has one go: first one that can't serve now, then the one with the fewest calls; never so that fewer than `min` serve. False where there is
	 * none.
	 */
	#retire(among: readonly ReplicaHost[], why: string): boolean {
		const { min } = this.bounds;
		const mayGo = sizeOf(this.#staying()) - min;
		const servingMayGo = Math.min(mayGo, this.#serving() - min);
		const [least] = among
			.filter((host) => host.takesGoals && host.size <= (canServe(host) ? servingMayGo : mayGo))
			.sort(
				(a, b) =>
					Number(canServe(a)) - Number(canServe(b)) ||
					Number(this.before.kept.has(a.agent)) - Number(this.before.kept.has(b.agent)) ||
					a.calls - b.calls ||
					(a.agent < b.agent ? 1 : -1),
			);
		if (!least) return false;
		this.#orders.set(least.agent, { what: "retire", since: this.now, why });
		this.#events.push({ what: "retire", agent: least.agent, why });
		return true;
	}

	#stay(agent: string, why: string): void {
		this.#orders.delete(agent);
		this.#events.push({ what: "stay", agent, why });
	}

	#failed(agent: string, why: string): void {
		this.#orders.delete(agent);
		this.#avoided.set(agent, this.now + AVOID_MS);
		this.#events.push({ what: "failed", agent, why });
	}

	/**
	 * The `min` that are kept, those at agents that are fresh before others: those that were, then the ready ones, the busiest first. Where no other
	 * place is, one that has failed is tried again where it was, as its agent does that.
	 */
	#kept(staying: readonly ReplicaHost[], short: number): Set<string> {
		const failed = this.hosts.filter(({ agent, state }) => state === "failed" && this.before.kept.has(agent));
		const kept = new Set(short > 0 ? failed.map(({ agent }) => agent) : []);
		const { kept: before } = this.before;
		const inOrder = [...staying].sort(
			(a, b) =>
				Number(b.isFresh) - Number(a.isFresh) ||
				Number(before.has(b.agent)) - Number(before.has(a.agent)) ||
				Number(b.state === "ready") - Number(a.state === "ready") ||
				b.calls - a.calls ||
				(a.agent < b.agent ? -1 : 1),
		);
		let missing = this.bounds.min;
		for (const { agent, size } of inOrder) {
			if (missing <= 0) break;
			kept.add(agent);
			missing -= size;
		}
		return kept;
	}

	/** Why `min` can't be had; or that the model is nobody's. */
	#shortage(): string {
		if (this.heard.length + this.sleepers.length === 0) return "no agent that is heard of has it in its list";
		const said = this.heard.flatMap((host) => {
			const { agent, isFresh, state, takesGoals, offer } = host;
			if ((this.hosts.includes(host) && holdsModel(host)) || this.#orders.has(agent)) return [];
			if (!takesGoals) return [`${agent}: its \`load\` is not on-demand there, or the agent is an older version`];
			if (!isFresh) return [`${agent}: not heard of lately, or not reached`];
			if (this.#avoided.has(agent)) return [`${agent}: it failed there`];
			if (state !== "stopped" && state !== "sleeping") return [`${agent}: ${state}`];
			return [hasRoom(offer) ? `${agent}: it would be more than \`max\`` : `${agent}: no room (${offer.fits})`];
		});
		for (const { agent, wake } of this.sleepers)
			said.push(`${agent}: its host ${wake === "waking" ? "is being woken" : "sleeps"}`);
		return said.length > 0 ? said.join("; ") : "no other agent has it in its list";
	}
}
