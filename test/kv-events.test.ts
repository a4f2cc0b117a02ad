/** vLLM's KV events, as each generation of it writes them. */
import { describe, expect, test } from "bun:test";
import { encode } from "@msgpack/msgpack";
import { adapterExtra, decodeKvBatch, KvEventFault } from "../src/agent/vllm/kv-events.ts";

const BYTES = new Uint8Array(32).fill(255);
const packed = (value: unknown) => encode(value, { useBigInt64: true });
/** A batch of a version whose events are maps. */
const mapped = (...events: unknown[]) => decodeKvBatch(packed({ ts: 1.5, events, data_parallel_rank: 0 }));
const STORED = { type: "BlockStored", block_hashes: [7], parent_block_hash: null, token_ids: [1, 2], block_size: 2 };

describe("no batch", () => {
	test.each([
		["nothing", new Uint8Array(0)],
		["a number", packed(5)],
		["a map without events", packed({ ts: 1 })],
		["half of one", packed({ ts: 1.5, events: [STORED] }).subarray(0, 20)],
		["an event whose hashes are none", packed({ events: [{ ...STORED, block_hashes: [true] }] })],
		["an event without hashes", packed({ events: [{ ...STORED, block_hashes: null }] })],
		["tokens that are text", packed({ events: [{ ...STORED, token_ids: ["a"] }] })],
		["a block size below nothing", packed({ events: [{ ...STORED, block_size: -1 }] })],
		["a block size larger than any", packed({ events: [{ ...STORED, block_size: 1e9 }] })],
		["a group that is text", packed({ events: [{ type: "BlockRemoved", block_hashes: [1], group_idx: "0" }] })],
	])("%s", (_, payload) => {
		expect(() => decodeKvBatch(payload)).toThrow(KvEventFault);
	});
});

test("kinds that are not known, and fields that come later, are passed over", () => {
	const events = mapped(
		{ type: "BlockMoved", from: 1 },
		["BlockMoved", 1],
		17,
		null,
		{ type: "constructor" },
		{ ...STORED, lookahead_token_ids: [3], ownership: "shared", session_id: "s" },
	);
	expect(events.map(({ kind }) => kind)).toEqual(["stored"]);
});

test("a version of arrays, its fields in their order, and cut off where it knew no more", () => {
	const batch = [
		1.5,
		[
			["BlockStored", [BYTES, 2n ** 64n - 1n], 5, [1, 2, 3, 4], 2, null],
			["BlockStored", [9], null, [1, 2], 2, 3, "GPU", null],
			["BlockRemoved", [BYTES], "GPU"],
			["BlockRemoved", [1], "CPU", 2],
			["AllBlocksCleared"],
		],
	];
	expect(decodeKvBatch(packed(batch))).toEqual([
		{
			kind: "stored",
			hashes: ["\xff".repeat(32), 2n ** 64n - 1n],
			parent: 5,
			tokens: [1, 2, 3, 4],
			blockSize: 2,
			extras: ["", ""],
			group: 0,
			isFullAttention: true,
			isOnGpu: true,
		},
		expect.objectContaining({ parent: undefined, extras: ["[3]"], isOnGpu: true }),
		{ kind: "removed", hashes: ["\xff".repeat(32)], group: 0, isOnGpu: true },
		{ kind: "removed", hashes: [1], group: 2, isOnGpu: false },
		{ kind: "cleared" },
	]);
});

test("what a block covers besides tokens tells it from others: an adapter, a salt, a picture", () => {
	const extras = (fields: object) =>
		mapped({ ...STORED, ...fields }).flatMap((event) => ("extras" in event ? event.extras : []));
	expect(extras({})).toEqual([""]);
	expect(extras({ extra_keys: [null] })).toEqual([""]);
	expect(extras({ extra_keys: [[]] })).toEqual([""]);
	expect(extras({ extra_keys: [["sql"]] })).toEqual([adapterExtra("sql")]);
	expect(extras({ lora_name: "sql" })).toEqual([adapterExtra("sql")]);
	expect(extras({ extra_keys: [["salt"]], lora_name: null })).not.toEqual([""]);
	expect(extras({ extra_keys: [[BYTES, 5n]] })).not.toEqual(extras({ extra_keys: [[BYTES, 6n]] }));
	expect(adapterExtra(undefined)).toBe("");
});

test.each([
	["full_attention", true],
	["mla_attention", true],
	["sink_full_attention", true],
	["sliding_window", false],
	["sliding_window_mla", false],
	["mamba", false],
	["later_kind", false],
	[null, true],
])("of a group of %s a prefix needs all blocks: %p", (kind, isFull) => {
	expect(mapped({ ...STORED, kv_cache_spec_kind: kind })).toEqual([
		expect.objectContaining({ isFullAttention: isFull }),
	]);
});

/** Of `make real-vllm`: bytes as vLLM 0.32 wrote them, a batch with the end of a prompt and one with what it gave up. */
describe("vLLM 0.32 itself", () => {
	const decoded = (base64: string) => decodeKvBatch(Buffer.from(base64, "base64"));

	test("stores a block behind another one", () => {
		const [event, ...others] = decoded(
			"k8tB2sNvckDxRJGLpHR5cGWrQmxvY2tTdG9yZWSsYmxvY2tfaGFzaGVzkc8Tdm0LqWv/dLFwYXJlbnRfYmxvY2tfaGFzaM9egNWRGPQ4Oql0b2tlbl9pZHPcACDNBlzNAQ7NBRPNAQ7M" +
				"yV7NAx3NAyLNAQ7NB6gOzQFXzQGczQeOzQEOzQIozQPPAszJAc0FGszJKVHNATEQAszJAc0Bas0GwMzJqmJsb2NrX3NpemUgp2xvcmFfaWTApm1lZGl1baNHUFWpbG9yYV9u" +
				"YW1lwKpleHRyYV9rZXlzkcCpZ3JvdXBfaWR4ALJrdl9jYWNoZV9zcGVjX2tpbmSuZnVsbF9hdHRlbnRpb24A",
		);
		expect(others).toEqual([]);
		if (event?.kind !== "stored") throw new Error(`it is ${event?.kind}`);
		const { tokens, ...rest } = event;
		expect(rest).toEqual({
			kind: "stored",
			hashes: [0x1376_6d0b_a96b_ff74n],
			parent: 0x5e80_d591_18f4_383an,
			blockSize: 32,
			extras: [""],
			group: 0,
			isFullAttention: true,
			isOnGpu: true,
		});
		expect([tokens.length, ...tokens.slice(0, 4), tokens.at(-1)]).toEqual([32, 1628, 270, 1299, 270, 201]);
	});

	test("removes one", () => {
		expect(
			decoded(
				"k8tB2sNvceYZVZGEpHR5cGWsQmxvY2tSZW1vdmVkrGJsb2NrX2hhc2hlc5HPCOjGZNKT/Z+mbWVkaXVto0dQValncm91cF9pZHgAAA==",
			),
		).toEqual([{ kind: "removed", hashes: [0x08e8_c664_d293_fd9fn], group: 0, isOnGpu: true }]);
	});
});
