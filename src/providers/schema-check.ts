/**
 * Whether JSON is of a schema's shape, for answers that no grammar has held to it. Read as JSON Schema 2020-12 (json-schema.org) has it,
 * with two words left out that a caller could make dear for everyone: `pattern` (and names by pattern) and `format`. What is not known holds nothing.
 */

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
	typeof value === "object" && value !== null && !Array.isArray(value);
const isNumber = (value: unknown): value is number => typeof value === "number";

/** Schemas, allowed values, names and items that are looked at for one value: what is beyond that is taken to conform. */
const MOST_STEPS = 100_000;
/** Characters that are looked at in one such step. */
const CHARACTERS_A_STEP = 64;
/** Schemas inside each other without an end (`{"$ref":"#"}`) end here. */
const MOST_LEVELS = 400;

/** Whether the value conforms. References are followed inside the schema only. */
export function conforms(value: unknown, schema: unknown): boolean {
	return new Checker(schema).check(value, schema, 0);
}

class Checker {
	#steps = 0;
	/** Where references lead. */
	readonly #targets = new Map<string, unknown>();

	constructor(private readonly root: unknown) {}

	check(value: unknown, schema: unknown, level: number): boolean {
		if (++this.#steps > MOST_STEPS || level > MOST_LEVELS) return true;
		if (typeof schema === "boolean") return schema;
		if (!isObject(schema)) return true;
		const inner = level + 1;
		const { $ref } = schema;
		if (typeof $ref === "string" && !this.check(value, this.#referred($ref), inner)) return false;
		if (schema["type"] !== undefined && !isOfType(value, schema["type"])) return false;
		if (Array.isArray(schema["enum"]) && !this.#isAllowed(value, schema["enum"])) return false;
		if (schema["const"] !== undefined && !isSame(schema["const"], value)) return false;
		if (isNumber(value) && !isInRange(value, schema)) return false;
		if (typeof value === "string" && !this.#isOfLength(value, schema)) return false;
		if (Array.isArray(value) && !this.#isList(value, schema, inner)) return false;
		if (isObject(value) && !this.#isRecord(value, schema, inner)) return false;
		return this.#branches(value, schema, inner);
	}

	/** False where so much more may not be looked at. */
	#spend(steps: number): boolean {
		this.#steps += Math.ceil(steps);
		return this.#steps <= MOST_STEPS;
	}

	#isAllowed(value: unknown, values: readonly unknown[]): boolean {
		return !this.#spend(values.length) || values.some((each) => isSame(each, value));
	}

	#isOfLength(value: string, { minLength, maxLength }: Json): boolean {
		if (minLength === undefined && maxLength === undefined) return true;
		return !this.#spend(value.length / CHARACTERS_A_STEP) || isWithin([...value].length, minLength, maxLength);
	}

	#referred(ref: string): unknown {
		if (!this.#targets.has(ref)) this.#targets.set(ref, this.#target(ref));
		return this.#targets.get(ref);
	}

	#target(ref: string): unknown {
		if (!ref.startsWith("#")) return true;
		let at = this.root;
		for (const step of ref.slice(1).split("/").slice(1)) {
			const name = decoded(step).replaceAll("~1", "/").replaceAll("~0", "~");
			if (typeof at !== "object" || at === null || !Object.hasOwn(at, name)) return true;
			at = (at as Json)[name];
		}
		return at;
	}

	#isList(value: readonly unknown[], schema: Json, level: number): boolean {
		const { prefixItems, items, minItems, maxItems, uniqueItems } = schema;
		if (!isWithin(value.length, minItems, maxItems)) return false;
		const first = Array.isArray(prefixItems) ? prefixItems : [];
		if (!value.every((each, index) => this.check(each, index < first.length ? first[index] : items, level)))
			return false;
		if (uniqueItems !== true || !this.#spend(value.length)) return true;
		const all = value.map((each) => JSON.stringify(each));
		this.#spend(all.reduce((sum, each) => sum + each.length, 0) / CHARACTERS_A_STEP);
		return new Set(all).size === value.length;
	}

	#isRecord(value: Json, schema: Json, level: number): boolean {
		const { properties, required, additionalProperties, minProperties, maxProperties, patternProperties } = schema;
		const names = Object.keys(value);
		if (!isWithin(names.length, minProperties, maxProperties)) return false;
		if (Array.isArray(required) && this.#spend(required.length))
			if (!required.every((name) => Object.hasOwn(value, String(name)))) return false;
		const known = isObject(properties) ? properties : {};
		return names.every((name) => {
			if (Object.hasOwn(known, name)) return this.check(value[name], known[name], level);
			return isObject(patternProperties) || this.check(value[name], additionalProperties, level);
		});
	}

	#branches(value: unknown, schema: Json, level: number): boolean {
		const { anyOf, oneOf, allOf, not, if: condition, then: met, else: unmet } = schema;
		const holds = (each: unknown) => this.check(value, each, level);
		if (Array.isArray(allOf) && !allOf.every(holds)) return false;
		if (Array.isArray(anyOf) && !anyOf.some(holds)) return false;
		if (Array.isArray(oneOf) && oneOf.filter(holds).length !== 1) return false;
		if (not !== undefined && holds(not)) return false;
		return condition === undefined || holds(holds(condition) ? met : unmet);
	}
}

/** Most are no objects, and there may be thousands. */
const isSame = (one: unknown, other: unknown): boolean =>
	one === other || (typeof one === "object" && typeof other === "object" && Bun.deepEquals(one, other));

function decoded(step: string): string {
	try {
		return decodeURIComponent(step);
	} catch {
		return step;
	}
}

function isOfType(value: unknown, type: unknown): boolean {
	if (Array.isArray(type)) return type.some((each) => isOfType(value, each));
	switch (type) {
		case "null":
			return value === null;
		case "array":
			return Array.isArray(value);
		case "object":
			return isObject(value);
		case "integer":
			return Number.isInteger(value);
		case "string":
			return typeof value === "string";
		case "number":
			return typeof value === "number";
		case "boolean":
			return typeof value === "boolean";
		default:
			return true;
	}
}

function isInRange(value: number, schema: Json): boolean {
	const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = schema;
	if (isNumber(minimum) && value < minimum) return false;
	if (isNumber(maximum) && value > maximum) return false;
	if (isNumber(exclusiveMinimum) && value <= exclusiveMinimum) return false;
	if (isNumber(exclusiveMaximum) && value >= exclusiveMaximum) return false;
	if (!isNumber(multipleOf) || multipleOf <= 0) return true;
	const times = value / multipleOf;
	// 0.3 is a multiple of 0.1.
	return Math.abs(times - Math.round(times)) < 1e-9 * Math.max(1, Math.abs(times));
}

const isWithin = (size: number, least: unknown, most: unknown): boolean =>
	!(isNumber(least) && size < least) && !(isNumber(most) && size > most);
