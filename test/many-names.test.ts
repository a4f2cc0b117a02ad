/** Objects of more names than anyone needs: a caller chooses how many there are, and no other call is served while they are looked through. */
import { expect, test } from "bun:test";
import { canonicalBytes } from "../src/openai/canonical-bytes.ts";
import { canonical, parseWithFields } from "../src/openai/json.ts";
import { isStrictSchema } from "../src/openai/strict-schema.ts";

const NAMES = Array.from({ length: 2_000 }, (_, nth) => `k${String(nth).padStart(4, "0")}`);

/** The same bytes or items, and how many of them have been read. */
function counted<Read extends object>(of: Read) {
	const seen = { reads: 0 };
	const read = new Proxy(of, {
		get(target, key) {
			if (typeof key === "string" && /^\d+$/.test(key)) seen.reads++;
			const value: unknown = Reflect.get(target, key);
			// Methods of buffers work on no proxy.
			return typeof value === "function" && Buffer.isBuffer(target) ? value.bind(target) : value;
		},
	});
	return { read, seen };
}

/** Fewer than all names compared with all others take, more than sorting takes. */
const MOST_READS = 2_000_000;

test.each([
	["in order", NAMES],
	["from the last to the first", NAMES.toReversed()],
	["first the odd ones", [...NAMES.filter((_, at) => at % 2), ...NAMES.filter((_, at) => at % 2 === 0)]],
	["each twice", [...NAMES.toReversed(), ...NAMES]],
])("of an object the canonical form takes no comparison of each name with each: %s", (_, names) => {
	const object = `{${names.map((name, at) => `"${name}":${at}`).join(",")}}`;
	const text = `{"metadata":${object}}`;
	const { read, seen } = counted(Buffer.from(text));
	const written = canonicalBytes({ bytes: read, fields: parseWithFields(text).fields }, new Set());
	expect(written?.toString()).toBe(`"metadata":${canonical(object)},`);
	expect(seen.reads).toBeLessThan(MOST_READS);
});

test("whether a schema is strict takes no comparison of each property with each required name", () => {
	const { read, seen } = counted(NAMES.toReversed());
	const properties = Object.fromEntries(NAMES.map((name) => [name, {}]));
	const schema = { type: "object", additionalProperties: false, properties };
	expect(isStrictSchema({ ...schema, required: read })).toBe(true);
	expect(isStrictSchema({ ...schema, required: NAMES.slice(1) })).toBe(false);
	expect(seen.reads).toBeLessThan(10 * NAMES.length);
});
