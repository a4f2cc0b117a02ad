/** The clock for durations. */

/**
 * Unix time at the start of the process plus the time passed since, whole ms. It never goes back or jumps when somebody sets the clock
 * (NTP, a suspended machine, an operator), so that a wait for a time of this clock lasts as long as was meant. {@link asWall} converts
 * such a time for display. Times of other machines or processes must not be compared with it.
 */
export const steadyTime = (): number => Math.round(performance.timeOrigin + performance.now());

/** A time of {@link steadyTime} by the wall clock as it is set now. Unix time, ms. */
export const asWall = (time: number): number => Date.now() - (steadyTime() - time);
