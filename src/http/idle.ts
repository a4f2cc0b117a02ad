/** How long a quiet connection is kept. */

/**
 * Seconds without a byte until Bun closes a connection (slow loris). Streams lift it for themselves with
 * `server.timeout(request, 0)`.
 */
export const IDLE_SECONDS = 30;
