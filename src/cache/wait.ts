/** Waiting for somebody else's work, no longer than one's own client does. */

/** What a promise that never rejects came to; undefined where the client left, or `ms` passed, before. */
export async function patiently<T>(
	promise: Promise<T>,
	client: AbortSignal,
	ms: number,
): Promise<{ came: T } | undefined> {
	if (client.aborted) return undefined;
	const { promise: over, resolve } = Promise.withResolvers<undefined>();
	const giveUp = () => resolve(undefined);
	client.addEventListener("abort", giveUp);
	const timer = Number.isFinite(ms) ? setTimeout(giveUp, ms) : undefined;
	try {
		return await Promise.race([promise.then((came) => ({ came })), over]);
	} finally {
		clearTimeout(timer);
		client.removeEventListener("abort", giveUp);
	}
}
