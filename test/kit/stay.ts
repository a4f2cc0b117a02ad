/** How a worker stays in the midst of something until a test ends it. */

/** Longer than any test waits, ms: a worker that the system does not end though it is told to would else keep the whole run from its end. */
const MOST_MS = 20_000;

/** Keeps this thread, which never comes back: it is ended from outside, or after a while by itself. @param mostMs how long that takes */
export function stay(mostMs = MOST_MS): never {
	for (const since = performance.now(); performance.now() - since < mostMs; ) Bun.nanoseconds();
	process.exit();
}
