/** What encoders need beside the call: files behind addresses, and what answers brought before. */

import type { Call } from "../../openai/call.ts";
import { invalid } from "../../openai/chat.ts";
import type { Media, MediaNeed, RequestInputStore } from "../../providers/provider.ts";
import { allowance, fetchMedia, type MediaAccess } from "./media-fetch.ts";

/** Thinking of tool loops kept, bytes: some 10,000 turns. */
const MEMORY_BYTES = 64 * 1024 * 1024;
/** Files one call may name. */
const MAX_FILES = 32;

/** One memory for all upstreams of a process; each upstream, and each key of this router, has its own room in it. */
export function requestInputsFor(
	world: MediaAccess,
	memory = new Lru(MEMORY_BYTES),
): (upstream: string) => RequestInputStore {
	/** A call that is tried again asks for no file twice. */
	const fetched = new WeakMap<Call, Promise<Map<string, Media>>>();
	const stores = new Map<string, RequestInputStore>();
	const storeOf = (upstream: string): RequestInputStore => {
		// By the key's id: another key may be given the name of one that was revoked.
		const keyOf = ({ keyId }: Call, id: string) => JSON.stringify([upstream, keyId ?? null, id]);
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
				return { media: (url) => files?.get(url), thinking: (id) => memory.get(keyOf(call, id)) };
			},
			hasStored: false,
			store(call, keeps) {
				this.hasStored = true;
				for (const { id, value } of keeps) memory.put(keyOf(call, id), value);
			},
		};
	};
	return (upstream) => {
		let store = stores.get(upstream);
		if (!store) {
			store = storeOf(upstream);
			stores.set(upstream, store);
		}
		return store;
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

/** Strings by key, at most `limit` bytes of them; those used longest ago are given up first. In this process only: another replica does not know them. */
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
