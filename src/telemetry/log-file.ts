/** The log file: rotated daily, and never a reason for the process to stop or wait. */
import { closeSync, mkdirSync, openSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Writable } from "node:stream";
import { createStream } from "rotating-file-stream";
import { steadyTime } from "../steady-time.ts";
import { type Batch, createBatch } from "./log-batch.ts";

/** How long after a failure the file is tried again, ms. */
const RETRY_MS = 60_000;

/** What it is made from. */
export interface LogFileOptions {
	/** Directory; made if it is missing. */
	readonly dir: string;
	/** `router` gives `router.log`, and `router-2026-01-31.log` for a day that is over. */
	readonly name: string;
	/** How many files of past days stay. */
	readonly keep: number;
	/** Called once when writing begins to fail, with a sentence for people. */
	readonly onProblem: (sentence: string) => void;
	/** Called when it works again. */
	readonly onRecovered: (path: string) => void;
	/** Called when there is room again after lines were dropped. */
	readonly onRoom?: () => void;
	/** ms; tests shorten it. */
	readonly retryMs?: number;
	/** How much is written early, in UTF-16 units, where that is not what suits a disk. */
	readonly full?: number;
	/** Opens the stream; tests hand in one that fails. Throws when the file cannot be opened at all. */
	readonly open?: () => Writable;
}

/**
 * The log file as a batch of lines. Nothing is opened or rotated before the first line: a process that ends before it logs leaves the file
 * of another one alone. Any failure (no permission, read-only, ENOSPC) is reported to `onProblem` once; lines are then lost to the file
 * alone until a try, at most one a `retryMs`, succeeds. Never throws.
 */
export class LogFile implements Batch {
	/** The current file's absolute path. */
	readonly path: string;
	readonly #options: LogFileOptions;
	readonly #batch: Batch;
	#stream: Writable | undefined;
	/** On the clock that never goes back. */
	#failedAt: number | undefined;
	#isOpened = false;
	/** Of the first try to open it. */
	#problem: string | undefined;

	constructor(options: LogFileOptions) {
		this.#options = options;
		this.path = join(resolve(options.dir), `${options.name}.log`);
		this.#batch = createBatch((text, done) => this.#write(text, done), options.onRoom, options.full);
	}

	/** Opens the file where no line has opened it yet. Returns why the first try failed; undefined where it succeeded. */
	open(): string | undefined {
		if (!this.#isOpened) {
			this.#connect();
			this.#isOpened = true;
		}
		return this.#problem;
	}

	write(line: string): void {
		if (!this.#isOpened) this.open();
		this.#batch.write(line);
	}

	flush(): Promise<void> {
		return this.#batch.flush();
	}

	dropped(): number {
		return this.#batch.dropped();
	}

	#connect(): void {
		const { dir, name, keep, open } = this.#options;
		try {
			const opened = open ? open() : openStream(resolve(dir), name, this.path, keep);
			this.#stream = opened;
			opened.on("error", (cause) => {
				// A second error of a stream that was given up says nothing new.
				if (this.#stream === opened) this.#fail(cause);
			});
		} catch (cause) {
			this.#fail(cause);
		}
	}

	#fail(cause: unknown): void {
		const isFirst = this.#failedAt === undefined;
		this.#stream = undefined;
		this.#failedAt = steadyTime();
		if (!isFirst) return;
		const sentence = `The log file ${this.path} can't be written (${why(cause)}); logging to stdout only.`;
		if (!this.#isOpened) this.#problem = sentence;
		// Before the problem is logged: that is a line, too.
		this.#isOpened = true;
		this.#options.onProblem(sentence);
	}

	#write(text: string, done: () => void): void {
		const { retryMs = RETRY_MS, onRecovered } = this.#options;
		if (this.#failedAt !== undefined && !this.#stream && steadyTime() - this.#failedAt >= retryMs) this.#connect();
		if (!this.#stream) {
			done();
			return;
		}
		this.#stream.write(text, (cause) => {
			if (!cause && this.#failedAt !== undefined) {
				this.#failedAt = undefined;
				onRecovered(this.path);
			}
			done();
		});
	}
}

/** Opens once by hand first: rotating-file-stream reports a directory it can't write only later, by an event. */
function openStream(dir: string, name: string, path: string, keep: number): Writable {
	mkdirSync(dir, { recursive: true });
	closeSync(openSync(path, "a"));
	return createStream((time, index) => fileName(name, time, index), {
		path: dir,
		interval: "1d",
		// A file is named after the day it holds, and a router started the next day finds yesterday's file and rotates it.
		intervalBoundary: true,
		intervalUTC: true,
		initialRotation: true,
		maxFiles: keep,
		history: `.${name}.log.history`,
	});
}

/** `router.log` for the current file, `router-2026-01-31.log` (`….2.log` when it is taken) for a past one. */
export function fileName(name: string, time: number | Date | null, index = 1): string {
	if (time === null) return `${name}.log`;
	const day = new Date(time).toISOString().slice(0, 10);
	return index > 1 ? `${name}-${day}.${index}.log` : `${name}-${day}.log`;
}

function why(cause: unknown): string {
	return cause instanceof Error ? String(("code" in cause && cause.code) || cause.message) : String(cause);
}
