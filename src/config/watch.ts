/** Watching a file for changes, by polling. */
import { statSync } from "node:fs";

/** How often the file is looked at, ms. */
const POLL_MS = 500;

/** A file that is watched. */
export interface Watch {
	/** Calls `changed` once the file has been the same for two looks, whether or not it has changed or exists. */
	recheck(): void;
	stop(): void;
}

/**
 * Calls `changed` once the file at this path differs from before and has been the same for two looks: editors write in several
 * steps. Polling, not inotify: that misses network disks, and files that are replaced through a link, as Kubernetes does. A file that
 * disappears is no change until it is there again.
 */
export function watchFile(path: string, changed: () => void, pollMs = POLL_MS): Watch {
	let reported = signature(path);
	let last = reported;
	let isDemanded = false;
	const timer = setInterval(() => {
		const now = signature(path);
		const isSettled = now === last;
		last = now;
		if (!isSettled || (!isDemanded && (now === reported || now === undefined))) return;
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

/** Undefined where there is no such file, or no permission to see it. */
function signature(path: string): string | undefined {
	try {
		const { ino, size, mtimeMs, ctimeMs } = statSync(path);
		return `${ino} ${size} ${mtimeMs} ${ctimeMs}`;
	} catch {
		return undefined;
	}
}
