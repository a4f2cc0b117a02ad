/** Calls that may be answered from the cache: the same one, whichever router or thread it is sent to. */
import type { Json } from "./exchange.ts";
import type { Pipeline } from "./pipeline.ts";

/** Sends it, with this client's key. */
export const sendCached = (
	router: Pipeline,
	over: Json,
	key: string,
	signal?: AbortSignal,
	headers: Record<string, string> = {},
): Promise<Response> =>
	router.send(
		{ model: "box/m", messages: [{ role: "user", content: "hi" }], temperature: 0, ...over },
		{ headers: { authorization: `Bearer key-of-${key}-1234`, ...headers }, ...(signal ? { signal } : {}) },
	);

/** Reads its answer whole, and what is said of the cache. */
export async function readCached(sent: Promise<Response>) {
	const answer = await sent;
	return { status: answer.status, cache: answer.headers.get("x-router-cache"), text: await answer.text() };
}
