/** Whether JSON is of a schema's shape: as Ajv says it, but for what is left out on purpose. */
import { describe, expect, test } from "bun:test";
import Ajv from "ajv";
import { conforms } from "../src/providers/schema-check.ts";
import { type Random, random } from "./kit/random.ts";

const ajv = new Ajv({ strict: false, logger: false, validateFormats: false });

const SCALARS = [null, true, 0, 1, -2.5, 7, "", "a", "abc", "🙂🙂"];
function value(rng: Random, depth = 0): unknown {
	if (depth > 2 || rng.below(3) > 0) return rng.pick<unknown>(SCALARS);
	if (rng.below(2) === 0) return Array.from({ length: rng.below(4) }, () => value(rng, depth + 1));
	return Object.fromEntries(["a", "b", "c"].slice(0, rng.below(4)).map((name) => [name, value(rng, depth + 1)]));
}
const TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"];
function schema(rng: Random, depth = 0): unknown {
	if (depth > 3) return rng.pick<unknown>([true, {}, { type: "string" }]);
	const inner = () => schema(rng, depth + 1);
	const made: Record<string, unknown> = {};
	const words: Record<string, () => unknown> = {
		type: () => (rng.below(3) === 0 ? [...new Set([rng.pick(TYPES), rng.pick(TYPES)])] : rng.pick(TYPES)),
		enum: () => [value(rng), { d: 1 }],
		const: () => value(rng),
		properties: () => ({ a: inner(), b: inner() }),
		required: () => [rng.pick(["a", "b", "c"])],
		additionalProperties: () => (rng.below(2) === 0 ? false : inner()),
		items: inner,
		minItems: () => rng.below(3),
		maxItems: () => rng.below(4),
		uniqueItems: () => true,
		minLength: () => rng.below(4),
		maxLength: () => rng.below(4),
		minimum: () => rng.below(5) - 2,
		exclusiveMaximum: () => rng.below(5),
		multipleOf: () => rng.pick([0.5, 1, 7]),
		minProperties: () => rng.below(3),
		maxProperties: () => rng.below(3),
		anyOf: () => [inner(), inner()],
		oneOf: () => [inner(), inner()],
		allOf: () => [inner(), inner()],
		not: inner,
		if: inner,
		$ref: () => "#/$defs/X",
	};
	for (const [name, make] of Object.entries(words)) if (rng.below(9) === 0) made[name] = make();
	if (made["if"] !== undefined) for (const branch of ["then", "else"]) made[branch] = inner();
	return made;
}

test("what Ajv says of random values and schemas", () => {
	let good = 0;
	for (let seed = 0; seed < 400; seed++) {
		const rng = random(seed);
		const of = {
			$defs: { X: { type: ["string", "array", "object"], items: { $ref: "#/$defs/X" } } },
			...(schema(rng) as object),
		};
		const validate = ajv.compile(of);
		for (let i = 0; i < 5; i++) {
			const one = value(rng);
			const wanted = validate(one) === true;
			good += Number(wanted);
			expect([seed, conforms(one, of)]).toEqual([seed, wanted]);
		}
	}
	expect(good).toBeGreaterThan(300);
});

describe("what could take for ever, or can't be said, holds nothing", () => {
	test("a schema that refers to itself", () => expect(conforms(1, { $ref: "#" })).toBe(true));
	test("branches in branches without an end", () => {
		const branch = { anyOf: [{ $ref: "#/$defs/A" }, { $ref: "#/$defs/A" }], not: { $ref: "#/$defs/A" } };
		expect(conforms([[1]], { $ref: "#/$defs/A", $defs: { A: branch } })).toBeBoolean();
	});
	test.each([
		["a pattern", "b", { pattern: "^(a+)+$" }],
		["a format", "b", { format: "email" }],
		["names by pattern", { x: 1 }, { patternProperties: { "^a": {} }, additionalProperties: false }],
		["a reference elsewhere", 1, { $ref: "https://a.example/schema" }],
		["one that leads nowhere", 1, { $ref: "#/$defs/%ZZ" }],
		["a type of its own", 1, { type: "money" }],
		["no schema", 1, null],
	])("%s", (_, one, of) => expect(conforms(one, of)).toBe(true));
});

test("the first items have schemas of their own", () => {
	const of = { prefixItems: [{ type: "string" }], items: { type: "integer" } };
	expect([["a", 1], ["a"], [], [1], ["a", "b"]].map((list) => conforms(list, of))).toEqual([
		true,
		true,
		true,
		false,
		false,
	]);
});

test("numbers that are not whole are multiples as people count", () => {
	expect(conforms(0.3, { multipleOf: 0.1 })).toBe(true);
	expect(conforms(0.35, { multipleOf: 0.1 })).toBe(false);
});
