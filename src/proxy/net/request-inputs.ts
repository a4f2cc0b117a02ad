/** What encoders need beside the call: files behind addresses, and what answers brought before. */

import type { Call } from "../../openai/call.ts";
import { invalid } from "../../openai/chat.ts";
import type { Media, MediaNeed, RequestInputStore } from "../../providers/provider.ts";
import { Lru } from "./lru.ts";
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
	return (upstream) => {
		const keyOf = ({ key }: Call, id: string) => JSON.stringify([upstream, key ?? null, id]);
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
				return { media: (url) => files?.get(url), kept: (id) => memory.get(keyOf(call, id)) };
			},
			keep(call, keeps) {
				for (const { id, value } of keeps) memory.put(keyOf(call, id), value);
			},
		};
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
