/** Tells when a file has changed. */
import { statSync } from "node:fs";

/** How often it is looked at, ms. Looking costs 5 µs. */
const LOOK_MS = 500;

/** A file that is watched. */
export interface Watch {
	/** Tells of the file once it has been left alone for a look, whether or not it has changed or is there. */
	ask(): void;
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
	let isAsked = false;
	const timer = setInterval(() => {
		const now = signature(path);
		const isSettled = now === last;
		last = now;
		if (!isSettled || (!isAsked && (now === told || now === undefined))) return;
		isAsked = false;
		told = now;
		changed();
	}, lookMs);
	timer.unref();
	return {
		ask() {
			isAsked = true;
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
