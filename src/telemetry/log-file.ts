/** The log file: rotated daily, and never a reason for the process to stop or wait. */
import { closeSync, mkdirSync, openSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Writable } from "node:stream";
import { createStream } from "rotating-file-stream";
import { steadyTime } from "../steady-time.ts";
import { type Batch, createBatch } from "./log-batch.ts";

/** How long after a failure the file is tried again, ms. */
const RETRY_MS = 60_000;

/** What the file needs to be told. */
export interface LogFileOptions {
	/** Directory; made if it is missing. */
	readonly dir: string;
	/** `router` gives `router.log`, and `router-2026-01-31.log` for a day that is over. */
	readonly name: string;
	/** How many past days are kept. */
	readonly keep: number;
	/** Told once when writing begins to fail, with a sentence for people. */
	readonly onProblem: (sentence: string) => void;
	/** Told when it works again. */
	readonly onRecovered: (path: string) => void;
	/** ms; tests shorten it. */
	readonly retryMs?: number;
	/** Opens the stream; tests hand in one that fails. Throws when the file cannot be opened at all. */
	readonly open?: () => Writable;
}

/** A batch of lines and the file that they go to. */
export interface LogFile extends Batch {
	/** The current file's absolute path. */
	readonly path: string;
	/** Opens the file where no line has opened it yet. Returns why the first try failed; undefined where it succeeded. */
	open(): string | undefined;
}

/**
 * The log file as a batch of lines. Nothing is opened or rotated before the first line: a process that ends before it logs leaves the file
 * of another one alone. Any failure (no permission, read-only, ENOSPC) is told to `onProblem` once; lines are then lost to the file alone
 * until a try, at most one a `retryMs`, succeeds. Never throws.
 */
export function createLogFile(options: LogFileOptions): LogFile {
	const { keep, onProblem, onRecovered, retryMs = RETRY_MS } = options;
	const dir = resolve(options.dir);
	const path = join(dir, `${options.name}.log`);
	const open = options.open ?? (() => openStream(dir, options.name, path, keep));
	let stream: Writable | undefined;
	let failedAt: number | undefined;
	let isOpened = false;
	/** Of the first try to open it. */
	let problem: string | undefined;

	const fail = (cause: unknown) => {
		const first = failedAt === undefined;
		stream = undefined;
		failedAt = steadyTime();
		if (!first) return;
		const sentence = `The log file ${path} can't be written (${why(cause)}); logging to stdout only.`;
		if (!isOpened) problem = sentence;
		// Before the problem is logged: that is a line, too.
		isOpened = true;
		onProblem(sentence);
	};
	const connect = () => {
		try {
			const opened = open();
			stream = opened;
			opened.on("error", (cause) => {
				// A second error of a stream that was given up says nothing new.
				if (stream === opened) fail(cause);
			});
		} catch (cause) {
			fail(cause);
		}
	};

	const batch = createBatch((text, done) => {
		if (failedAt !== undefined && stream === undefined && steadyTime() - failedAt >= retryMs) connect();
		if (stream === undefined) return done();
		stream.write(text, (cause) => {
			if (!cause && failedAt !== undefined) {
				failedAt = undefined;
				onRecovered(path);
			}
			done();
		});
	});
	const openOnce = () => {
		if (isOpened) return problem;
		connect();
		isOpened = true;
		return problem;
	};
	return {
		...batch,
		path,
		open: openOnce,
		write(line) {
			if (!isOpened) openOnce();
			batch.write(line);
		},
	};
}

/** Opens once by hand first: rotating-file-stream tells of a directory it can't write only later, by an event. */
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
