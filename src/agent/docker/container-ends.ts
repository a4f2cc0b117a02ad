/** How containers end, as the engine's events say it at that moment: calls that break with one wait for a word. */
import type { DockerEvent } from "./docker-output.ts";

/** `died`: by itself with an error, or of want of memory. `stopped`: somebody asked for it, or it had nothing left to do. */
export type ContainerVerdict = "died" | "stopped";

interface Seen {
	isOutOfMemory: boolean;
	/** A signal that ends it was sent, by whomever. */
	isStopping: boolean;
	/** Its engine died before that. */
	isDead: boolean;
	verdict: ContainerVerdict | undefined;
	readonly ended: PromiseWithResolvers<void>;
	/** What its engine died of; there once a call has met that death, or its log has been read. */
	cause: PromiseWithResolvers<string | undefined> | undefined;
}

/** Containers remembered; the oldest are forgotten first. */
const MOST = 500;
/** How long a call waits for the word at most, ms; and for the reason that its log names. */
const WAIT_MS = 2_000;
const CAUSE_WAIT_MS = 1_000;
/** Signals that end nothing: HUP, USR1, USR2, CHLD, CONT, WINCH. */
const HARMLESS: ReadonlySet<number> = new Set([1, 10, 12, 17, 18, 28]);

/** All containers of an agent. */
export class ContainerEnds {
	readonly #seen = new Map<string, Seen>();

	/** @param waitMs how long a call waits at most */
	constructor(private readonly waitMs = WAIT_MS) {}

	/** An event of the engine's. */
	heard({ id, action, signal, isClean }: DockerEvent): void {
		switch (action) {
			case "oom":
				this.#of(id).isOutOfMemory = true;
				return;
			case "kill":
				if (signal === undefined || !HARMLESS.has(signal)) this.#of(id).isStopping = true;
				return;
			case "stop":
				this.#of(id).isStopping = true;
				return;
			case "start":
				this.#seen.delete(id);
				return;
			case "die": {
				const seen = this.#of(id);
				const isByItself = !seen.isStopping && !isClean;
				seen.verdict = seen.isOutOfMemory || seen.isDead || isByItself ? "died" : "stopped";
				seen.ended.resolve();
			}
		}
	}

	/** The agent tells it to end. Docker says so at once; podman once it has ended. */
	stopping(id: string): void {
		this.#of(id).isStopping = true;
	}

	/** It was told to end: what it says of its engine from then on is no death by a call. */
	isStopping(id: string): boolean {
		const seen = this.#seen.get(id);
		return seen?.isStopping === true && !seen.isOutOfMemory && !seen.isDead;
	}

	/** Its engine has died, and now it is stopped for that. */
	engineDied(id: string): void {
		this.#of(id).isDead = true;
	}

	/** It has ended. */
	hasEnded(id: string): boolean {
		return this.#seen.get(id)?.verdict !== undefined;
	}

	/** Its log has been read: what its engine died of, where that says it. */
	explained(id: string, reason: string | undefined): void {
		this.#causeOf(id).resolve(reason);
	}

	/** A call has met the death of its engine: those that reach it now have done nothing. */
	isKnownDead(id: string): boolean {
		return this.#seen.get(id)?.cause !== undefined;
	}

	/** What its engine died of, under a call that met that death; undefined where its log is not read within 1 s, or names nothing. */
	async causeOf(id: string): Promise<string | undefined> {
		const { promise } = this.#causeOf(id);
		return this.#within(promise, Math.min(this.waitMs, CAUSE_WAIT_MS));
	}

	/** How it ended, once that is known; undefined where nothing was heard of an end within 2 s: it may live. */
	async verdictOf(id: string): Promise<ContainerVerdict | undefined> {
		const seen = this.#of(id);
		if (seen.verdict) return seen.verdict;
		await this.#within(seen.ended.promise, this.waitMs);
		return seen.verdict;
	}

	async #within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
		const { promise: late, resolve } = Promise.withResolvers<undefined>();
		const timer = setTimeout(() => resolve(undefined), ms);
		const result = await Promise.race([promise, late]);
		clearTimeout(timer);
		return result;
	}

	#causeOf(id: string): PromiseWithResolvers<string | undefined> {
		const seen = this.#of(id);
		seen.cause ??= Promise.withResolvers();
		return seen.cause;
	}

	#of(id: string): Seen {
		let seen = this.#seen.get(id);
		if (!seen) {
			if (this.#seen.size >= MOST) this.#seen.delete(this.#seen.keys().next().value!);
			seen = {
				isOutOfMemory: false,
				isStopping: false,
				isDead: false,
				verdict: undefined,
				ended: Promise.withResolvers(),
				cause: undefined,
			};
			this.#seen.set(id, seen);
		}
		return seen;
	}
}
