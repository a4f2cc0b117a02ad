/**
 * Agents that have run away, as all threads of the process know them: those that go round in a circle, sessions whose budget is spent, and keys that
 * spend far more than they usually do. A text in memory that threads share (`memory/shared-copy.ts`): only calls that repeat rounds write to it, and only while a key
 * spends too much do others look there. Of what calls say it holds a hash, keyed by a secret that ends with the process.
 */
import { SharedCopy } from "../../memory/shared-copy.ts";
import { type TextMemory, textMemory } from "../../memory/shared-text.ts";
import type { RepeatedRounds } from "../../openai/tool-rounds.ts";
import { type AgentLoop, loopAfter, roundsOf } from "./agent-loop.ts";

/** Circles that are remembered. Of more go those of the key that has most, the ones first that were not seen for longest: no key pushes out another's. */
const MOST_LOOPS = 500;
/** How long one is remembered that no call goes on with, ms. */
const LOOP_MS = 3_600_000;
/** Sessions with a spent budget that are remembered, and how often one is written down, ms. */
const MOST_SESSIONS = 200;
const SESSION_MS = 10_000;
/** The longest text, bytes. */
const MOST_BYTES = 512 * 1024;
/** Longest name of a session that is kept, characters. */
const LONGEST_SESSION = 100;

/** What is done about a runaway. */
export type RunawayAction = "warn" | "slow" | "stop";

/** Whose call it is, as administrators see it: nothing of what it says. */
export interface RunawayCall {
	/** Its id. */
	readonly call: string;
	/** The key's id and name; undefined where there are no keys. */
	readonly keyId: string | undefined;
	readonly key: string | undefined;
	/** As a header names it. */
	readonly session: string | undefined;
	readonly model: string;
}

/** A circle, and whose it is. */
interface KnownLoop extends AgentLoop, RunawayCall {
	/** How often the same has been done. */
	readonly rounds: number;
	/** What was done about its last call; undefined where it is none yet. */
	readonly action: RunawayAction | undefined;
	/** Rounds at which it was last reported. */
	readonly toldAt: number;
	/** Unix time, ms. */
	readonly at: number;
}

/** A key that spends too fast. USD. */
export interface FastKey {
	readonly keyId: string;
	readonly key: string;
	/** In the last minutes. */
	readonly usd: number;
	/** What it usually spends in as many. */
	readonly usual: number;
	readonly action: RunawayAction;
	/** Until then, Unix time, ms. */
	readonly until: number;
}

/** A session whose budget is spent. */
export interface SpentSession {
	readonly keyId: string | undefined;
	readonly key: string | undefined;
	readonly session: string;
	/** Its budget, USD. */
	readonly usd: number;
}

/** One that is known, and when a call of it was last refused, Unix time, ms. */
export type KnownSpentSession = SpentSession & { readonly at: number };

/** Made once a process, and handed to each thread. */
export interface RunawayMemory {
	readonly text: TextMemory;
	/** By which hashes are keyed. */
	readonly secret: string;
}

/** Memory for them: 1 KB until there is one. */
export const makeRunaways = (): RunawayMemory => ({ text: textMemory(MOST_BYTES), secret: crypto.randomUUID() });

/** What is decided about a call that repeats rounds. */
export interface LoopVerdict {
	/** By which its end is told: {@link Runaways.ended}. */
	readonly id: string;
	/** How often the same has been done, pauses left out. */
	readonly rounds: number;
	/** It is to be reported: at first, and whenever there are twice as many rounds. */
	readonly isNews: boolean;
}

/** A circle's call. */
export interface LoopCall extends RunawayCall {
	readonly repeated: RepeatedRounds;
	/** By which its conversation is told from others: its session, else what it began with. */
	readonly conversation: string;
}

/** What administrators see. */
export interface RunawayList {
	readonly loops: readonly (RunawayCall & Pick<KnownLoop, "rounds" | "action" | "at">)[];
	readonly keys: readonly FastKey[];
	readonly sessions: readonly KnownSpentSession[];
}

/** One thread's view. */
export class Runaways {
	readonly #loops = new Map<string, KnownLoop>();
	readonly #fast = new Map<string, FastKey>();
	readonly #spent = new Map<string, KnownSpentSession>();
	readonly #copy: SharedCopy;

	/**
	 * @param thread its number
	 * @param time the clock of all threads, ms
	 * @param wall Unix time, ms
	 */
	constructor(
		private readonly memory: RunawayMemory,
		thread: number,
		private readonly time: () => number,
		private readonly wall: () => number = Date.now,
	) {
		const copied = {
			take: (text: string) => this.#take(text),
			write: () => JSON.stringify([[...this.#loops], [...this.#fast], [...this.#spent]]),
			isMarked: () => this.#fast.size > 0,
			shorten: () => this.#shorten(),
		};
		this.#copy = new SharedCopy(memory.text, thread, copied, (ended) => this.freed(ended));
	}

	/**
	 * A call has come that repeats rounds.
	 * @param rules from how many rounds on it is a runaway, how long a pause is one, ms, and what is done then
	 */
	seen(
		call: LoopCall,
		rules: { readonly rounds: number; readonly pauseMs: number; readonly action: RunawayAction },
	): LoopVerdict {
		const { repeated, conversation, ...whose } = call;
		const id = Bun.hash(`${this.memory.secret}\n${whose.keyId ?? ""}\n${repeated.run}\n${conversation}`).toString(36);
		return this.#copy.change(() => {
			const before = this.#loops.get(id);
			const loop = loopAfter(before, repeated, this.time(), rules.pauseMs);
			const rounds = roundsOf(loop, repeated);
			const isRunaway = rounds >= rules.rounds;
			const isNews = isRunaway && rounds >= 2 * (before?.toldAt ?? 0);
			const session = whose.session?.slice(0, LONGEST_SESSION);
			const action = isRunaway ? rules.action : undefined;
			const toldAt = isNews ? rounds : (before?.toldAt ?? 0);
			this.#loops.delete(id);
			this.#loops.set(id, { ...loop, ...whose, session, rounds, action, toldAt, at: this.wall() });
			this.#forgetOld();
			return { id, rounds, isNews };
		});
	}

	/** Its answer has ended. @param count as its history had it */
	ended(id: string, count: number): void {
		this.#copy.change(() => {
			const loop = this.#loops.get(id);
			if (loop && loop.count === count) this.#loops.set(id, { ...loop, endedAt: this.time() });
		});
	}

	/** A call was refused since its session has spent its budget. */
	overspent(spent: SpentSession): void {
		const id = `${spent.keyId ?? ""}\n${spent.session}`;
		const at = this.wall();
		this.#copy.look();
		if (at - (this.#spent.get(id)?.at ?? 0) < SESSION_MS) return;
		this.#copy.change(() => {
			this.#spent.delete(id);
			this.#spent.set(id, { ...spent, session: spent.session.slice(0, LONGEST_SESSION), at });
			if (this.#spent.size > MOST_SESSIONS) this.#spent.delete(this.#spent.keys().next().value!);
		});
	}

	/** A key spends too fast. False where that was known. */
	sped(key: FastKey): boolean {
		return this.#copy.change(() => {
			const known = this.#fast.get(key.keyId);
			this.#fast.set(key.keyId, key);
			return known === undefined;
		});
	}

	/** Forgets keys that no longer do. */
	calmed(): void {
		if (!this.#copy.isMarked) return;
		const now = this.wall();
		this.#copy.look();
		if (![...this.#fast.values()].some(({ until }) => until <= now)) return;
		this.#copy.change(() => {
			for (const [id, { until }] of this.#fast) if (until <= now) this.#fast.delete(id);
		});
	}

	/** Whether it spends too fast now. Nothing is looked for where none does. */
	fast(keyId: string | undefined): FastKey | undefined {
		if (keyId === undefined || !this.#copy.isMarked) return undefined;
		this.#copy.look();
		const found = this.#fast.get(keyId);
		return found && found.until > this.wall() ? found : undefined;
	}

	/** The runaways of the last hour, the latest first. */
	list(): RunawayList {
		this.#copy.look();
		const now = this.wall();
		const isRecent = ({ at }: { readonly at: number }) => now - at < LOOP_MS;
		const loops = [...this.#loops.values()].filter((loop) => loop.action !== undefined && isRecent(loop));
		return {
			loops: loops.reverse(),
			keys: [...this.#fast.values()].filter(({ until }) => until > now),
			sessions: [...this.#spent.values()].filter(isRecent).reverse(),
		};
	}

	/** The main thread's: lets go what a thread held that has died. */
	freed(thread: number): void {
		this.#copy.freed(thread);
	}

	#take(text: string): void {
		const [loops, fast, spent] = JSON.parse(text) as [
			[string, KnownLoop][],
			[string, FastKey][],
			[string, KnownSpentSession][],
		];
		this.#loops.clear();
		this.#fast.clear();
		this.#spent.clear();
		for (const [id, session] of spent) this.#spent.set(id, session);
		for (const [id, loop] of loops) this.#loops.set(id, loop);
		for (const [id, key] of fast) this.#fast.set(id, key);
	}

	#forgetOld(): void {
		const now = this.wall();
		for (const [id, { at }] of this.#loops) {
			if (now - at < LOOP_MS) break;
			this.#loops.delete(id);
		}
		this.#leave(MOST_LOOPS);
	}

	/** Forgets half of the circles. */
	#shorten(): boolean {
		if (this.#loops.size === 0) return false;
		this.#leave(Math.floor(this.#loops.size / 2));
		return true;
	}

	/** Leaves so many circles at most. */
	#leave(most: number): void {
		if (this.#loops.size <= most) return;
		const ofKeys = new Map<string | undefined, string[]>();
		for (const [id, { keyId }] of this.#loops) {
			const ids = ofKeys.get(keyId);
			if (ids) ids.push(id);
			else ofKeys.set(keyId, [id]);
		}
		const all = [...ofKeys.values()];
		while (this.#loops.size > most) {
			const longest = all.reduce((one, other) => (other.length > one.length ? other : one));
			this.#loops.delete(longest.shift()!);
		}
	}
}
