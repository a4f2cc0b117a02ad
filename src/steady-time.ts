/** The clock for durations. */

/**
 * Unix time as it was when the process started, plus what has passed since, ms, whole: it never goes back or jumps when somebody
 * sets the clock (NTP, a suspended machine, a hand), so that whatever waits for a time of it waits as long as was meant. To be shown
 * a time of it goes through {@link asWall}; times of other machines or of other processes are never compared with it.
 */
export const steadyTime = (): number => Math.round(performance.timeOrigin + performance.now());

/** What the wall clock would have said at that time of the steady one, had it been set as it is now. Unix time, ms. */
export const asWall = (time: number): number => Date.now() - (steadyTime() - time);
