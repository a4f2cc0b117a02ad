/** What the environment asks of a bench. */

/** A positive whole number from the environment. Throws naming the variable where it is none. */
export function wholeNumber(name: string, fallback: number): number {
	const value = Number(process.env[name] ?? fallback);
	if (!Number.isInteger(value) || value < 1) throw new Error(`bench: ${name} must be a whole number, 1 or more`);
	return value;
}

/** Loaded but not counted until the JIT has made what a call passes: no longer than this, and less in a short run. */
const WARM_UP_S = 5;

/** Seconds of warm-up before measurements of `seconds` each. */
export const warmUp = (seconds: number): number => Math.min(WARM_UP_S, seconds === 1 ? 1 : seconds * 2);
