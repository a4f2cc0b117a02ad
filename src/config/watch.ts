/** Watching a file for changes, by polling. */
import { statSync } from "node:fs";

/** How often the file is looked at, ms. */
const POLL_MS = 500;

/** A file that was read, and may have changed since. */
export interface WatchedFile {
	/** Its path. */
	readonly watched: string;
	/** Its {@link signature}, taken before it was read. */
	readonly since: Signature;
}

/** A file that is watched. */
export interface Watch {
	/** Calls `changed` once the file has been the same for two looks, whether or not it has changed or exists. */
	recheck(): void;
	stop(): void;
}

/**
 * Calls `changed` once a file differs from what it was before it was read and has been the same for two looks: editors write in several
 * steps. Polling, not inotify: that misses network disks, and files that are replaced through a link, as Kubernetes does. A file that
 * disappears is no change until it is there again.
 */
export function watchFile({ watched, since }: WatchedFile, changed: () => void, pollMs = POLL_MS): Watch {
	let reported = since;
	let last = signature(watched);
	let isDemanded = false;
	const timer = setInterval(() => {
		const now = signature(watched);
		const isSettled = now === last;
		last = now;
		if (!isSettled || (!isDemanded && (now === reported || now === NO_FILE))) return;
		isDemanded = false;
		reported = now;
		changed();
	}, pollMs);
	timer.unref();
	return {
		recheck() {
			isDemanded = true;
		},
		stop: () => clearInterval(timer),
	};
}

/** Another text after each change of a file; {@link NO_FILE} where there is none. */
export type Signature = string;
const NO_FILE: Signature = "";

/** What tells a file from how it was before. {@link NO_FILE}, too, where there is no permission to see it. */
export function signature(path: string): Signature {
	try {
		const { ino, size, mtimeMs, ctimeMs } = statSync(path);
		return `${ino} ${size} ${mtimeMs} ${ctimeMs}`;
	} catch {
		return NO_FILE;
	}
}
