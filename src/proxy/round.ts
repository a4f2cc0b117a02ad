/**
 * One round of a call's attempts: one target; and others beside it, where that one is late and asking them is allowed. The first to
 * answer is used.
 */
import { FAILURES } from "../providers/failure.ts";
import type { Failure } from "../providers/provider.ts";
import type { OpenAttempt } from "../routing/state.ts";
import type { Attempt, Opened } from "./attempt.ts";
import type { Failed } from "./attempts.ts";
import type { Late } from "./second-target.ts";

/** What an attempt ends in whose answer was not needed. */
export const BEATEN: Failure = { kind: "cancelled", message: "another target was faster" };

/** Attempts of a call that run at once, at most. */
const MOST_AT_ONCE = 3;

/** What a round asks of its call. */
export interface Field {
	/** Makes an attempt; never begins it before it returns. */
	attempt(index: number, racer: Racer): Promise<Opened | Failed>;
	/** Whom to ask beside one that is late: counted, and taken from the budget where that is needed. */
	beside(late: Late, racer: Racer): number | undefined;
	/** A fault of the router's own code in an attempt whose answer is not needed. */
	fault(thrown: unknown): void;
	/** The round is over, with several attempts. */
	over(won: Opened | Failed, first: number): void;
}

/** One attempt of a round. */
export class Racer {
	attempt: Attempt | undefined;
	/** What its target has done since it began; undefined until then. */
	seen: Pick<OpenAttempt, "quietMs"> | undefined;
	/** The last way in which it was late while it ran. */
	late: Late | undefined;
	/** Another's answer was used. */
	isBeaten = false;
	/** It was silent for so long that another, asked because of that, answered before it. */
	wasSilent = false;
	isOver = false;

	constructor(
		readonly round: Round,
		readonly index: number,
		/** Its place among those of the round, from 0. */
		readonly place: number,
	) {}
}

/** One round. */
export class Round {
	readonly #racers: Racer[] = [];
	readonly #result = Promise.withResolvers<Opened | Failed>();
	#isDecided = false;

	constructor(
		private readonly field: Field,
		index: number,
	) {
		this.#start(index);
	}

	/** The first that answers; the first target's failure, where it would fail so anywhere; else the last failure. */
	get result(): Promise<Opened | Failed> {
		return this.#result.promise;
	}

	/** More than one has been asked. */
	get hasSeveral(): boolean {
		return this.#racers.length > 1;
	}

	/** This one is late: another is asked, where one may be. */
	late(racer: Racer, late: Late): void {
		if (this.#isDecided || racer.isOver) return;
		const running = this.#racers.filter(({ isOver }) => !isOver).length;
		const other = running < MOST_AT_ONCE ? this.field.beside(late, racer) : undefined;
		if (other === undefined) {
			// Who may not be asked now may be later: others have ended there, or the late one has fallen silent towards all.
			if (late.next) racer.attempt?.watch(late.next);
			else racer.attempt?.watchOn(late);
			return;
		}
		racer.late = late;
		this.#start(other);
	}

	/** Nobody else is left to ask: those that run have all the time there is. */
	extend(limitMs: (index: number) => number): void {
		for (const { attempt, index, isOver } of this.#racers) if (!isOver) attempt?.extend(limitMs(index));
	}

	#start(index: number): void {
		const racer = new Racer(this, index, this.#racers.length);
		this.#racers.push(racer);
		this.field.attempt(index, racer).then(
			(result) => this.#ended(racer, result),
			(thrown) => {
				racer.isOver = true;
				const isNeeded = !this.#isDecided && (racer.place === 0 || this.#isLast);
				if (!isNeeded) return this.field.fault(thrown);
				this.#decide(undefined);
				this.#result.reject(thrown);
			},
		);
	}

	#ended(racer: Racer, result: Opened | Failed): void {
		racer.isOver = true;
		const isAnswer = "head" in result;
		if (this.#isDecided) {
			if (isAnswer) result.reader?.leave(BEATEN);
			return;
		}
		if (!isAnswer && !this.#isLast && (racer.place > 0 || FAILURES[result.failure.kind].elsewhere)) {
			// Beside the one that is late another may be asked in its place.
			const late = this.#racers.find((each) => !each.isOver && each.late);
			if (late) this.late(late, late.late!);
			return;
		}
		this.#decide(isAnswer ? racer : undefined);
		if (this.hasSeveral) this.field.over(result, this.#racers[0]!.index);
		this.#result.resolve(result);
	}

	/** None is under way any more. */
	get #isLast(): boolean {
		return this.#racers.every(({ isOver }) => isOver);
	}

	/** Lets go of those that are still under way. False where that had been done. */
	#decide(winner: Racer | undefined): boolean {
		if (this.#isDecided) return false;
		this.#isDecided = true;
		for (const racer of this.#racers) {
			if (racer.isOver) continue;
			racer.isBeaten = true;
			racer.attempt?.mute();
			racer.wasSilent = winner !== undefined && winner.place > racer.place && racer.late?.why === "silent";
			// A probe goes on until it knows: a target that is slower than the others would else never be found well again.
			if (winner && racer.late?.why === "probe") continue;
			racer.attempt?.drop(BEATEN.message);
		}
		return true;
	}
}
