/** One call on its way upstream, and all who wait for its answer: who makes it is in `lead.ts`, the races in design.md. */
import type { RingKey } from "../memory/ring.ts";
import type { Client } from "../openai/call.ts";
import type { StreamPiece } from "../openai/sse.ts";
import type { AnswerForm, AnswerOrigin, StreamFailure } from "./answer-form.ts";
import type { CacheEntry } from "./entry.ts";
import { StreamFollower } from "./stream-follower.ts";

/** By what calls on their way are known. */
export const keyText = (key: RingKey): string => Buffer.from(key).toString("latin1");

/** One such call. Made by the first caller, who leads it. */
export class SingleFlight {
	readonly #controller = new AbortController();
	readonly #result = Promise.withResolvers<CacheEntry | undefined>();
	readonly #started = Promise.withResolvers<void>();
	readonly #followers = new Set<StreamFollower>();
	/** What was sent so far, while that may be read from its beginning. */
	#pieces: StreamPiece[] | undefined = [];
	#size = 0;
	#waiters = 1;
	#isOver = false;
	/** Woken when somebody joins, reads on or leaves. */
	#waiting: (() => void) | undefined;
	origin: AnswerOrigin | undefined;
	failure: StreamFailure | undefined;

	/** @param limit bytes of a stream that are kept for those who come later */
	constructor(
		readonly form: AnswerForm,
		private readonly limit: number,
	) {}

	/** Stands for all who want the answer: gone when nobody is left. */
	readonly client: Client = this.#controller;

	/** Resolves when it is over: with the answer, or with undefined where there is none that may be handed on. */
	get result(): Promise<CacheEntry | undefined> {
		return this.#result.promise;
	}

	/** Resolves with the first piece of a stream, or when it is over. */
	get started(): Promise<void> {
		return this.#started.promise;
	}

	/** What was sent, whole; undefined where it has outgrown the limit. */
	get pieces(): readonly StreamPiece[] | undefined {
		return this.#pieces;
	}

	/** Somebody waits for the answer. Returns how to leave; safe to call twice. */
	join(): () => void {
		this.#waiters++;
		return this.#leaving();
	}

	/** How the leader leaves. */
	readonly leave = this.#leaving();

	/** The stream from its beginning; undefined where that is no longer kept, or the form is another one. */
	follow({ dialect, stream, showsUsage, request }: AnswerForm): StreamFollower | undefined {
		const { form } = this;
		const isSame = stream && form.stream && dialect === form.dialect && showsUsage === form.showsUsage;
		if (request && !form.request?.equals(request)) return undefined;
		if (!isSame || !this.#pieces || this.#isOver) return undefined;
		const follower = new StreamFollower(this.#pieces, () => this.#wake());
		this.#followers.add(follower);
		this.#wake();
		return follower;
	}

	/**
	 * The leader's stream sends a piece; `taken` is what its client's side says of it. Returns what to wait for before the next: the
	 * slowest of those who follow it, once it is a whole limit behind; the leader's own client only if nobody else reads.
	 */
	send(piece: StreamPiece, taken: number | Promise<number>): number | Promise<unknown> {
		this.#started.resolve();
		this.#size += piece.length;
		if (this.#size > this.limit) this.#pieces = undefined;
		this.#pieces?.push(piece);
		for (const follower of this.#followers) follower.push(piece);
		if (this.#hasFollowers && !this.#isFollowerFarBehind) return 0;
		if (!this.#hasFollowers && typeof taken === "number") return taken;
		return this.#paced(taken);
	}

	/** It is over. Only the first call counts. */
	finish(entry: CacheEntry | undefined, broken?: StreamFailure): void {
		if (this.#isOver) return;
		this.#isOver = true;
		this.failure = broken;
		for (const follower of this.#followers) follower.end();
		this.#result.resolve(entry);
		this.#started.resolve();
	}

	/** Stops reading along. */
	unfollow(follower: StreamFollower): void {
		this.#followers.delete(follower);
		this.#wake();
	}

	get #hasFollowers(): boolean {
		return this.#followers.size > 0;
	}

	get #isFollowerFarBehind(): boolean {
		return [...this.#followers].some(({ backlog }) => backlog > this.limit);
	}

	async #paced(taken: number | Promise<number>): Promise<void> {
		let isTaken = typeof taken === "number";
		void Promise.resolve(taken).then(() => {
			isTaken = true;
			this.#wake();
		});
		while (this.#hasFollowers ? this.#isFollowerFarBehind : !isTaken) {
			await new Promise<void>((resolve) => {
				this.#waiting = resolve;
			});
		}
	}

	#wake(): void {
		this.#waiting?.();
		this.#waiting = undefined;
	}

	#leaving(): () => void {
		let isHere = true;
		return () => {
			if (!isHere) return;
			isHere = false;
			this.#waiters--;
			if (this.#waiters === 0 && !this.#isOver) this.#controller.abort();
		};
	}
}
