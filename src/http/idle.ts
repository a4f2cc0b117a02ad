/** How long a quiet connection is kept. */

/**
 * Seconds without a byte until Bun closes a connection (slow loris). Calls lift it for themselves (`IdleTimeoutLift`), and so do
 * streams of logs.
 */
export const IDLE_SECONDS = 30;
