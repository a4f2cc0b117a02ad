/** An attempt under way at a target that all threads know: what it tells of it. */
import type { SlotTable, TableSlot } from "../memory/slot-table.ts";
import { breakerEventOf } from "./breaker.ts";
import type { QueuedAttempt, SharedTarget } from "./shared-target.ts";
import { type AttemptEnd, isRefusal, type OpenAttempt, pauseAfter, type RoutingListener } from "./target-state.ts";

/** An attempt of this thread. Its times are on the clock of all threads. */
export class SharedAttempt implements OpenAttempt, QueuedAttempt {
	readonly startedAt: number;
	previous: QueuedAttempt | undefined = undefined;
	next: QueuedAttempt | undefined = undefined;
	/** It is to find out whether a target that was out of use is well again, and has not yet. */
	#isToTell = false;
	/** Calls that waited for their first token when this one began. */
	readonly #ahead: number;
	/** Its prompt is not computed yet, as far as is known. */
	#isQueued = true;
	#isOpen = true;

	/**
	 * @param slot its target's, which this thread holds for it
	 * @param listener told of what other routers want to know
	 */
	constructor(
		private readonly table: SlotTable<SharedTarget>,
		private readonly slot: TableSlot<SharedTarget>,
		readonly isStream: boolean,
		readonly uncached: number,
		private readonly listener: RoutingListener | undefined,
	) {
		const target = slot.value;
		this.startedAt = target.now();
		this.#ahead = target.waiting;
		target.enqueue(this);
		if (target.breaker.state !== "closed") this.#isToTell = target.begun(this.startedAt);
	}

	get targetWasSilent(): boolean {
		return this.slot.value.answeredAt < this.startedAt;
	}

	get silentMs(): number {
		const target = this.slot.value;
		return target.now() - Math.max(this.startedAt, target.answeredAt);
	}

	firstToken(isTypical = true): void {
		if (!this.#isQueued || !this.isStream) return;
		this.#computed();
		const { startedAt } = this;
		const target = this.slot.value;
		target.lock.acquire();
		try {
			const now = target.now();
			target.answered(now);
			if (isTypical) {
				target.firstToken.add(now - startedAt, now);
				target.waitPerCall.add((now - startedAt) / (this.#ahead + 1), now);
			}
			// A probe has found out what it was for: a long answer need not keep everyone else away.
			if (this.#isToTell) target.health.change("good", now, true);
			this.#isToTell = false;
		} finally {
			target.lock.release();
		}
	}

	closed(end: AttemptEnd): void {
		if (!this.#isOpen) return;
		this.#isOpen = false;
		this.#computed();
		const target = this.slot.value;
		target.lock.acquire();
		try {
			this.#tell(end, target.now());
		} finally {
			target.lock.release();
		}
		// Last: from then on its slot may become another target's.
		this.table.letGo(this.slot);
		this.listener?.loadChanged(this.slot.id);
	}

	/** Puts down what the end says of the target. Under its lock. */
	#tell(end: AttemptEnd, now: number): void {
		const target = this.slot.value;
		const { failure } = end;
		const wasClosed = target.breaker.state === "closed";
		const health = target.health.change(breakerEventOf(failure), now, this.#isToTell);
		if (health === "opened") target.memory.opened();
		if (failure === undefined) {
			target.answered(now);
			target.pause(Number.NEGATIVE_INFINITY, "");
			if (!this.isStream) {
				target.answer.add(now - this.startedAt, now);
				if (end.tokens !== undefined) target.answerTokens.add(end.tokens, now);
			}
			return;
		}
		const isRefused = isRefusal(end);
		if (failure !== "cancelled" && failure !== "internal") target.failed(isRefused);
		if (isRefused) this.#emptied(wasClosed);
		const pauseMs = pauseAfter(end);
		if (pauseMs > 0) target.pause(now + pauseMs, "asked to be left alone");
	}

	#computed(): void {
		if (!this.#isQueued) return;
		this.#isQueued = false;
		this.slot.value.dequeue(this);
		this.listener?.loadChanged(this.slot.id);
	}

	/**
	 * Nobody listens there any more: whoever comes back has an empty memory. Other routers are told where it was well before: what is found
	 * out of one that is out of use may be about this router's network alone.
	 */
	#emptied(wasClosed: boolean): void {
		this.slot.value.prefixes?.clear();
		if (wasClosed) this.listener?.promptsGone(this.slot.id);
	}
}
