/** What encoders need beside the call: files behind addresses, and what answers brought before. */

import type { Call } from "../../openai/call.ts";
import { invalid } from "../../openai/chat.ts";
import type { Media, MediaNeed, RequestInputStore, StoredThinking } from "../../providers/provider.ts";
import { allowance, fetchMedia, type MediaAccess } from "./media-fetch.ts";

/** Thinking of tool loops kept, bytes: some 10,000 turns. */
export const THINKING_BYTES = 64 * 1024 * 1024;
/** Files one call may name. */
const MAX_FILES = 32;

/**
 * The stores of a configuration's upstreams, by what tells one server from another: what one has signed is given back to no other.
 * @param memory of what answers bring: one for a process, whatever is loaded meanwhile
 */
export function requestInputsFor(
	world: MediaAccess,
	memory: StoredThoughts = new ThinkingMemory(),
): (upstream: string) => RequestInputStore {
	/** A call that is tried again asks for no file twice. */
	const fetched = new WeakMap<Call, Promise<Map<string, Media>>>();
	return (upstream) => {
		const stored = memory.of(upstream);
		return {
			async get(call, needs, signal) {
				let files: Map<string, Media> | undefined;
				if (needs.some(({ kind }) => kind === "media")) {
					let pending = fetched.get(call);
					if (!pending) {
						pending = fetchAll(needs, world, signal);
						fetched.set(call, pending);
					}
					files = await pending;
				}
				return { media: (url) => files?.get(url), thinking: (id) => stored.get(call, id) };
			},
			get hasStored() {
				return stored.hasAny;
			},
			store(call, thinking) {
				for (const each of thinking) stored.put(call, each);
			},
		};
	};
}

/** What one upstream's answers have brought. Each key of this router has its own. */
export interface UpstreamThinking {
	/** There has been something since the start. */
	readonly hasAny: boolean;
	get(call: Pick<Call, "keyId">, id: string): string | undefined;
	put(call: Pick<Call, "keyId">, thinking: StoredThinking): void;
}

/** What the answers of all upstreams have brought that must come back with their conversations. In this process only: another replica does not know it. */
export interface StoredThoughts {
	/** That of one upstream. */
	of(upstream: string): UpstreamThinking;
}

/** Whose it is: by the key's id, since another key may be given the name of one that was revoked. */
export const thoughtKey = (upstream: string, { keyId }: Pick<Call, "keyId">, id: string): string =>
	JSON.stringify([upstream, keyId ?? null, id]);

/** All of it in this thread. */
export class ThinkingMemory implements StoredThoughts {
	readonly #values: Lru;
	readonly #upstreams = new Map<string, UpstreamThinking>();

	/** @param limit bytes */
	constructor(limit = THINKING_BYTES) {
		this.#values = new Lru(limit);
	}

	/** The same object for the same name. */
	of(upstream: string): UpstreamThinking {
		let stored = this.#upstreams.get(upstream);
		if (!stored) {
			stored = thinkingOf(upstream, this.#values);
			this.#upstreams.set(upstream, stored);
		}
		return stored;
	}
}

function thinkingOf(upstream: string, values: Lru): UpstreamThinking {
	let hasAny = false;
	return {
		get hasAny() {
			return hasAny;
		},
		get: (call, id) => values.get(thoughtKey(upstream, call, id)),
		put(call, { id, value }) {
			hasAny = true;
			values.put(thoughtKey(upstream, call, id), value);
		},
	};
}

async function fetchAll(
	needs: readonly MediaNeed[],
	world: MediaAccess,
	signal: AbortSignal,
): Promise<Map<string, Media>> {
	const params = new Map(needs.flatMap((need) => (need.kind === "media" ? [[need.url, need.param] as const] : [])));
	if (params.size > MAX_FILES) {
		throw invalid([...params.values()][MAX_FILES]!, `is one address too many: a call may name ${MAX_FILES}`);
	}
	const left = allowance();
	const files = [...params].map(
		async ([url, param]) => [url, await fetchMedia(url, param, world, left, signal)] as const,
	);
	return new Map(await Promise.all(files));
}

/** Bytes of one UTF-16 unit, as the worst case. */
const UNIT = 2;

/** Strings by key, at most `limit` bytes of them; those used longest ago are given up first. */
export class Lru {
	/** In the order of their last use. */
	readonly #values = new Map<string, string>();
	#size = 0;

	constructor(private readonly limit: number) {}

	/** What is held, bytes. */
	get size(): number {
		return this.#size;
	}

	/** The value; from now on the one used last. */
	get(key: string): string | undefined {
		const value = this.#values.get(key);
		if (value === undefined) return undefined;
		this.#values.delete(key);
		this.#values.set(key, value);
		return value;
	}

	/** Keeps a value in place of any before it. One that is no use keeping, larger than an eighth of all, is not. */
	put(key: string, value: string): void {
		this.#remove(key);
		const size = sizeOf(key, value);
		if (size > this.limit / 8) return;
		this.#values.set(key, value);
		this.#size += size;
		for (const oldest of this.#values.keys()) {
			if (this.#size <= this.limit) return;
			this.#remove(oldest);
		}
	}

	#remove(key: string): void {
		const value = this.#values.get(key);
		if (value === undefined) return;
		this.#values.delete(key);
		this.#size -= sizeOf(key, value);
	}
}

const sizeOf = (key: string, value: string): number => (key.length + value.length) * UNIT;
