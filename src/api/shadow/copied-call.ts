/** The copy of a call that another model gets: what may be copied, and what of it stays with its caller. */
import type { Caller } from "../../accounts/auth/keys.ts";
import type { ClientCall } from "../../dialects/dialect.ts";
import type { Client } from "../../openai/call.ts";
import { OPERATIONS } from "../../openai/operations.ts";
import { newRequestId } from "../../request-id.ts";

/** Longest that a copy may take, ms. */
const LONGEST_MS = 600_000;
/** Behind every caller's call. */
const LAST = -100;
/** Headers that belong to what is asked. All others stay with the caller: traces, sessions, idempotency keys. */
const COPIED_HEADERS = ["openai-beta", "anthropic-beta"];

/**
 * Whether a call asks for an answer alone, so that to ask twice changes nothing: it is not stored, and has no tools that its upstream runs. Tools of
 * the client's are its own to run; a model only wishes for them.
 */
export function isRepeatable(call: ClientCall): boolean {
	const { facts, operation, storage, passed, responses, unasked } = call;
	if (!OPERATIONS[operation].generates || passed || unasked) return false;
	if (storage || facts.hasEffects || facts.fallbackModels.length > 0) return false;
	// A cache that it names is one vendor's.
	if (facts.namedCache?.() !== undefined) return false;
	return responses?.asksForTools !== true && !facts.usesLiveData();
}

/**
 * The copy: the same words, as a call of nobody's but the account that pays for it.
 * @param client gone when the copy is given up
 */
export function copyOf(call: ClientCall, { id: keyId }: Pick<Caller, "id">, client: Client): ClientCall {
	const headers = new Headers();
	for (const name of COPIED_HEADERS) {
		const value = call.headers.get(name);
		if (value !== null) headers.set(name, value);
	}
	const { operation, dialect, sent, facts, body, stream, hops } = call;
	const { leftOut, native, responses, prefills, isThoughtless } = call;
	return {
		...{ operation, dialect, sent, facts, body, stream, hops },
		...{ leftOut, native, responses, prefills, isThoughtless },
		id: newRequestId(),
		headers,
		client,
		keyId,
		startedAt: performance.now(),
		timeoutMs: LONGEST_MS,
		priority: LAST,
	};
}
