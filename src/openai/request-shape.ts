/** TypeBox's schemas as a scan of bytes reads them (`request-scan.ts`): compiled once, when the process starts. */
import { Kind, type TSchema } from "@sinclair/typebox";

/** A schema, by what a value begins with; each is undefined where no such value may stand there. */
export interface Shape {
	readonly text: { readonly least: number; readonly most: number } | undefined;
	readonly number: { readonly isWhole: boolean; readonly least: number; readonly most: number } | undefined;
	readonly isBoolean: boolean;
	readonly isNull: boolean;
	readonly object: ObjectShape | undefined;
	/** What lists may stand there: the first one that fits counts. */
	readonly lists: readonly ListShape[];
}

/** `undefined`: anything may stand there. */
export type ValueShape = Shape | undefined;

/** A list. */
export interface ListShape {
	readonly item: ValueShape;
	readonly least: number;
}

/** An object; what is not named here may be in it, too. */
export interface ObjectShape {
	/** By the length of their names. */
	readonly properties: readonly (readonly Property[] | undefined)[];
	/** The bits of all that must be there. */
	readonly required: number;
}

/** A property of an object. */
export interface Property {
	readonly name: string;
	/** 0 where it may be left out. */
	readonly bit: number;
	readonly value: ValueShape;
}

/** What of TypeBox's keywords a scan knows. */
const KEYWORDS = new Set(
	(
		"type anyOf items properties required additionalProperties minLength maxLength minimum maximum minItems " +
		"examples description"
	).split(" "),
);

const NOTHING: Shape = {
	text: undefined,
	number: undefined,
	isBoolean: false,
	isNull: false,
	object: undefined,
	lists: [],
};

/** The shape of a schema. Throws TypeError for a keyword or a type that a scan can't check: no request has needed it. */
export function shapeOf(schema: TSchema): ValueShape {
	const other = Object.keys(schema).find((keyword) => !KEYWORDS.has(keyword));
	if (other !== undefined) throw new TypeError(`A scan can't check the keyword ${other}.`);
	const kind = schema[Kind];
	const { minLength = 0, maxLength = Number.POSITIVE_INFINITY, minItems = 0 } = schema;
	const { minimum = -Number.MAX_VALUE, maximum = Number.MAX_VALUE } = schema;
	switch (kind) {
		case "Unknown":
			return undefined;
		case "String":
			// Bytes are counted, which are no fewer than characters: so many of them may still be fewer characters, unless one is enough.
			if (minLength > 1) throw new TypeError("A scan can't check a minLength above 1.");
			return { ...NOTHING, text: { least: minLength, most: maxLength } };
		case "Number":
		case "Integer":
			return { ...NOTHING, number: { isWhole: kind === "Integer", least: minimum, most: maximum } };
		case "Boolean":
			return { ...NOTHING, isBoolean: true };
		case "Null":
			return { ...NOTHING, isNull: true };
		case "Array":
			return { ...NOTHING, lists: [{ item: shapeOf(schema["items"]), least: minItems }] };
		case "Object":
			return { ...NOTHING, object: objectShapeOf(schema) };
		case "Union":
			return (schema["anyOf"] as TSchema[]).map(shapeOf).reduce(eitherOf);
		default:
			throw new TypeError(`A scan can't check the type ${kind}.`);
	}
}

function eitherOf(one: ValueShape, other: ValueShape): ValueShape {
	if (!one || !other) return undefined;
	if ((one.text && other.text) || (one.number && other.number) || (one.object && other.object)) {
		throw new TypeError("A scan can't check a union of two strings, numbers or objects.");
	}
	return {
		text: one.text ?? other.text,
		number: one.number ?? other.number,
		isBoolean: one.isBoolean || other.isBoolean,
		isNull: one.isNull || other.isNull,
		object: one.object ?? other.object,
		lists: [...one.lists, ...other.lists],
	};
}

function objectShapeOf({ properties, required = [], additionalProperties }: TSchema): ObjectShape {
	if (additionalProperties === false) throw new TypeError("A scan can't check that there are no other properties.");
	const byLength: Property[][] = [];
	for (const [name, schema] of Object.entries(properties as Record<string, TSchema>)) {
		byLength[name.length] ??= [];
		byLength[name.length]!.push({ name, bit: bitOf(required.indexOf(name)), value: shapeOf(schema) });
	}
	if (required.length > 31) throw new TypeError("A scan can't check that more than 31 properties are there.");
	return { properties: byLength, required: 2 ** required.length - 1 };
}

const bitOf = (index: number): number => (index === -1 ? 0 : 1 << index);
