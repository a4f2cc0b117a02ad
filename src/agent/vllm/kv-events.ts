/**
 * vLLM's KV-cache events (`vllm/distributed/kv_events.py`): msgpack by msgspec. A batch, and each event, is an array in the order of the
 * fields (up to 0.2x) or a map (later), with the event's class in front or under `type`. What is not known is passed over.
 */
import { Decoder } from "@msgpack/msgpack";

/** A block's hash as vLLM names it: 32 bytes as latin1, or a 64-bit number (`VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES`). */
export type BlockHash = string | number | bigint;

/** Blocks are in the cache from now on, each behind the one before it. */
export interface BlocksStored {
	readonly kind: "stored";
	readonly hashes: readonly BlockHash[];
	/** The block in front of the first; undefined: a prompt begins with it. */
	readonly parent: BlockHash | undefined;
	/** Of all blocks, `blockSize` each. */
	readonly tokens: readonly number[];
	/** Tokens a block. */
	readonly blockSize: number;
	/** What a block's hash covers besides tokens (an adapter, a salt, pictures), for each block, as one text; empty: nothing. */
	readonly extras: readonly string[];
	/** The group of layers, where a model has several that are cached apart. */
	readonly group: number;
	/** Whether each later token reads all earlier ones in that group: only then a prefix needs all of its blocks. */
	readonly isFullAttention: boolean;
	/** Held by the GPU, not moved elsewhere. */
	readonly isOnGpu: boolean;
}

/** Blocks are not in the cache any more. */
export interface BlocksRemoved {
	readonly kind: "removed";
	readonly hashes: readonly BlockHash[];
	readonly group: number;
	readonly isOnGpu: boolean;
}

/** One event. */
export type KvEvent = BlocksStored | BlocksRemoved | { readonly kind: "cleared" };

/** A message that is no batch of events, or an event of a known kind that can't be read. */
export class KvEventFault extends Error {
	override readonly name = "KvEventFault";
}

/** Fields in the order of an array. */
const FIELDS = {
	BlockStored: [
		"block_hashes",
		"parent_block_hash",
		"token_ids",
		"block_size",
		"lora_id",
		"medium",
		"lora_name",
		"extra_keys",
		"group_idx",
		"kv_cache_spec_kind",
	],
	BlockRemoved: ["block_hashes", "medium", "group_idx"],
	AllBlocksCleared: [],
} as const;
type Kind = keyof typeof FIELDS;
type Fields = Readonly<Record<string, unknown>>;

/** Largest hash, bytes, and most blocks of one event. */
const MAX_HASH_BYTES = 64;
const MAX_BLOCKS = 1_048_576;
/** A block's size in tokens: vLLM's own are 8 to 1,024, those of hybrid models larger. */
const MAX_BLOCK_SIZE = 65_536;

const decoder = new Decoder({ useBigInt64: true });

/** The events of a batch, in their order. Throws KvEventFault. */
export function decodeKvBatch(payload: Uint8Array): KvEvent[] {
	let batch: unknown;
	try {
		batch = decoder.decode(payload);
	} catch (thrown) {
		throw new KvEventFault(`a batch is no msgpack: ${thrown instanceof Error ? thrown.message : "unknown"}`);
	}
	const events = Array.isArray(batch) ? batch[1] : isFields(batch) ? batch["events"] : undefined;
	if (!Array.isArray(events)) throw new KvEventFault("a batch has no list of events");
	const read: KvEvent[] = [];
	for (const event of events) {
		const known = fieldsOf(event);
		if (known) read.push(eventOf(...known));
	}
	return read;
}

/** An event's kind and fields; undefined for a kind that is not known. */
function fieldsOf(event: unknown): [Kind, Fields] | undefined {
	if (Array.isArray(event)) {
		const [kind, ...values] = event as unknown[];
		if (!isKind(kind)) return undefined;
		return [kind, Object.fromEntries(FIELDS[kind].map((name, at) => [name, values[at]]))];
	}
	if (!isFields(event) || !isKind(event["type"])) return undefined;
	return [event["type"], event];
}

function eventOf(kind: Kind, fields: Fields): KvEvent {
	if (kind === "AllBlocksCleared") return { kind: "cleared" };
	const group = whole(fields["group_idx"] ?? 0, "group_idx");
	const isOnGpu = fields["medium"] == null || fields["medium"] === "GPU";
	const hashes = list(fields["block_hashes"], "block_hashes").map(hashOf);
	if (kind === "BlockRemoved") return { kind: "removed", hashes, group, isOnGpu };
	const parent = fields["parent_block_hash"];
	const tokens = list(fields["token_ids"], "token_ids") as number[];
	if (!tokens.every(isToken)) throw new KvEventFault("token_ids has something else than token ids");
	return {
		kind: "stored",
		hashes,
		parent: parent == null ? undefined : hashOf(parent),
		tokens,
		blockSize: whole(fields["block_size"], "block_size", MAX_BLOCK_SIZE),
		extras: extrasOf(fields, hashes.length),
		group,
		isFullAttention: fields["kv_cache_spec_kind"] == null || FULL_ATTENTION.has(fields["kv_cache_spec_kind"]),
		isOnGpu,
	};
}

/** Of vLLM's `KVCacheSpecKind`; versions that do not say it have one group. */
const FULL_ATTENTION: ReadonlySet<unknown> = new Set(["full_attention", "mla_attention", "sink_full_attention"]);

/** An adapter stands in the extra keys of each of its blocks; versions without extra keys name it in a field of its own. */
function extrasOf({ extra_keys, lora_name, lora_id }: Fields, count: number): string[] {
	if (Array.isArray(extra_keys)) return Array.from({ length: count }, (_, at) => extraText(extra_keys[at]));
	const adapter = lora_name ?? lora_id;
	return new Array<string>(count).fill(adapter == null ? "" : extraText([adapter]));
}

/** A block's extra keys as one text, the same for the same keys. What an adapter's blocks have: see {@link adapterExtra}. */
function extraText(keys: unknown): string {
	if (keys == null || (Array.isArray(keys) && keys.length === 0)) return "";
	return JSON.stringify(keys, (_, value: unknown) => {
		if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString("base64") };
		return typeof value === "bigint" ? String(value) : value;
	});
}

/** The extra of the blocks of an adapter's calls. */
export const adapterExtra = (adapter: string | undefined): string =>
	adapter === undefined ? "" : extraText([adapter]);

function hashOf(value: unknown): BlockHash {
	if (typeof value === "bigint" || typeof value === "number") return value;
	if (value instanceof Uint8Array && value.length <= MAX_HASH_BYTES) return Buffer.from(value).toString("latin1");
	throw new KvEventFault("a block's hash is neither bytes nor a number");
}

function list(value: unknown, field: string): unknown[] {
	if (!Array.isArray(value) || value.length > MAX_BLOCKS) throw new KvEventFault(`${field} is no list, or too long`);
	return value;
}

function whole(value: unknown, field: string, most = Number.MAX_SAFE_INTEGER): number {
	if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= most) return value;
	throw new KvEventFault(`${field} is no number that it can be`);
}

const isToken = (value: unknown): boolean => typeof value === "number" && value >= 0 && Number.isInteger(value);
const isKind = (value: unknown): value is Kind => typeof value === "string" && Object.hasOwn(FIELDS, value);
const isFields = (value: unknown): value is Fields =>
	typeof value === "object" && value !== null && !Array.isArray(value);
