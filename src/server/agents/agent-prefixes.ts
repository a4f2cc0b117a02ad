/** What agents report of their engines' prefix caches: which version of it is known of each replica, and what is passed on to routing. */
import { type ModelReport, type PrefixReport, prefixKey } from "../../protocol/agent.ts";
import { decodeBlocks } from "../../routing/routing-message.ts";
import type { RoutingState } from "../../routing/target-state.ts";
import { targetId } from "./agent-record.ts";

/** Most replicas of an agent that other routers may want: as many as one has. */
const MOST_WANTED = 1_024;

/** Of one replica. */
interface Known {
	readonly target: string;
	version: number;
}

/** Of all agents. */
export class AgentPrefixes {
	/** By agent, by replica. */
	readonly #known = new Map<string, Map<string, Known>>();

	/** Replicas by agent that other routers want to hear of whole. */
	readonly #wanted = new Map<string, Set<string>>();
	/** Told what agents report to this router; undefined: they report nothing any more. */
	onReported: ((agent: string, reports: readonly PrefixReport[] | undefined) => void) | undefined;

	constructor(private readonly state: Pick<RoutingState, "reported">) {}

	/**
	 * Takes what a heartbeat reports. Returns the replicas of which something is missing, here or at another router, to be reported whole.
	 * @param reports undefined: the agent reports nothing of the kind, and what it once did does not count
	 */
	take(
		agent: string,
		models: ReadonlyMap<string, ModelReport>,
		reports: readonly PrefixReport[] | undefined,
	): readonly string[] {
		if (reports ? reports.length > 0 : this.#known.has(agent)) this.onReported?.(agent, reports);
		const missing = this.heard(agent, models, reports);
		const wanted = this.#wanted.get(agent);
		if (!wanted) return missing;
		this.#wanted.delete(agent);
		for (const { model, replica, since } of reports ?? []) {
			if (since === undefined) wanted.delete(prefixKey(model, replica));
		}
		return [...new Set([...missing, ...wanted])];
	}

	/** Another router lacks what came before. @param keys its replicas */
	wanted(agent: string, keys: readonly string[]): void {
		const wanted = this.#wanted.get(agent) ?? new Set();
		for (const key of keys) if (wanted.size < MOST_WANTED) wanted.add(key);
		this.#wanted.set(agent, wanted);
	}

	/** Takes what an agent reports, to this router or to another one. Returns the replicas of which something is missing here. */
	heard(
		agent: string,
		models: ReadonlyMap<string, ModelReport>,
		reports: readonly PrefixReport[] | undefined,
	): readonly string[] {
		if (!reports) {
			this.forget(agent);
			return [];
		}
		const known = this.#known.get(agent) ?? new Map<string, Known>();
		this.#known.set(agent, known);
		const missing: string[] = [];
		for (const { model, replica, version, since, added = "", removed = "" } of reports) {
			const key = prefixKey(model, replica);
			const report = models.get(model);
			const target = report && targetId(agent, model, hasSeveral(report) ? replica : undefined);
			if (known.get(key)?.target !== target) this.#left(known, key);
			if (!report || target === undefined) continue;
			if (since !== undefined && known.get(key)?.version !== since) {
				missing.push(key);
				continue;
			}
			if (isGone(report, replica)) {
				// What is left of the model may have its target.
				this.#left(known, key);
				continue;
			}
			known.set(key, { target, version });
			const changes = { added: decodeBlocks(added), removed: decodeBlocks(removed) };
			this.state.reported(target, { isAll: since === undefined, ...changes });
		}
		return missing;
	}

	/** A replica is another target than before, or none. */
	#left(known: Map<string, Known>, key: string): void {
		const before = known.get(key);
		if (!before) return;
		if (!isAnothers(known, key, before.target)) this.state.reported(before.target, undefined);
		known.delete(key);
	}

	/** Nothing that this agent has reported counts any more. */
	forget(agent: string): void {
		for (const { target } of this.#known.get(agent)?.values() ?? []) this.state.reported(target, undefined);
		this.#known.delete(agent);
		this.#wanted.delete(agent);
	}
}

/** Whether another replica is known by this target. */
function isAnothers(known: ReadonlyMap<string, Known>, key: string, target: string): boolean {
	for (const [other, { target: its }] of known) if (other !== key && its === target) return true;
	return false;
}

/** Whether the model has other replicas, and not this one. */
const isGone = ({ replicas }: ModelReport, replica: number): boolean =>
	replicas !== undefined && !replicas.some((each) => each.replica === replica);

/** Whether its replicas are targets each: see `accessTo`. */
const hasSeveral = ({ replicas = [] }: ModelReport): boolean => new Set(replicas.map((each) => each.replica)).size > 1;
