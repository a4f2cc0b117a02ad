/** The routers that share a Redis with this one: which there are, and what each has under way. */
import type { ReadRoutingMessage } from "./routing-message.ts";
import { type ExchangedState, MOST_TARGETS, type TargetLoad } from "./target-state.ts";

/** A router that says nothing for so long is gone, ms: it says something twice a second. */
const LAPSE_MS = 3_000;
/** Most routers that are listened to. */
const MOST_ROUTERS = 256;

/** What one router says of itself. */
interface Column {
	heardAt: number;
	/** It does not know yet what the others remember. */
	isNew: boolean;
	/** Targets where it has calls under way. */
	readonly loads: Map<string, TargetLoad>;
}

/** The others. Each has a column of its own, so that what one had under way is gone with it; the state is given the sums. */
export class OtherRouters {
	readonly #columns = new Map<string, Column>();

	constructor(private readonly state: Pick<ExchangedState, "setOthers">) {}

	/** Those that were heard of lately. */
	get names(): readonly string[] {
		return [...this.#columns.keys()];
	}

	/** Takes what a router says of itself at `now`, ms. */
	heard({ from, isNew, isWhole, loads }: ReadRoutingMessage, now: number): void {
		let column = this.#columns.get(from);
		if (!column) {
			if (this.#columns.size >= MOST_ROUTERS) return;
			column = { heardAt: now, isNew, loads: new Map() };
			this.#columns.set(from, column);
		}
		column.heardAt = now;
		column.isNew = isNew;
		const changed = new Set<string>();
		if (isWhole) {
			for (const target of column.loads.keys()) changed.add(target);
			column.loads.clear();
		}
		for (const [target, load] of loads) {
			changed.add(target);
			if (load.inFlight === 0) column.loads.delete(target);
			else if (column.loads.has(target) || column.loads.size < MOST_TARGETS) column.loads.set(target, load);
		}
		for (const target of changed) this.#sum(target);
	}

	/** A router has ended. */
	left(router: string): void {
		const column = this.#columns.get(router);
		this.#columns.delete(router);
		for (const target of column?.loads.keys() ?? []) this.#sum(target);
	}

	/** Forgets those that have said nothing for so long that they are gone. */
	lapse(now: number): void {
		for (const [router, { heardAt }] of this.#columns) if (now - heardAt > LAPSE_MS) this.left(router);
	}

	/** How many come before `own`, by name, of those that could tell `asker` what is remembered. */
	countBefore(own: string, asker: string): number {
		let count = 0;
		for (const [router, { isNew }] of this.#columns) if (!isNew && router !== asker && router < own) count++;
		return count;
	}

	#sum(target: string): void {
		let inFlight = 0;
		let waiting = 0;
		let queuedCharacters = 0;
		for (const { loads } of this.#columns.values()) {
			const load = loads.get(target);
			if (!load) continue;
			inFlight += load.inFlight;
			waiting += load.waiting;
			queuedCharacters += load.queuedCharacters;
		}
		this.state.setOthers(target, { inFlight, waiting, queuedCharacters });
	}
}
