/** What makes two calls the same. */
import type { Call } from "../openai/call.ts";
import { canonical } from "../openai/canonical.ts";
import type { RingKey } from "./ring.ts";

/** Fields that change nothing in the answer: who asks, how it is sent, what the vendor's own cache does. */
const APART = new Set([
	// Its place is taken by what it resolved to.
	"model",
	// One entry serves streams and whole answers.
	"stream",
	"stream_options",
	"user",
	"safety_identifier",
	"metadata",
	"prompt_cache_key",
	"prompt_cache_options",
	"prompt_cache_retention",
]);

/** Headers that go on to upstreams and may change what they answer. */
const HEADERS = ["openai-beta", "anthropic-beta"];

/** What of a call decides about its key. */
export type KeyedCall = Pick<Call, "operation" | "raw" | "fields" | "headers">;

/**
 * The key: a SHA-256 hash over all that changes the answer. The order of fields and the way they are written do not. Throws RangeError
 * for a body that is nested thousands of levels deep.
 * @param places where the call may run, whatever their order
 * @param tenant whose answers these are; "" where all share them
 */
export function cacheKey(call: KeyedCall, places: readonly string[], tenant: string): RingKey {
	const hasher = new Bun.CryptoHasher("sha256");
	// Each part is a JSON text, so that no two lists of parts make the same bytes.
	const head = [tenant, call.operation, [...new Set(places)].sort(), HEADERS.map((name) => call.headers.get(name))];
	hasher.update(JSON.stringify(head));
	const fields = call.fields.filter(({ key }) => !APART.has(key)).sort((a, b) => (a.key < b.key ? -1 : 1));
	for (const { key, start } of fields) hasher.update(`${JSON.stringify(key)}:${canonical(call.raw, start)},`);
	return hasher.digest();
}
