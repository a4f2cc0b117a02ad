/** Checking values against the schema, with messages that quote no value. */
import type { TSchema } from "@sinclair/typebox";
import { type ValueError, ValueErrorType } from "@sinclair/typebox/errors";
import { Value } from "@sinclair/typebox/value";
import { argumentList } from "./agent-args.ts";
import { type Finding, type Path, pathText } from "./config-error.ts";
import { expectation, howToWrite, typeName } from "./describe-type.ts";
import { didYouMean, nearest } from "./did-you-mean.ts";
import { isRecord } from "./document.ts";
import { branchFor, EXTENSION, settings } from "./schema-walk.ts";

/** Everything in `values` that `schema` does not allow; one finding a setting. Quotes names, never values. */
export function validate(schema: TSchema, values: unknown): Finding[] {
	// To look for errors takes three times as long, 3 ms of each start.
	if (Value.Check(schema, values)) return [];
	const findings = new Map<string, Finding>();
	collect(schema, schema, values, [], findings);
	return [...findings.values()];
}

function collect(root: TSchema, schema: TSchema, values: unknown, base: Path, findings: Map<string, Finding>): void {
	for (const error of Value.Errors(schema, values)) {
		const path = [...base, ...pathOf(error.path, values)];
		const branch = branchFor(error.schema, error.value);
		if (error.type === ValueErrorType.Union && branch !== error.schema) {
			collect(root, branch, error.value, path, findings);
			continue;
		}
		// TypeBox reports a missing setting twice, as missing and as no text.
		const key = pathText(path);
		const glued = error.type === ValueErrorType.ObjectAdditionalProperties ? withoutBlank(path) : undefined;
		if (glued) findings.set(pathText(glued.path), glued);
		else if (!findings.has(key)) findings.set(key, finding(root, error, path));
	}
}

function finding(root: TSchema, error: ValueError, path: Path): Finding {
	switch (error.type) {
		case ValueErrorType.ObjectAdditionalProperties:
			return { path, of: "key", message: unknownSetting(root, error.schema, path) };
		case ValueErrorType.ObjectRequiredProperty:
			return { path, message: `is missing; it must be ${expectation(error.schema)}` };
		case ValueErrorType.StringMinLength:
			if (error.value === "") return { path, message: "is empty" };
			break;
		case ValueErrorType.StringPattern:
		case ValueErrorType.StringMaxLength:
		case ValueErrorType.IntegerMinimum:
		case ValueErrorType.IntegerMaximum:
		case ValueErrorType.NumberMinimum:
		case ValueErrorType.NumberMaximum:
		case ValueErrorType.ArrayMinItems:
			break;
		default:
			if (typeof error.value !== "string" || error.schema.type !== undefined) {
				return { path, message: wrongKind(error.schema, error.value, path) };
			}
	}
	return { path, message: `must be ${expectation(error.schema)}` };
}

/** `{port:8000}`, which is one name to YAML. The value in it may be a secret. */
function withoutBlank(path: Path): Finding | undefined {
	const [, name] = /^([A-Za-z_]\w*):\S/.exec(String(path.at(-1))) ?? [];
	if (name === undefined) return undefined;
	const message = `a blank is missing behind the colon: write \`${name}: …\``;
	return { path: [...path.slice(0, -1), name], at: path, of: "key", message };
}

function wrongKind(schema: TSchema, value: unknown, path: Path): string {
	const expected = expectation(schema);
	const isBare = typeof value === "number" || typeof value === "boolean";
	const hint = isBare && expected.startsWith("text") ? "; put it in quotes" : shapeHint(schema, value, path);
	if (schema["unit"] && typeof value === "number") return `must be ${expected}, but is a number without a unit`;
	return `must be ${expected}, but is ${typeName(value)}${hint}`;
}

/** The form of the list or mapping that the schema wants; where there is no value, also the form of an empty one. */
function shapeHint(schema: TSchema, value: unknown, path: Path): string {
	const name = path.at(-1);
	if (schema["ofWords"] && typeof value === "string" && value.trim() !== "")
		return `; each word is an entry of its own: \`${name}: ${argumentList(value)}\``;
	const written = howToWrite(schema, typeof name === "string" ? name : undefined);
	if (written === undefined) return "";
	const mayBeEmpty = schema["minItems"] === undefined && (schema["required"] ?? []).length === 0;
	const empty = schema.type === "array" ? "[]" : "{}";
	const none = value === null && typeof name === "string" && mayBeEmpty ? `, or \`${name}: ${empty}\` for none` : "";
	return `; write \`${written}\`${none}`;
}

function unknownSetting(root: TSchema, parent: TSchema, path: Path): string {
	const name = String(path.at(-1));
	if (!parent["properties"]) {
		const better = nearest(name, [name.toLowerCase().replace(/[^a-z0-9._-]+/g, "-")])[0];
		const hint = better && better !== name ? `, such as "${better}"` : "";
		return `names here are of lower-case letters, digits, ".", "_" and "-"${hint}`;
	}
	if (name.startsWith(EXTENSION)) return "unknown setting; names with x- are left alone at the top of the file only";
	if (INVISIBLE.test(name)) return "unknown setting, with a character that can't be seen in its name: type it again";
	const known = Object.keys(parent["properties"]);
	const here = LITELLM_SETTINGS.get(name);
	if (here !== undefined) return `unknown setting; ${here}`;
	const hint = didYouMean(name, known) ?? elsewhere(root, name, path) ?? `known here: ${known.join(", ")}`;
	return `unknown setting; ${hint}`;
}

const DROP =
	"write `unsupported: drop` in an entry of `providers:` or `models:`, which leaves out what an upstream has no form for";
const PRICES = "write `prices: { provider/model: { input: …, output: … } }` at the top, in USD per million tokens";

/** Names by which LiteLLM has what is called otherwise here, and which are near to none of ours. */
const LITELLM_SETTINGS: ReadonlyMap<string, string> = new Map([
	["drop_params", DROP],
	["additional_drop_params", DROP],
	["input_cost_per_token", PRICES],
	["output_cost_per_token", PRICES],
	["api_base", "an address is `base_url` of an entry of `providers:`"],
	["master_key", "a caller's key is `key` of an entry of `keys:`, an administrator's of `admin.keys`"],
	["num_retries", "a call that fails is tried again or elsewhere by itself (`router docs failures`)"],
]);

/** Blanks that are no space to YAML, and what has no width: pasted from a page or a word processor. */
const INVISIBLE = /[\u00a0\u2000-\u200d\u202f\u2060\u3000\ufeff]/;
const SECRET = /(?:^|[_-])(?:api[_-]?)?keys?$|apikey|token|secret|password/i;

/** Where a setting of this name belongs; undefined where nothing has it. */
function elsewhere(root: TSchema, name: string, path: Path): string | undefined {
	const all = settings(root);
	// An entry of a list has little to do with settings that have one place.
	if (path.some((part) => typeof part === "number")) {
		const list = path.slice(0, -2);
		const twin = all.find(
			({ path: at, schema }) =>
				at.at(-1) === list.at(-1) && pathText(at) !== pathText(list) && schema["items"]?.properties?.[name],
		);
		return twin && `entries of \`${pathText(twin.path)}\` have it`;
	}
	const section = path.slice(0, -1);
	const below = all.find(
		({ path: at, schema }) =>
			at.length === path.length &&
			pathText(at.slice(0, -1)) === pathText(section) &&
			schema["items"]?.properties?.[name],
	);
	if (below && section.length > 0) return `entries of \`${pathText(below.path)}\` have it`;
	const setting = all.find(({ path: at }) => at.length > 1 && at.at(-1) === name);
	if (setting) return `did you mean "${pathText(setting.path)}"?`;
	if (path.length > 1 || !SECRET.test(name)) return undefined;
	return "a vendor's key is the value of its variable (OPENAI_API_KEY and the like) or `providers.NAME.api_key`, a caller's is `key` of an entry under `keys:`";
}

/** TypeBox's JSON pointer as a path: digits count as an index only inside a list. */
function pathOf(pointer: string, values: unknown): Path {
	const path: (string | number)[] = [];
	let value = values;
	for (const escaped of pointer.split("/").slice(1)) {
		const name = escaped.replaceAll("~1", "/").replaceAll("~0", "~");
		path.push(Array.isArray(value) ? Number(name) : name);
		value = Array.isArray(value) ? value[Number(name)] : isRecord(value) ? value[name] : undefined;
	}
	return path;
}
