/** The log's file, as a worker has it: the main thread alone writes it. */
import { Writable } from "node:stream";
import type { Config } from "../../config/schema.ts";
import { createLog, type Log } from "../../telemetry/log.ts";

/**
 * How much may be on its way to the main thread, in UTF-16 units. Messages to a thread that is busy pile up without end. What comes beyond
 * waits in the log's batch, as before a disk that stalls; what that has no room for is dropped, and counted.
 */
const MOST_SENT = 1024 * 1024;

/** How much of it goes early, in UTF-16 units: each message wakes the main thread, and has it write to the disk. */
const FULL = 256 * 1024;

/** A file whose text goes to the main thread. */
export class RemoteLogFile {
	readonly full = FULL;
	#sent = 0;
	/** Goes on with what waits to be sent. */
	#next: (() => void) | undefined;

	constructor(private readonly send: (lines: string) => void) {}

	/** The stream that writes to it. There is one at a time. */
	readonly open = (): Writable =>
		new Writable({
			decodeStrings: false,
			write: (chunk, _encoding, done) => {
				const lines = String(chunk);
				this.#sent += lines.length;
				this.send(lines);
				if (this.#sent < MOST_SENT) done();
				else this.#next = done;
			},
		});

	/** The main thread has taken so much of it. */
	taken(length: number): void {
		this.#sent -= length;
		if (this.#sent >= MOST_SENT) return;
		const next = this.#next;
		this.#next = undefined;
		next?.();
	}
}

/** The log of a worker. */
export const workerLog = (settings: Config["log"], file: RemoteLogFile): Log =>
	createLog({ ...settings, role: "router", stdout: false, file, reader: "the main thread" });
