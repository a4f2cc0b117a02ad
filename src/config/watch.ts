/** Watching a file for changes, by polling. */
import { statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** How often the file is looked at, ms. */
const POLL_MS = 500;
/** How often {@link hasSettled} looks, before it says that the file is being written. */
const MOST_LOOKS = 10;

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
	const look = looksAt(watched);
	let isDemanded = false;
	const timer = setInterval(() => {
		const { now, isSettled } = look();
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

/** Waits until a file has been the same for two looks, changed or not, there or not. False where it still changes after a few seconds. */
export async function hasSettled(path: string, pollMs = POLL_MS): Promise<boolean> {
	const look = looksAt(path);
	for (let looks = 0; looks < MOST_LOOKS; looks++) {
		await sleep(pollMs);
		if (look().isSettled) return true;
	}
	return false;
}

/** Looks at a file now, and then with each call: `isSettled` where it is as it was at the look before. */
function looksAt(path: string): () => { readonly now: Signature; readonly isSettled: boolean } {
	let last = signature(path);
	return () => {
		const now = signature(path);
		const isSettled = now === last;
		last = now;
		return { now, isSettled };
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
