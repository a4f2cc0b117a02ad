/**
 * The energy that one engine gets of its GPUs (`gpu-energy.ts`), and the calls that get it. What it gets while attempts run there is shared among
 * these by their tokens; the rest is idle energy, which no call gets. At each moment at which nothing runs the shares of all attempts together are
 * exactly what the engine got while anything ran. Plain arithmetic on numbers that several threads may share: the caller keeps others away.
 *
 * An attempt gets its share when it ends, by what its tokens are of those that the engine made meanwhile. Of the attempts that ran beside it and
 * still run nobody knows these yet: for them stands what attempts have made there a second so far. What such a guess has given too little of, or
 * too much, those get that end after it, and the last of them all that is left.
 */
import { EnergyNumbers } from "./energy-numbers.ts";
import type { GpuEnergy } from "./gpu-energy.ts";

/** Numbers of an account, and for how many threads it has a column each of attempts under way. */
export const ACCOUNT_THREADS = 9;
const AT = 0;
/** 1 once it has been on a GPU. */
const KNOWN = 1;
/** J while anything ran, since nothing last ran; and the same for each attempt, if all had equal shares. */
const DRAWN = 2;
const EQUAL = 3;
/** J while anything ran that no attempt has got yet. */
const LEFT = 4;
/** J, since the account was made. */
const GIVEN = 5;
const IDLE = 6;
/** Of attempts that ended: their tokens and their time, s, the older the less. */
const TOKENS = 7;
const SECONDS = 8;
/** Attempts under way, and what `EQUAL` was when they began, summed: a column for each thread. */
const RUNNING = 9;
const BEGAN = RUNNING + ACCOUNT_THREADS;
/** What its GPUs' shares came to when they were last looked at, summed. */
const BUSY_SEEN = BEGAN + ACCOUNT_THREADS;
const IDLE_SEEN = BUSY_SEEN + 1;
/** Of what it gets while attempts run here, the part that is of attempts of other routers, 0 to 1. */
const ELSEWHERE = IDLE_SEEN + 1;
export const ACCOUNT_NUMBERS = ELSEWHERE + 1;

/** What an attempt that ends leaves of those before it. */
const MEMORY = 0.98;

/** An attempt under way, as it began. */
export interface EnergyMark {
	readonly drawn: number;
	readonly equal: number;
	readonly at: number;
}

/** What an account comes to, J. */
export interface EnergySums {
	/** Got by attempts. */
	readonly given: number;
	/** While nothing ran, and of attempts that ended with their thread. */
	readonly idle: number;
}

/** One account, where it stands. Times in ms; they may go back a little between threads. */
export class EnergyAccount extends EnergyNumbers {
	/**
	 * @param numbers zero at first
	 * @param from where the {@link ACCOUNT_NUMBERS} of the account begin
	 * @param gpus that the engine is on
	 */
	constructor(
		numbers: Float64Array,
		from = 0,
		private gpus: readonly GpuEnergy[] = [],
	) {
		super(numbers, from);
	}

	/** From now on the engine is on these GPUs. */
	setGpus(gpus: readonly GpuEnergy[], now: number): void {
		this.#advance(now);
		const { isBusy, gpus: before } = this;
		this.gpus = gpus;
		for (const gpu of gpus) gpu.join(isBusy, now);
		for (const gpu of before) gpu.leave(isBusy, now);
		if (gpus.length > 0) this.set(KNOWN, 1);
		this.#look();
	}

	/** From now on so much of what the engine gets while attempts run here is theirs, 0 to 1: the rest is of those of other routers. */
	setShare(share: number, now: number): void {
		this.#advance(now);
		this.set(ELSEWHERE, 1 - share);
	}

	/** An attempt begins. */
	begin(thread: number, now: number): EnergyMark {
		this.#advance(now);
		if (!this.isBusy) for (const gpu of this.gpus) gpu.setBusy(true, now);
		const mark = { drawn: this.get(DRAWN), equal: this.get(EQUAL), at: this.get(AT) };
		this.add(RUNNING + thread, 1);
		this.add(BEGAN + thread, mark.equal);
		return mark;
	}

	/**
	 * It ends.
	 * @param tokens of its prompt as far as no cache had them, and of its answer; undefined where nobody knows: it gets as much as any other
	 * @returns what it gets, J; undefined where nobody has said yet what the engine's GPUs draw
	 */
	end(thread: number, mark: EnergyMark, tokens: number | undefined, now: number): number | undefined {
		this.#advance(now);
		const running = this.#running();
		const seconds = Math.max(0, this.get(AT) - mark.at) / 1_000;
		const equal = this.get(EQUAL) - mark.equal;
		const left = this.get(LEFT);
		const given = running <= 1 ? left : Math.min(left, Math.max(0, this.#share(mark, equal, seconds, tokens)));
		if (tokens !== undefined) {
			this.set(TOKENS, this.get(TOKENS) * MEMORY + tokens);
			this.set(SECONDS, this.get(SECONDS) * MEMORY + seconds);
		}
		this.add(RUNNING + thread, -1);
		this.add(BEGAN + thread, -mark.equal);
		this.add(GIVEN, given);
		this.set(LEFT, left - given);
		if (running <= 1) {
			for (const gpu of this.gpus) gpu.setBusy(false, now);
			this.#rest();
		}
		return this.isKnown ? given : undefined;
	}

	/** A thread has ended, with its attempts: what they would have got goes to those that run, and to nobody where there are none. */
	freed(thread: number, now: number): void {
		this.#advance(now);
		const wasBusy = this.isBusy;
		this.set(RUNNING + thread, 0);
		this.set(BEGAN + thread, 0);
		if (this.isBusy) return;
		this.add(IDLE, this.get(LEFT));
		if (wasBusy) for (const gpu of this.gpus) gpu.setBusy(false, now);
		this.#rest();
	}

	/** So far. */
	sums(now: number): EnergySums {
		this.#advance(now);
		return { given: this.get(GIVEN), idle: this.get(IDLE) };
	}

	/** Attempts run there. */
	get isBusy(): boolean {
		return this.#running() > 0;
	}

	/** It is or was on GPUs of which somebody says what they draw. */
	get isKnown(): boolean {
		return this.get(KNOWN) === 1;
	}

	/** Nothing runs, and it is on no GPU: until either begins again nothing changes. */
	get isResting(): boolean {
		return this.gpus.length === 0 && !this.isBusy;
	}

	#share({ drawn }: EnergyMark, equal: number, seconds: number, tokens: number | undefined): number {
		const running = this.#running();
		const meanwhile = this.get(DRAWN) - drawn;
		let wanted = equal;
		if (tokens !== undefined && equal > 0) {
			// How many ran beside it, on average.
			const beside = meanwhile / equal - 1;
			const known = this.get(SECONDS);
			const theirs = (known > 0 ? (this.get(TOKENS) / known) * seconds : tokens) * beside;
			if (tokens + theirs > 0) wanted = (meanwhile * tokens) / (tokens + theirs);
		}
		// What those before it have left, or taken, beside equal shares of all that run.
		let surplus = this.get(LEFT) - running * this.get(EQUAL);
		for (let thread = 0; thread < ACCOUNT_THREADS; thread++) surplus += this.get(BEGAN + thread);
		return wanted + surplus / running;
	}

	#advance(now: number): void {
		for (const gpu of this.gpus) gpu.advance(now);
		if (now > this.get(AT)) this.set(AT, now);
		const [busyBefore, idleBefore] = [this.get(BUSY_SEEN), this.get(IDLE_SEEN)];
		this.#look();
		const running = this.#running();
		if (running === 0) {
			this.add(IDLE, this.get(IDLE_SEEN) - idleBefore);
			return;
		}
		const joules = (this.get(BUSY_SEEN) - busyBefore) * (1 - this.get(ELSEWHERE));
		this.add(DRAWN, joules);
		this.add(EQUAL, joules / running);
		this.add(LEFT, joules);
	}

	/** Notes what its GPUs' shares come to. */
	#look(): void {
		let [busy, idle] = [0, 0];
		for (const gpu of this.gpus) {
			busy += gpu.busyShare;
			idle += gpu.idleShare;
		}
		this.set(BUSY_SEEN, busy);
		this.set(IDLE_SEEN, idle);
	}

	/** Begins anew, so that no rounding adds up. */
	#rest(): void {
		this.set(DRAWN, 0);
		this.set(EQUAL, 0);
		this.set(LEFT, 0);
		for (let thread = 0; thread < ACCOUNT_THREADS; thread++) this.set(BEGAN + thread, 0);
	}

	#running(): number {
		let running = 0;
		for (let thread = 0; thread < ACCOUNT_THREADS; thread++) running += this.get(RUNNING + thread);
		return running;
	}
}
