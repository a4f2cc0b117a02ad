/** Checkpoints of a database, made by a thread that is there while they are needed. */
import { statSync } from "node:fs";

/** How long the thread waits for the next one, ms, before it ends: it takes some MB. */
const IDLE_MS = 60_000;

/** How long a stop waits for the last one, ms: a disk that is slower makes no stop slow. */
const FINISH_MS = 1_000;

/** A compiled executable names the files in it by their path from the folder that all files it is built of share; from source a file is found from this one. */
const THREAD = Bun.isStandaloneExecutable
	? "./src/store/checkpoint-thread.ts"
	: new URL("./checkpoint-thread.ts", import.meta.url);

/** What the thread is to do. */
export interface CheckpointRequest {
	readonly file: string;
	/** Nobody writes to the database any more: the log is to be empty then. */
	readonly isLast: boolean;
}

/** Starts the thread. Throws where the system gives none. */
function startThread(): Worker {
	return new Worker(THREAD, { smol: true, ref: false });
}

/** Checkpoints of one database. A thread that can't be started leaves them to SQLite. */
export class Checkpoints {
	#thread: Worker | undefined;
	#idle: ReturnType<typeof setTimeout> | undefined;
	#isRunning = false;
	#isUsable = true;
	/** Resolves when the last one is made. */
	readonly #last = Promise.withResolvers<void>();

	/** @param onUnusable called once where none can be made: a clause that says why */
	constructor(
		private readonly file: string,
		private readonly onUnusable: (why: string) => void = () => {},
		private readonly newThread: () => Worker = startThread,
	) {}

	/** Has one made, unless one is under way. */
	start(): void {
		if (!this.#isRunning) this.#ask(false);
	}

	/**
	 * Has the last one made, after which the log is empty. Resolves then, or where none can be made, or after so long: it is made or not then, the
	 * data is the same.
	 * @param most ms; default 1 s
	 */
	async finish(most = FINISH_MS): Promise<void> {
		if (!statSync(`${this.file}-wal`, { throwIfNoEntry: false })?.size) return;
		this.#ask(true);
		if (!this.#isUsable) return;
		const timer = setTimeout(this.#last.resolve, most);
		await this.#last.promise;
		clearTimeout(timer);
	}

	/** Ends the thread; a checkpoint under way is made or not, the data is the same. */
	close(): void {
		clearTimeout(this.#idle);
		this.#thread?.terminate();
		this.#thread = undefined;
		this.#isRunning = false;
	}

	#ask(isLast: boolean): void {
		if (!this.#isUsable) return;
		clearTimeout(this.#idle);
		this.#isRunning = true;
		try {
			this.#thread ??= this.#startThread();
			this.#thread.postMessage({ file: this.file, isLast } satisfies CheckpointRequest);
		} catch (error) {
			this.#fail((error as Error).message);
		}
	}

	#startThread(): Worker {
		const thread = this.newThread();
		thread.onmessage = ({ data }: MessageEvent<CheckpointRequest>) => {
			if (data.isLast) this.#last.resolve();
			this.#isRunning = false;
			this.#idle = setTimeout(() => this.close(), IDLE_MS);
			this.#idle.unref();
		};
		// What fails in a checkpoint is caught there: an error is one of the start.
		thread.onerror = (event) => {
			event.preventDefault();
			if (this.#thread === thread) this.#fail(event.message);
		};
		return thread;
	}

	#fail(why: string): void {
		this.close();
		this.#isUsable = false;
		this.#last.resolve();
		this.onUnusable(`the thread that makes checkpoints can't be used (${why}), so that some calls wait for one`);
	}
}
