/** Checkpoints of a database, made by a thread that is there while they are needed. */

/** How long the thread waits for the next one, ms, before it ends: it takes some MB. */
const IDLE_MS = 60_000;

/** A compiled executable names the files in it by their path from the folder that all files it is built of share; from source a file is found from this one. */
const THREAD = Bun.isStandaloneExecutable
	? "./src/store/checkpoint-thread.ts"
	: new URL("./checkpoint-thread.ts", import.meta.url);

/** Checkpoints of one database. A thread that can't be started leaves them to SQLite. */
export class Checkpoints {
	#thread: Worker | undefined;
	#idle: ReturnType<typeof setTimeout> | undefined;
	#isRunning = false;

	constructor(private readonly file: string) {}

	/** Has one made, unless one is under way. */
	start(): void {
		if (this.#isRunning) return;
		clearTimeout(this.#idle);
		this.#isRunning = true;
		this.#thread ??= this.#startThread();
		this.#thread.postMessage(this.file);
	}

	/** Ends the thread; a checkpoint under way is made or not, the data is the same. */
	close(): void {
		clearTimeout(this.#idle);
		this.#thread?.terminate();
		this.#thread = undefined;
		this.#isRunning = false;
	}

	#startThread(): Worker {
		const thread = new Worker(THREAD, { smol: true, ref: false });
		thread.onmessage = () => {
			this.#isRunning = false;
			this.#idle = setTimeout(() => this.close(), IDLE_MS);
			this.#idle.unref();
		};
		thread.onerror = (event) => {
			event.preventDefault();
			if (this.#thread === thread) this.close();
		};
		return thread;
	}
}
