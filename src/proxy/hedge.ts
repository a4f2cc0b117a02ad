/** Whom a call asks beside a target that is late, and how often calls may be sent twice. */
import type { ModelConfig } from "../config/schema.ts";
import type { Call } from "../openai/call.ts";
import type { ModelQueue } from "./call-queue.ts";
import type { CallRecord } from "./call-record.ts";
import type { ProxyState } from "./proxy-state.ts";
import { isUntried, type TriedTarget } from "./retry.ts";
import { isFree, isHealthy, type Late, lateOf, mayRelieve } from "./second-target.ts";
import type { CallTimeouts } from "./timeouts.ts";

/** The call that may be sent twice. */
export interface HedgedCall {
	readonly call: Call;
	readonly alias: ModelConfig | undefined;
	readonly tried: readonly TriedTarget[];
	readonly record: CallRecord;
	readonly state: ProxyState;
	/** In front of its model, where that takes only so many calls at once. */
	readonly queue: ModelQueue | undefined;
}

/** The second targets of one call. */
export class Hedge {
	#hasHedged = false;

	constructor(private readonly hedged: HedgedCall) {}

	/** When a target counts as late; undefined: never. */
	lateAt({ target }: TriedTarget, { lateMs }: CallTimeouts): Late | undefined {
		const { call, alias, state } = this.hedged;
		const view = state.targets.of(target.id);
		const maySlow = alias?.hedge && call.stream && !this.#hasHedged;
		return lateOf(view, state.targets.now(), lateMs, maySlow ? view.firstToken : undefined);
	}

	/**
	 * Whom to ask beside a target that is late, counted; undefined where nobody may be.
	 * @param silentMs for how long the late one has answered nobody
	 */
	second(late: Late, index: number, silentMs: number): number | undefined {
		const { alias, tried, record, state, queue } = this.hedged;
		const { target } = tried[index]!;
		const isSlow = late.why === "slow";
		const { targets: known } = state;
		const now = known.now();
		const silent = known.of(target.id);
		const isAllowed = tried.map((each, at) => {
			if (at === index || !isUntried(each) || state.keys.outOfUseMs(each.target) !== undefined) return false;
			const view = known.of(each.target.id);
			return (
				isHealthy(each.target, view, now, late.ms) &&
				mayRelieve(late, silentMs, silent, each.target, view, now, alias?.max_wait)
			);
		});
		// Of a target that is out of order, or may be, calls only move away: that loads nobody more than if it were not there.
		const isFailing = late.why === "probe" || silent.breaker.state !== "closed";
		const limitedBy = isFailing ? undefined : queue;
		if (!isAllowed.includes(true) || limitedBy?.hasRoom === false) return undefined;
		let other = isSlow ? -1 : tried.findIndex((each, at) => isAllowed[at] && isFree(each.target, record.cost));
		let budget = other === -1 || isFailing ? undefined : state.freeHedges(target.provider);
		if (other === -1 && alias?.hedge && !(isSlow && this.#hasHedged)) {
			other = isAllowed.indexOf(true);
			budget = state.hedges(alias.name);
		}
		if (other === -1 || budget?.take() === false) return undefined;
		if (limitedBy) {
			const ticket = limitedBy.enterNow();
			if (!ticket) {
				// Another thread has taken the room that there was. Not asked for before the budget: a place that is left at once counts as a short call.
				budget?.giveBack();
				return undefined;
			}
			record.atEnd(() => ticket.leave());
		}
		this.#hasHedged ||= isSlow;
		record.step({ how: "hedge", provider: target.provider.name });
		return other;
	}
}
