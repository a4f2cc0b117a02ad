/** The writer: a thread that writes to the database, so that the event loop waits for no disk. It is there while there is something to write. */
import type { BoundStatement, WriteResult } from "./connection.ts";

/** How long the thread waits for something to write, ms, before it ends: it takes some MB. */
const IDLE_MS = 60_000;

/** A compiled executable names the files in it by their path from the folder that all files it is built of share; from source a file is found from this one. */
const THREAD = Bun.isStandaloneExecutable
	? "./src/store/writer-thread.ts"
	: new URL("./writer-thread.ts", import.meta.url);

/** What is sent to the thread. */
export interface WriteRequest {
	readonly file: string;
	/** Of the file that is meant: another may have its name. */
	readonly inode: number;
	/** The {@link Writer.id}, and how many writes it has sent so far. */
	readonly writer: string;
	readonly number: number;
	readonly message: readonly BoundStatement[] | ArrayBuffer;
}

/** What the thread answers. `gone`: nothing was written, since its name is no more that of the file that is meant; or nothing was sent. */
export interface WriteAnswer {
	readonly number: number;
	readonly result: WriteResult | "gone";
	readonly problem?: { readonly code: string | undefined; readonly message: string } | undefined;
}

/** The part of a `Worker` that is used; tests hand in others. */
export type WriterThread = Pick<Worker, "postMessage" | "terminate"> & {
	onmessage: ((event: MessageEvent<WriteAnswer>) => unknown) | null;
	onerror: ((event: ErrorEvent) => unknown) | null;
	addEventListener(type: "close", listener: () => void): void;
};

/** Starts the thread. */
export function startThread(): WriterThread {
	return new Worker(THREAD, { smol: true, ref: false }) as unknown as WriterThread;
}

/** Writes of one database, made by a thread that is there while it is needed. */
export class Writer {
	/** Names this writer in the table of writers. */
	readonly id = crypto.randomUUID();
	/** How many writes were sent. */
	sent = 0;
	/** Whether writes can be sent. Not so where a thread could not be started, or ended before its first answer: no other is tried. */
	isUsable = true;
	/** Whether the last write was made is not known yet, and would not be where another one followed: none is sent. Its author ends that. */
	isUnsure = false;
	#thread: WriterThread | undefined;
	#idle: ReturnType<typeof setTimeout> | undefined;
	/** The write that is under way: the number of the last one in the table of writers says whether it was made, so there is one at a time. */
	#underWay: { readonly number: number; readonly take: (answer: WriteAnswer | number) => void } | undefined;
	#answered: Promise<unknown> | undefined;
	#hasAnswered = false;

	/** @param onUnusable called once where writes can't be sent: a clause that says why */
	constructor(
		private readonly start: () => WriterThread = startThread,
		private readonly onUnusable: (why: string) => void = () => {},
	) {}

	/** Has the thread make a write. Resolves with its answer; with the write's number where the thread ended without one. */
	async write(file: string, inode: number, message: WriteRequest["message"]): Promise<WriteAnswer | number> {
		while (this.#underWay) await this.#answered;
		if (this.isUnsure) return { number: 0, result: "gone" };
		clearTimeout(this.#idle);
		const number = ++this.sent;
		const { promise, resolve } = Promise.withResolvers<WriteAnswer | number>();
		this.#underWay = { number, take: resolve };
		this.#answered = promise;
		const request: WriteRequest = { file, inode, writer: this.id, number, message };
		try {
			this.#thread ??= this.#started();
			this.#thread.postMessage(request, message instanceof ArrayBuffer ? [message] : []);
		} catch (error) {
			this.#end(this.#thread, error);
		}
		return promise;
	}

	/** Ends the thread. What waits for its answer gets none. */
	close(): void {
		this.#hasAnswered = true;
		this.#end(this.#thread);
	}

	#started(): WriterThread {
		const thread = this.start();
		this.#hasAnswered = false;
		thread.onmessage = ({ data }) => this.#take(data);
		thread.onerror = (event) => {
			event.preventDefault();
			this.#end(thread, event);
		};
		thread.addEventListener("close", () => this.#end(thread));
		return thread;
	}

	#take(answer: WriteAnswer): void {
		this.#hasAnswered = true;
		this.#idle = setTimeout(() => this.close(), IDLE_MS);
		this.#idle.unref();
		this.#settle(answer);
	}

	#settle(answer: WriteAnswer | undefined): void {
		const settled = this.#underWay;
		this.#underWay = undefined;
		settled?.take(answer ?? settled.number);
	}

	/** @param thread that has ended, or is to end; another may have begun since */
	#end(thread: WriterThread | undefined, cause?: unknown): void {
		if (thread !== this.#thread) return;
		clearTimeout(this.#idle);
		this.#thread = undefined;
		if (!this.#hasAnswered && this.isUsable) {
			this.isUsable = false;
			const { message = "it ended" } = (cause ?? {}) as { message?: string };
			this.onUnusable(`the thread that writes can't be used (${message}), so that calls wait for the disk`);
		}
		this.#hasAnswered = false;
		thread?.terminate();
		if (this.#underWay) this.isUnsure = true;
		this.#settle(undefined);
	}
}
