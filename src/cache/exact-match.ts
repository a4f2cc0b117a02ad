/**
 * What makes two calls the same: a key over all that changes the answer; and, for clients that repeat a call by the same bytes, the
 * bytes of calls that were answered lately.
 */

import { createCipheriv, randomBytes } from "node:crypto";
import type { UnsupportedPolicy } from "../config/upstream-schema.ts";
import type { ClientCall, Dialect } from "../dialects/dialect.ts";
import type { RingKey } from "../memory/ring.ts";
import type { Call, ParsedRequest } from "../openai/call.ts";
import { IRRELEVANT_FIELDS, LONGEST_PARSED, memoryOf } from "../openai/call-facts.ts";
import type { Operation } from "../openai/operations.ts";
import type { Target } from "../providers/provider.ts";
import type { CacheEntry } from "./entry.ts";

/** Headers that go on to upstreams and change what they answer. */
export const KEY_HEADERS = ["openai-beta", "anthropic-beta"] as const;

/** What of a call decides about its key. */
export type KeyedCall = Pick<Call, "operation" | "facts" | "headers">;

/** Hashes two texts, the second as UTF-8, so that nobody can find two that come to the same. */
export type KeyHash = (head: string, body: Buffer) => RingKey;

/** Everybody's: SHA-256. */
const sharedHash: KeyHash = (head, body) => new Bun.SHA256().update(head).update(body).digest() as RingKey;

/**
 * One of this process alone, which takes far less time than SHA-256: the authentication of AES-GCM with a random key. It is of use
 * to nobody who knows the key, or gets to see a hash: neither ever leaves.
 * @param secret the random key, 16 bytes: threads that share answers have the same
 */
export function localHash(secret: Uint8Array = randomBytes(16)): KeyHash {
	const same = Buffer.alloc(12);
	return (head, body) => {
		const cipher = createCipheriv("aes-128-gcm", secret, same).setAAD(body);
		cipher.update(head);
		cipher.final();
		const key = new Uint8Array(32);
		key.set(cipher.getAuthTag());
		return key;
	};
}

/**
 * A call's key: a hash over all that changes its answer, headers that go on to upstreams among it. The order of fields and the
 * way they are written do not. Throws RangeError for a body that is nested thousands of levels deep.
 * @param places where the call may run, whatever their order
 * @param tenant whose answers these are; "" where all share them
 * @param unsupported what the call's name says about fields that a place has no form for: whether there is an answer at all
 */
export function keyOf(
	call: KeyedCall,
	places: readonly string[],
	tenant: string,
	unsupported?: UnsupportedPolicy,
	hash = sharedHash,
): RingKey {
	return hash(headOf(call, places, tenant, unsupported), call.facts.canonical(IRRELEVANT_FIELDS));
}

/** The key of a call that goes along this route; undefined for a body too deep to be read for it. */
export function routeKey(
	call: KeyedCall,
	targets: readonly Target[],
	tenant: string,
	unsupported: UnsupportedPolicy | undefined,
	hash: KeyHash | undefined,
): RingKey | undefined {
	const places: string[] = [];
	// Agents come and go: what counts is the model, wherever it runs.
	for (const { id, name } of targets) places.push(name ?? id);
	try {
		return keyOf(call, places, tenant, unsupported, hash);
	} catch (error) {
		if (error instanceof RangeError) return undefined;
		throw error;
	}
}

/** All but the body. Each part is a JSON text, so that no two lists of parts make the same bytes. */
function headOf(
	{ operation, headers }: KeyedCall,
	places: readonly string[],
	tenant: string,
	unsupported: UnsupportedPolicy | undefined,
): string {
	const where = places.length > 1 ? [...new Set(places)].sort() : places;
	const parts = [tenant, operation, where, ...KEY_HEADERS.map((name) => headers.get(name))];
	if (unsupported) parts.push(unsupported);
	return JSON.stringify(parts);
}

/** Who asked, besides what. */
export interface CacheScope {
	/** Whose answers these are; "" where all share them. */
	readonly tenant: string;
	/** Where the call may run: the same object for the same route. */
	readonly targets: object;
	readonly headers: Headers;
}

/** What a client sent, and where to: at another of Google's URLs, which names model and method, the same bytes are another call. */
export type SentBytes = Pick<ClientCall, "dialect" | "operation" | "sent">;

/** A call that was answered. */
export interface RecentCall extends SentBytes {
	/** What that was read as. */
	readonly parsed: ParsedRequest;
	/** Bytes of all this. */
	readonly size: number;
	readonly tenant: string;
	readonly targets: object;
	/** The values of {@link KEY_HEADERS}. */
	readonly keyHeaders: readonly (string | null)[];
	readonly key: RingKey;
	/** Where the entry stood in the ring: no other will ever stand there. */
	readonly position: number;
	/** With a body of its own. */
	readonly entry: CacheEntry;
}

/** Longest answer that is remembered, bytes. */
const LONGEST_ANSWER = 4096;
/** What one counts as at least, and a short one takes at most, with all that was made of what was sent, bytes. */
const SIZE = 24 * 1024;
/** The part of the cache's memory that may go there, and the part of that which a long one may take. */
const SHARE = 32;
const LARGEST = 8;
/** All else that is remembered of a call. */
const REST = 1024;
/** Long calls that are known to have come once. */
const MOST_SEEN = 1000;

/** What of the cache's memory they take at most, bytes. */
export const recentMemory = (memory: number): number => Math.floor(memory / SHARE / SIZE) * SIZE;

/**
 * The calls, the latest to be remembered: a hit that finds its bytes here need not be read, checked and hashed again, nor its answer looked
 * up.
 */
export class RecentCalls {
	/** What all of them take at most, bytes. */
	readonly memory: number;
	/** The body of the call that was remembered last: its memory must not be given back. */
	latest: Buffer | undefined;
	readonly #byHash = new Map<bigint, RecentCall>();
	/** Hashes of long calls that came once. */
	readonly #seenOnce = new Set<bigint>();
	readonly #seeds = new HashSeeds();
	#used = 0;

	/** @param memory the cache's, bytes */
	constructor(memory: number) {
		this.memory = recentMemory(memory);
	}

	/** The call that came with these bytes, whoever sent it; undefined where it is not remembered. */
	match(dialect: Dialect, operation: Operation, sent: Buffer): RecentCall | undefined {
		// Where nothing is repeated, nothing is hashed for it.
		if (this.#byHash.size === 0) return undefined;
		const repeat = this.#byHash.get(this.#hashOf(dialect, operation, sent));
		// Other bytes may have the same hash, and anyone can find such.
		return repeat?.operation === operation && repeat.dialect === dialect && repeat.sent.equals(sent)
			? repeat
			: undefined;
	}

	/**
	 * Whether it is worth while to remember a call by its bytes. Long ones have to come twice: where no two are written in the same way, it is
	 * worth more that their memory can be given back at once.
	 */
	isWorthwhile({ dialect, operation, sent }: SentBytes): boolean {
		if (sent.length <= LONGEST_PARSED) return true;
		if (sent.length > this.#largest(sent)) return false;
		const hash = this.#hashOf(dialect, operation, sent);
		if (this.#seenOnce.delete(hash)) return true;
		if (this.#seenOnce.size >= MOST_SEEN) this.#seenOnce.clear();
		this.#seenOnce.add(hash);
		return false;
	}

	/** Most bytes that a call of this length may count as. */
	#largest({ length }: Buffer): number {
		return length > LONGEST_PARSED ? Math.max(SIZE, this.memory / LARGEST) : SIZE;
	}

	/** Remembers a call whose answer was found in the ring. */
	remember(call: ClientCall, scope: CacheScope, found: Pick<RecentCall, "key" | "position" | "entry">): void {
		const { sent, facts, operation, dialect } = call;
		const { facts: served, body: answer } = found.entry;
		if (answer.length > LONGEST_ANSWER) return;
		const keyHeaders = KEY_HEADERS.map((name) => scope.headers.get(name));
		const size = REST + answer.length + facts.memory(sent) + memoryOf(keyHeaders);
		if (size > this.#largest(sent)) return;
		const hash = this.#hashOf(dialect, operation, sent);
		this.#forget(hash);
		const remembered = {
			...found,
			dialect,
			operation,
			sent,
			parsed: parsedOf(call),
			size: Math.max(size, SIZE),
			tenant: scope.tenant,
			targets: scope.targets,
			keyHeaders,
			// What lies in the ring is good for a moment only.
			entry: { facts: served, body: answer.slice() },
		};
		this.#byHash.set(hash, remembered);
		this.latest = sent;
		this.#used += remembered.size;
		while (this.#used > this.memory) this.#forget(this.#byHash.keys().next().value!);
	}

	#hashOf(dialect: Dialect, operation: Operation, sent: Buffer): bigint {
		return Bun.hash.xxHash3(sent, this.#seeds.of(dialect, operation));
	}

	#forget(hash: bigint): void {
		const call = this.#byHash.get(hash);
		if (!call) return;
		this.#byHash.delete(hash);
		this.#used -= call.size;
	}
}

/** A number for each place that bytes can be sent to, of which their hash is made, too: equal bytes for two of them stand beside each other. */
class HashSeeds {
	readonly #known = new WeakMap<Dialect, Map<Operation, bigint>>();
	#last = 0n;

	of(dialect: Dialect, operation: Operation): bigint {
		return this.#known.get(dialect)?.get(operation) ?? this.#next(dialect, operation);
	}

	#next(dialect: Dialect, operation: Operation): bigint {
		const seeds = this.#known.get(dialect) ?? new Map<Operation, bigint>();
		this.#known.set(dialect, seeds.set(operation, ++this.#last));
		return this.#last;
	}
}

/** What a call's text was read as: all of it but what calls have that no answer is kept of. */
function parsedOf(call: ClientCall): ParsedRequest {
	const { facts, body, stream, leftOut, prefills, isThoughtless, native, responses } = call;
	const parsed = { facts, body, stream, leftOut, prefills, isThoughtless, native, responses };
	return parsed satisfies { [Name in keyof Required<Omit<ParsedRequest, "operation" | "unasked">>]: unknown };
}

/** Whether it came from the same caller, and may be answered by the same. */
export function isSameCall(repeat: RecentCall, { tenant, targets, headers }: CacheScope): boolean {
	if (repeat.tenant !== tenant || repeat.targets !== targets) return false;
	return KEY_HEADERS.every((name, at) => headers.get(name) === repeat.keyHeaders[at]);
}
