/**
 * The keys of providers, as all threads of the process use them: they take turns over all threads, and one that was refused in one of them is
 * out of use in each. Refusals are a text that the threads share; whose turn is next stands in a cell for each provider.
 */
import { type Copied, SharedCopy } from "../memory/shared-copy.ts";
import { type TextMemory, textMemory } from "../memory/shared-text.ts";
import type { Failure, FailureKind } from "../providers/failure.ts";
import type { Provider } from "../providers/provider.ts";
import {
	type Account,
	AccountRing,
	KeyRotation,
	type KnownAccounts,
	newAccounts,
	type ProviderAccounts,
} from "./key-rotation.ts";

/** The most that is kept of refusals, bytes. */
const MOST_BYTES = 4 * 1024 * 1024;
/** Cells of whose turn is next. Where two providers have the same, their turns are counted together, which only changes their order. */
const TURNS = 1_024;
/** A refusal of whose key nobody has heard for so long is forgotten, ms: providers come and go with configurations. */
const FORGOTTEN_MS = 600_000;
/** Kinds of failures that say something of a key. */
const OF_THE_KEY: readonly FailureKind[] = ["auth", "quota", "rate"];

/** Its memory: made once, and handed to each thread. */
export interface KeyMemory {
	readonly refusals: TextMemory;
	readonly turns: SharedArrayBuffer;
}

/** Makes it: some KB. */
export const makeKeys = (): KeyMemory => ({
	refusals: textMemory(MOST_BYTES),
	turns: new SharedArrayBuffer(TURNS * Int32Array.BYTES_PER_ELEMENT),
});

/** Of one provider: keys and models that were refused, and until when keys cool down; times on the clock of all threads, ms. */
interface AccountsRecord {
	readonly keys: readonly (readonly [index: number, until: number, kind: FailureKind])[];
	readonly models: readonly (readonly [name: string, until: number, kind: FailureKind])[];
	readonly cools: readonly (readonly [index: number, until: number])[];
}

/** One thread's view. */
export class SharedKeyRotation extends KeyRotation {
	readonly #refusals: SharedRefusals;
	readonly #turns: Int32Array<SharedArrayBuffer>;

	/**
	 * @param memory of {@link makeKeys}
	 * @param thread the number of this thread
	 * @param offset how far the clock of all threads is ahead of this thread's, ms
	 * @param time this thread's clock, ms
	 */
	constructor(
		{ refusals, turns }: KeyMemory,
		thread: number,
		offset: number,
		time: () => number = () => performance.now(),
	) {
		super();
		this.#refusals = new SharedRefusals(refusals, thread, offset, time);
		this.#turns = new Int32Array(turns);
	}

	override get hasRefusals(): boolean {
		return this.#refusals.isAny;
	}

	override accountsOf(provider: Provider, size: number): ProviderAccounts {
		return new SharedAccounts(this.#refusals, idOf(provider), size, this.#turns);
	}

	/** The main thread's: another configuration is in force, with which all keys are tried again, as they are by one thread alone. */
	forget(): void {
		this.#refusals.forget();
	}

	/** The main thread's: lets go what a thread held that has died. */
	freed(thread: number): void {
		this.#refusals.freed(thread);
	}
}

/** By what all threads know a provider: its name and its keys. Of no use to anybody who does not have these. */
function idOf({ name, secret, otherAccounts = [] }: Provider): string {
	const keys = [secret, ...otherAccounts.map((other) => other.secret)];
	return Bun.hash.xxHash3(JSON.stringify([name, ...keys])).toString(36);
}

/** What is known of all providers' accounts. */
class SharedRefusals implements Copied {
	readonly #copy: SharedCopy;
	/** What the text said when this thread looked last, by provider. */
	readonly #known = new Map<string, KnownAccounts>();

	constructor(
		memory: TextMemory,
		thread: number,
		private readonly offset: number,
		private readonly time: () => number,
	) {
		this.#copy = new SharedCopy(memory, thread, this, (ended) => this.freed(ended));
	}

	/** A key is out of use, or to be tried again. */
	get isAny(): boolean {
		return this.#copy.isMarked;
	}

	/** The same object each time: what it says changes with `look`. */
	of(provider: string): KnownAccounts {
		let known = this.#known.get(provider);
		if (!known) {
			known = newAccounts();
			this.#known.set(provider, known);
		}
		return known;
	}

	look(): void {
		this.#copy.look();
	}

	/** Changes what is known: one thread at a time. */
	change<T>(step: () => T): T {
		return this.#copy.change(step);
	}

	forget(): void {
		this.change(() => {
			for (const { keys, models, coolsDownUntil } of this.#known.values()) {
				for (const each of [keys, models, coolsDownUntil]) each.clear();
			}
		});
	}

	freed(thread: number): void {
		this.#copy.freed(thread);
	}

	isMarked(): boolean {
		for (const { keys, models } of this.#known.values()) if (keys.size + models.size > 0) return true;
		return false;
	}

	take(text: string): void {
		const record = JSON.parse(text) as Record<string, AccountsRecord>;
		for (const id of Object.keys(record)) this.of(id);
		for (const [id, known] of this.#known) this.#take(known, record[id]);
	}

	write(): string {
		return JSON.stringify(this.#record());
	}

	/** Of the provider that is known for longest. */
	shorten(): boolean {
		for (const known of this.#known.values()) {
			if (known.keys.size + known.models.size + known.coolsDownUntil.size === 0) continue;
			for (const each of [known.keys, known.models, known.coolsDownUntil]) each.clear();
			return true;
		}
		return false;
	}

	#take({ keys, models, coolsDownUntil }: KnownAccounts, record: AccountsRecord | undefined): void {
		const { offset } = this;
		keys.clear();
		for (const [index, until, kind] of record?.keys ?? []) keys.set(index, { until: until - offset, kind });
		models.clear();
		for (const [name, until, kind] of record?.models ?? []) models.set(name, { until: until - offset, kind });
		coolsDownUntil.clear();
		for (const [index, until] of record?.cools ?? []) coolsDownUntil.set(index, until - offset);
	}

	#record(): Record<string, AccountsRecord> {
		const { offset } = this;
		const record: Record<string, AccountsRecord> = {};
		const since = this.time() - FORGOTTEN_MS;
		for (const [id, { keys, models, coolsDownUntil }] of this.#known) {
			for (const [index, { until }] of keys) if (until < since) keys.delete(index);
			for (const [name, { until }] of models) if (until < since) models.delete(name);
			for (const [index, until] of coolsDownUntil) if (until < since) coolsDownUntil.delete(index);
			if (keys.size + models.size + coolsDownUntil.size === 0) continue;
			record[id] = {
				keys: [...keys].map(([index, { until, kind }]) => [index, until + offset, kind]),
				models: [...models].map(([name, { until, kind }]) => [name, until + offset, kind]),
				cools: [...coolsDownUntil].map(([index, until]) => [index, until + offset]),
			};
		}
		return record;
	}
}

/** The keys of one provider. */
class SharedAccounts implements ProviderAccounts {
	readonly #own: AccountRing;
	readonly #turn: Turn;

	constructor(
		private readonly refusals: SharedRefusals,
		id: string,
		private readonly size: number,
		turns: Int32Array<SharedArrayBuffer>,
	) {
		this.#turn = new Turn(turns, Bun.hash.xxHash32(id) % TURNS, size);
		this.#own = new AccountRing(size, refusals.of(id), this.#turn);
	}

	take(model: string, now: number, tried: readonly number[] = []): Account | undefined {
		const own = this.#own;
		this.refusals.look();
		for (;;) {
			const { seen } = this.#turn;
			const index = own.find(model, now, tried, seen % this.size);
			if (index === undefined) return undefined;
			// By one call of all threads.
			if (own.isRefused(index, model)) return this.refusals.change(() => own.take(model, now, tried));
			if (this.#turn.pass(seen, index + 1)) return { index, isProbe: false };
		}
	}

	takeAnyway(): Account {
		return this.#own.takeAnyway();
	}

	isReady(index: number, model: string, now: number, isSole?: boolean): boolean {
		this.refusals.look();
		return this.#own.isReady(index, model, now, isSole);
	}

	has(model: string, now: number, tried?: readonly number[]): boolean {
		this.refusals.look();
		return this.#own.has(model, now, tried);
	}

	refusal(model: string, now: number): ReturnType<ProviderAccounts["refusal"]> {
		this.refusals.look();
		return this.#own.refusal(model, now);
	}

	outOfUse(now: number): number {
		this.refusals.look();
		return this.#own.outOfUse(now);
	}

	ended(account: Account, model: string, failure: Failure | undefined, now: number): void {
		// An only key cools down to no effect.
		const isOfKey =
			failure !== undefined && OF_THE_KEY.includes(failure.kind) && (failure.kind !== "rate" || this.size > 1);
		if (isOfKey || account.isProbe) this.refusals.change(() => this.#own.ended(account, model, failure, now));
	}
}

/** Whose turn is next, over all threads. */
class Turn {
	constructor(
		private readonly cells: Int32Array<SharedArrayBuffer>,
		private readonly at: number,
		private readonly size: number,
	) {}

	/** As it stands there: another provider may count in the same cell. */
	get seen(): number {
		return Atomics.load(this.cells, this.at);
	}

	get next(): number {
		return this.seen % this.size;
	}
	set next(index: number) {
		Atomics.store(this.cells, this.at, index);
	}

	/** False where another thread has taken its turn since it was seen. */
	pass(seen: number, next: number): boolean {
		return Atomics.compareExchange(this.cells, this.at, seen, next % this.size) === seen;
	}
}
