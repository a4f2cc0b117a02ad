/**
 * One round of a call's attempts: one target; and others beside it, where that one is late and asking them is allowed. The first to
 * answer is used.
 */
import type { RouterError } from "../errors.ts";
import { FAILURES, type Failure } from "../providers/failure.ts";
import type { AttemptRecord } from "./call-record.ts";
import type { Late } from "./second-target.ts";
import type { StartedAnswer } from "./started-answer.ts";

/** How an attempt fails that is ended since another of its round has answered. */
export const NOT_FASTEST: Failure = { kind: "cancelled", message: "another target was faster" };

/** Attempts of a call that run at once, at most. */
const MOST_AT_ONCE = 3;

/** An attempt that gave no answer. */
export interface Failed {
	readonly index: number;
	readonly failure: Failure;
	readonly error: RouterError;
	/** No attempt was made. */
	readonly wasNotTried: boolean;
}

/** A running attempt, as its round steers it. */
export interface RunningAttempt {
	/** Undefined before it has begun. */
	readonly record: AttemptRecord | undefined;
	/** Reports when it is late in this way. */
	watch(late: Late): void;
	/** Reports again while it stays late in this way. */
	watchOn(late: Late): void;
	/** Lets it take as long as this in all, ms. */
	extend(ms: number): void;
	/** Another target was faster: ends it. */
	discard(): void;
	/** Ends it before it is sent. */
	drop(reason: string): void;
}

/** The call whose round it is. */
export interface RoundOwner {
	/** Makes an attempt; never begins it before it returns. */
	attempt(index: number, part: RoundPart): Promise<StartedAnswer | Failed>;
	/** Whom to part beside one that is late: counted, and taken from the budget where that is needed. */
	second(late: Late, part: RoundPart): number | undefined;
	/** A fault of the router's own code in an attempt whose answer is not needed. */
	fault(thrown: unknown): void;
	/** The round is over, with several attempts. */
	over(won: StartedAnswer | Failed, first: number): void;
}

/** One attempt of a round. */
export class RoundPart {
	attempt: RunningAttempt | undefined;
	/** The last way in which it was late while it ran. */
	late: Late | undefined;
	/** Another's answer was used. */
	isUnused = false;
	/** It was silent for so long that another, asked because of that, answered before it. */
	wasSilent = false;
	isOver = false;

	constructor(
		readonly round: Round,
		readonly index: number,
		/** Its position among those of the round, from 0. */
		readonly position: number,
	) {}
}

/** One round. */
export class Round {
	readonly #parts: RoundPart[] = [];
	readonly #result = Promise.withResolvers<StartedAnswer | Failed>();
	#isDecided = false;

	constructor(
		private readonly owner: RoundOwner,
		index: number,
	) {
		this.#start(index);
	}

	/** The first that answers; the first target's failure, where it would fail so anywhere; else the last failure. */
	get result(): Promise<StartedAnswer | Failed> {
		return this.#result.promise;
	}

	/** More than one has been asked. */
	get hasSeveral(): boolean {
		return this.#parts.length > 1;
	}

	/** This one is late: another is asked, where one may be. */
	late(part: RoundPart, late: Late): void {
		if (this.#isDecided || part.isOver) return;
		const running = this.#parts.filter(({ isOver }) => !isOver).length;
		const other = running < MOST_AT_ONCE ? this.owner.second(late, part) : undefined;
		if (other === undefined) {
			// Who may not be asked now may be later: others have ended there, or the late one has fallen silent towards all.
			if (late.next) part.attempt?.watch(late.next);
			else part.attempt?.watchOn(late);
			return;
		}
		part.late = late;
		this.#start(other);
	}

	/** Nobody else is left to part: those that run have all the time there is. */
	extend(limitMs: (index: number) => number): void {
		for (const { attempt, index, isOver } of this.#parts) if (!isOver) attempt?.extend(limitMs(index));
	}

	#start(index: number): void {
		const part = new RoundPart(this, index, this.#parts.length);
		this.#parts.push(part);
		this.owner.attempt(index, part).then(
			(result) => this.#ended(part, result),
			(thrown) => {
				part.isOver = true;
				const isNeeded = !this.#isDecided && (part.position === 0 || this.#isLast);
				if (!isNeeded) return this.owner.fault(thrown);
				this.#decide(undefined);
				this.#result.reject(thrown);
			},
		);
	}

	#ended(part: RoundPart, result: StartedAnswer | Failed): void {
		part.isOver = true;
		const isAnswer = "head" in result;
		if (this.#isDecided) {
			if (isAnswer) result.reader?.leave(NOT_FASTEST);
			return;
		}
		// What may have killed one engine must not run at a second one: the others are let go.
		const endsAll = !isAnswer && result.failure.kind === "engine_died";
		if (!isAnswer && !endsAll && !this.#isLast && (part.position > 0 || FAILURES[result.failure.kind].elsewhere)) {
			// Beside the one that is late another may be asked in its place.
			const late = this.#parts.find((each) => !each.isOver && each.late);
			if (late) this.late(late, late.late!);
			return;
		}
		this.#decide(isAnswer ? part : undefined);
		if (this.hasSeveral) this.owner.over(result, this.#parts[0]!.index);
		this.#result.resolve(result);
	}

	/** None is under way any more. */
	get #isLast(): boolean {
		return this.#parts.every(({ isOver }) => isOver);
	}

	/** Lets go of those that are still under way. False where that had been done. */
	#decide(winner: RoundPart | undefined): boolean {
		if (this.#isDecided) return false;
		this.#isDecided = true;
		for (const part of this.#parts) {
			if (part.isOver) continue;
			part.isUnused = true;
			part.attempt?.discard();
			part.wasSilent = winner !== undefined && winner.position > part.position && part.late?.why === "silent";
			// A probe goes on until it knows: a target that is slower than the others would else never be found well again.
			if (winner && part.late?.why === "probe") continue;
			part.attempt?.drop(NOT_FASTEST.message);
		}
		return true;
	}
}
