/** What makes two calls the same. */
import type { Call } from "../openai/call.ts";
import { canonical } from "../openai/json.ts";
import type { Target } from "../providers/provider.ts";
import type { RingKey } from "./ring.ts";

/** Fields that change nothing in the answer: who asks, how it is sent, what the vendor's own cache does. */
const IGNORED_FIELDS = new Set([
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

/** Headers that go on to upstreams and change what they answer. */
export const KEY_HEADERS = ["openai-beta", "anthropic-beta"] as const;

/** What of a call decides about its key. */
export type KeyedCall = Pick<Call, "operation" | "raw" | "fields" | "headers">;

/**
 * A call's key: a SHA-256 hash over all that changes its answer, headers that go on to upstreams among it. The order of fields and the
 * way they are written do not. Throws RangeError for a body that is nested thousands of levels deep.
 * @param places where the call may run, whatever their order
 * @param tenant whose answers these are; "" where all share them
 */
export function keyOf(call: KeyedCall, places: readonly string[], tenant: string): RingKey {
	const { fields, raw } = call;
	let text = headOf(call, places, tenant);
	const kept = fields.filter(({ key }) => !IGNORED_FIELDS.has(key)).sort((a, b) => (a.key < b.key ? -1 : 1));
	for (const { key, start } of kept) text += `${JSON.stringify(key)}:${canonical(raw, start)},`;
	return Bun.SHA256.hash(text) as RingKey;
}

/** The key of a call that goes along this route; undefined for a body too deep to be read for it. */
export function routeKey(call: KeyedCall, targets: readonly Target[], tenant: string): RingKey | undefined {
	const places: string[] = [];
	// Agents come and go: what counts is the model, wherever it runs.
	for (const { id, name } of targets) places.push(name ?? id);
	try {
		return keyOf(call, places, tenant);
	} catch (error) {
		if (error instanceof RangeError) return undefined;
		throw error;
	}
}

/** All but the body. Each part is a JSON text, so that no two lists of parts make the same bytes. */
function headOf({ operation, headers }: KeyedCall, places: readonly string[], tenant: string): string {
	const where = places.length > 1 ? [...new Set(places)].sort() : places;
	return JSON.stringify([tenant, operation, where, ...KEY_HEADERS.map((name) => headers.get(name))]);
}
