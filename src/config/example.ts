/** The commented `router.yaml` that `router init` writes, made from the schema so that it can't fall behind it. */
import type { TSchema } from "@sinclair/typebox";
import { stringify } from "yaml";
import { expectation } from "./describe-type.ts";
import { ConfigSchema } from "./schema.ts";

const WIDTH = 100;

const HEADER = `Settings of the router. \`router check\` says what is in force and where it comes from.
A line that begins with "#" and no space after it is a setting that is switched off: take the "#" away to set it. \
Where a default is named, the line shows it.
A flag wins over an environment variable, that over this file, that over the default. \
\${NAME} inside a text becomes the environment variable's value, \${NAME:-other} another text where it is not set, \
\${file:/path} what the file holds; write $\${ for a literal \${.
Anchors, aliases and merge keys (<<) work; names at the top that begin with x- are left alone, to set anchors in.
Durations are written 500ms, 90s, 10m, 1.5h or 1d; sizes 512KB, 32MB or 1GiB.
Paths are taken from the directory the router is started in.`;

/** The text of the example, with a line end. It is valid and has every setting. */
export function example(): string {
	const sections = Object.entries<TSchema>(ConfigSchema.properties).map(([name, schema]) => block(name, schema, ""));
	return `${[HEADER.split("\n").flatMap((line) => prose(line, "")), ...sections].map((lines) => lines.join("\n")).join("\n\n")}\n`;
}

/** A setting with its description. */
function block(name: string, schema: TSchema, indent: string): string[] {
	const properties: Record<string, TSchema> | undefined = schema["properties"];
	if (properties) {
		const children = Object.entries(properties).flatMap(([key, child]) => block(key, child, `${indent}  `));
		// A section with a default is written without "#", so that removing one "#" switches one of its settings on.
		const head = schema.default === undefined ? `${indent}#${name}:` : `${indent}${name}:`;
		return [...prose(schema.description ?? "", indent), head, ...children];
	}
	const fields = itemOf(schema);
	const sample = schema["examples"]?.[0] ?? schema.default;
	return [
		...prose(fields ? (schema.description ?? "") : about(schema), indent),
		...(fields ? fieldList(fields, "").flatMap((line) => prose(line, indent, "  ")) : []),
		...switchedOff({ [name]: sample }, indent),
	];
}

/** The schema of the entries of a list or of a set of free names, where those are mappings. */
function itemOf(schema: TSchema): TSchema | undefined {
	const item: TSchema | undefined = schema["items"] ?? Object.values(schema["patternProperties"] ?? {})[0];
	return item?.["properties"] ? item : undefined;
}

function fieldList(schema: TSchema, prefix: string): string[] {
	const required: readonly string[] = schema["required"] ?? [];
	return Object.entries<TSchema>(schema["properties"]).flatMap(([key, child]) => {
		if (child["properties"]) return fieldList(child, `${prefix}${key}.`);
		const isNeeded = required.includes(key) && child.default === undefined;
		return [`${prefix}${key}: ${about(child)}${isNeeded ? " Required." : ""}`];
	});
}

/** Effect, range, default and variable of one setting. */
function about(schema: TSchema): string {
	// The header describes durations and sizes once.
	const takes = schema["unit"] === undefined ? expectation(schema) : "text";
	return [
		schema.description,
		takes === "text" ? undefined : `Takes ${takes}.`,
		schema.default === undefined ? undefined : `Default: ${inline(schema.default)}.`,
		schema["env"] === undefined ? undefined : `Variable: ${schema["env"]}.`,
	]
		.filter((part) => part !== undefined)
		.join(" ");
}

function inline(value: unknown): string {
	return stringify(value, { collectionStyle: "flow", lineWidth: 0 }).trimEnd();
}

function switchedOff(value: unknown, indent: string): string[] {
	const lines = stringify(value, { lineWidth: 0 }).trimEnd().split("\n");
	return lines.map((line) => `${indent}${line.replace(/^(\s*)/, "$1#")}`);
}

/** Comment lines of at most 100 columns; further lines of one text hang by `hang`. */
function prose(text: string, indent: string, hang = ""): string[] {
	const lines: string[] = [];
	let line = `${indent}# ${hang}`;
	for (const word of text.split(" ")) {
		const isEmpty = /# *$/.test(line);
		if (!isEmpty && line.length + 1 + word.length > WIDTH) {
			lines.push(line);
			line = `${indent}# ${hang}${hang}${word}`;
		} else line = isEmpty ? `${line}${word}` : `${line} ${word}`;
	}
	return [...lines, line];
}
