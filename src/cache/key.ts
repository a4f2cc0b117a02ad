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

/** What of a call decides about its key. */
export type KeyedCall = Pick<Call, "operation" | "raw" | "fields" | "headers">;

/** Texts whose keys are remembered: clients that repeat a call send the same bytes, which are compared in a tenth of the time. */
const MOST_TEXTS = 128;
const LONGEST_TEXT = 4096;

/**
 * Makes keys: SHA-256 hashes over all that changes an answer, headers that go on to upstreams among it. The order of fields and the
 * way they are written do not.
 */
export class CacheKeys {
	/** By the call's text: what else it was asked with, and the key. The last to come are kept. */
	readonly #recent = new Map<string, { readonly head: string; readonly key: RingKey }>();

	/**
	 * Throws RangeError for a body that is nested thousands of levels deep.
	 * @param places where the call may run, whatever their order
	 * @param tenant whose answers these are; "" where all share them
	 */
	of(call: KeyedCall, places: readonly string[], tenant: string): RingKey {
		const head = headOf(call, places, tenant);
		const recent = this.#recent.get(call.raw);
		if (recent?.head === head) return recent.key;
		const key = keyOf(call, head);
		if (call.raw.length > LONGEST_TEXT) return key;
		this.#recent.set(call.raw, { head, key });
		if (this.#recent.size > MOST_TEXTS) this.#recent.delete(this.#recent.keys().next().value!);
		return key;
	}
}

/** All but the body. Each part is a JSON text, so that no two lists of parts make the same bytes. */
function headOf({ operation, headers }: KeyedCall, places: readonly string[], tenant: string): string {
	const where = places.length > 1 ? [...new Set(places)].sort() : places;
	return JSON.stringify([tenant, operation, where, headers.get("openai-beta"), headers.get("anthropic-beta")]);
}

function keyOf({ fields, raw }: KeyedCall, head: string): RingKey {
	let text = head;
	const kept = fields.filter(({ key }) => !APART.has(key)).sort((a, b) => (a.key < b.key ? -1 : 1));
	for (const { key, start } of kept) text += `${JSON.stringify(key)}:${canonical(raw, start)},`;
	return Bun.SHA256.hash(text) as RingKey;
}
