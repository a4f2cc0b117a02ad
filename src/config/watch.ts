/** Tells when a file has changed. */
import { statSync } from "node:fs";

/** How often it is looked at, ms. Looking costs 5 µs. */
const LOOK_MS = 500;

/** A file that is watched. */
export interface Watch {
	/** The file has been read as it is now: that is no change any more. */
	seen(): void;
	stop(): void;
}

/**
 * Calls `changed` once the file at this path is another than before and has been left alone for a look: editors write in several
 * steps. By looking, not by inotify: that misses network disks, and files that are put in place by a link, as Kubernetes does.
 * A file that is not there is no change until it is there again.
 */
export function watchFile(path: string, changed: () => void, lookMs = LOOK_MS): Watch {
	let told = signature(path);
	let last = told;
	const timer = setInterval(() => {
		const now = signature(path);
		const isSettled = now === last;
		last = now;
		if (!isSettled || now === told || now === undefined) return;
		told = now;
		changed();
	}, lookMs);
	timer.unref();
	return {
		seen() {
			told = signature(path);
		},
		stop: () => clearInterval(timer),
	};
}

/** Undefined where there is no such file, or none that may be looked at. */
function signature(path: string): string | undefined {
	try {
		const { ino, size, mtimeMs, ctimeMs } = statSync(path);
		return `${ino} ${size} ${mtimeMs} ${ctimeMs}`;
	} catch {
		return undefined;
	}
}
