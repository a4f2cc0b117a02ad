/** Flags, environment, file and defaults → one checked configuration. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { cleanSettings } from "./clean-value.ts";
import { byPosition, ConfigError, type Finding, type Mistake, type Path, pathText } from "./config-error.ts";
import { withDefaults } from "./defaults.ts";
import { isRecord, type ParsedFile, parseFile } from "./document.ts";
import { foreignFile } from "./foreign-file.ts";
import { type Environment, interpolate } from "./interpolate.ts";
import { type Flags, type Override, overlay, type Role } from "./overlay.ts";
import { readNamedFile } from "./read-file.ts";
import { type ReadablePart, readablePart } from "./readable-part.ts";
import { type Config, ConfigSchema } from "./schema.ts";
import { EXTENSION, mapLeaves } from "./schema-walk.ts";
import { PATHS, semantics } from "./semantics.ts";
import { parseWithUnit } from "./units.ts";
import { validate } from "./validate.ts";
import { CONFIG_VARIABLES, cleanVariables, type Variable } from "./variables.ts";
import { type Signature, signature } from "./watch.ts";

/** The file that is read where none is named, if it exists. */
const DEFAULT_FILE = "router.yaml";

/**
 * Where a setting's value comes from. `name`: `--port`, `PORT`. `line` counts from 1; with `isOfStart` it is that of the file as it was at
 * the start, which may be another by now.
 */
export type SettingSource =
	| { readonly from: "flag" | "env"; readonly name: string }
	| { readonly from: "file"; readonly file: string; readonly line: number; readonly isOfStart?: true }
	| { readonly from: "default" };

/** A configuration that can be used. */
export interface Loaded {
	/** Frozen, deeply. */
	readonly config: Config;
	readonly role: Role;
	/** The environment with cleaned values: without quotes, spaces and line ends around them. */
	readonly env: Environment;
	/** What of that and of the file's secrets and addresses had to be settings. */
	readonly warnings: readonly Mistake[];
	/** Absolute path of the file that was read; absent where there is none. */
	readonly file?: string;
	readonly sources: { of(path: Path): SettingSource };
	/** A mistake that a later step found, with its position in the file. */
	locate(finding: Finding): Mistake;
	/** Absolute path of the file, or of the one that would be read if it were there. */
	readonly watched: string;
	/** What that file was just before it was read: whoever watches it later learns of what changed meanwhile. */
	readonly since: Signature;
	/**
	 * Loads the configuration again: the file as it is now, flags and variables as they were. Throws ConfigError; also where the file that
	 * was read is gone, or has been emptied (but for comments), as by an editor that is about to write: no key and no model would be left.
	 * Call the result's own `again` for the next reload: a file that was not there at the start may appear, and disappear again.
	 */
	again(): Loaded;
}

/** What a configuration is loaded from. */
export interface LoadInput {
	readonly flags: Flags;
	readonly env: Environment;
	/** Where relative paths begin. */
	readonly cwd: string;
	readonly role: Role;
	/** Variables that other parts of the program read: cleaned, too. */
	readonly variables?: readonly Variable[];
}

/**
 * Loads the configuration: a flag wins over the environment, that over the file, that over the default.
 * Throws ConfigError with every mistake there is.
 */
export function load(input: LoadInput): Loaded {
	const { flags, cwd, role, variables = [] } = input;
	const { env, ...cleaned } = cleanVariables(input.env, [...CONFIG_VARIABLES, ...variables]);
	const named = flags.config ?? (env["ROUTER_CONFIG"] || undefined);
	const file = named ?? (existsSync(resolve(cwd, DEFAULT_FILE)) ? DEFAULT_FILE : undefined);
	const watched = resolve(cwd, file ?? DEFAULT_FILE);
	const since = signature(watched);
	const text = file === undefined ? "" : read(file, cwd, flags);
	const parsed = parseFile(text, file ?? DEFAULT_FILE);
	const foreign = foreignFile(parsed.values);
	if (foreign) throw new ConfigError([inFile(foreign, parsed, file)]);
	if (parsed.mistakes.length > 0) throw new ConfigError(parsed.mistakes);

	const given = withoutExtensions(parsed.values);
	const { values: resolved, findings } = interpolate(ConfigSchema, given, env, cwd);
	const { values: written, ...settings } = cleanSettings(ConfigSchema, resolved, given);
	findings.push(...settings.findings);
	const values = withDefaults(ConfigSchema, written) as Record<string, unknown>;
	findings.push(...validate(ConfigSchema, values));
	const overlaid = overlay(flags, env, role);
	const overrides = apply(values, written, overlaid.overrides);
	const origin = (path: Path) => overrides.findLast(({ path: set }) => set.every((part, at) => path[at] === part));
	const locate = (finding: Finding): Mistake => {
		const override = origin(finding.path);
		if (!override) return inFile(finding, parsed, file);
		return { path: pathText(finding.path), message: `${finding.message} (set by ${override.name})` };
	};

	const against = semantics(values, { env, cwd, role });
	const mistakes = [
		...findings.map((finding) => inFile(finding, parsed, file)),
		...cleaned.mistakes,
		...overlaid.findings.map((finding) => ({ path: pathText(finding.path), message: finding.message })),
		...against.map(locate),
	];
	if (mistakes.length > 0) {
		const part = () => readablePart(values, [...findings, ...against]);
		throw new UnusableConfig(inOrder(mistakes), () => usableRest(part(), locate, env, cwd));
	}

	const config = normalize(values, cwd);
	const sources = {
		of(path: Path): SettingSource {
			const override = origin(path);
			if (override) return { from: override.from, name: override.name };
			const line = has(written, path) ? parsed.position(path, "value")?.line : undefined;
			return file === undefined || line === undefined ? { from: "default" } : { from: "file", file, line };
		},
	};
	const again = () => {
		if (file !== undefined && !parsed.isEmpty && parseFile(read(file, cwd, flags), file).isEmpty) {
			throw new ConfigError([{ file, path: "", message: EMPTIED }]);
		}
		return load(input);
	};
	const warnings = [...settings.warnings.map((finding) => inFile(finding, parsed, file)), ...cleaned.warnings];
	const ofFile = file !== undefined && { file: watched };
	return { config, role, env, warnings, locate, ...ofFile, sources, watched, since, again };
}

/** What of a configuration with mistakes can be used all the same, to look for further ones. */
export interface UsableRest {
	/** Its providers, models and agent's models, in their places; all else is as by default. */
	readonly config: Config;
	readonly env: Environment;
	/** The mistake of a finding, with its position in the file; undefined for a mere consequence of one that is known. */
	mistakeOf(finding: Finding): Mistake | undefined;
}

/** A configuration that was read, and has mistakes. */
export class UnusableConfig extends ConfigError {
	/** @param rest undefined where too little can be used */
	constructor(
		mistakes: readonly Mistake[],
		readonly rest: () => UsableRest | undefined,
	) {
		super(mistakes);
	}
}

function usableRest(
	part: ReadablePart | undefined,
	locate: Loaded["locate"],
	env: Environment,
	cwd: string,
): UsableRest | undefined {
	if (!part) return undefined;
	const mistakeOf = (finding: Finding) => (part.isSound(finding) ? locate(finding) : undefined);
	return { config: normalize(part.values, cwd), env, mistakeOf };
}

/** The settings without those at the top whose name begins with `x-`: those are of the file's owner, to set anchors in. */
function withoutExtensions(values: ParsedFile["values"]): ParsedFile["values"] {
	return Object.fromEntries(Object.entries(values).filter(([name]) => !name.startsWith(EXTENSION)));
}

const EMPTIED = "has been emptied; write `{}` into it if nothing is to be set";

/** The text of the file; throws ConfigError where it can't be had. */
function read(file: string, cwd: string, flags: Flags): string {
	const namedBy = flags.config !== undefined ? "--config" : file === DEFAULT_FILE ? undefined : "ROUTER_CONFIG";
	return readNamedFile(file, cwd, namedBy);
}

/** Puts the overrides into `values`; returns those that took effect, a key's `+` replaced by its index. */
function apply(values: Record<string, unknown>, written: unknown, overrides: Override[]): Override[] {
	return overrides.flatMap((override) => {
		if (override.isDefault && has(written, override.path)) return [];
		const path = override.path as readonly string[];
		if (path.at(-1) !== "+") {
			put(values, path, override.value);
			return [override];
		}
		const at = path.slice(0, -1);
		const current = at.reduce<unknown>((value, name) => (isRecord(value) ? value[name] : undefined), values);
		const list: unknown[] = Array.isArray(current) ? current : [];
		if (isSameAdmin(path, list, override.value)) return [];
		put(values, at, [...list, override.value]);
		return [{ ...override, path: [...at, list.length] }];
	});
}

/** An admin's key that the file has, too, is one: it grants the same. A caller's could grant other models there. */
function isSameAdmin([section]: readonly string[], list: readonly unknown[], value: unknown): boolean {
	if (section !== "admin" || !isRecord(value)) return false;
	return list.some((each) => isRecord(each) && each["key"] === value["key"]);
}

/** Sets the value at `path`, of one or two names. */
function put(values: Record<string, unknown>, [section, name]: readonly string[], value: unknown): void {
	if (name === undefined) values[section!] = value;
	else values[section!] = { ...(isRecord(values[section!]) && (values[section!] as object)), [name]: value };
}

function has(values: unknown, path: Path): boolean {
	let value = values;
	for (const part of path) {
		if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return false;
		value = (value as Record<string | number, unknown>)[part];
	}
	return true;
}

function inFile(finding: Finding, parsed: ParsedFile, file: string | undefined): Mistake {
	const position = parsed.position(finding.at ?? finding.path, finding.of ?? "value");
	return { file, ...position, path: pathText(finding.path), message: finding.message };
}

/** Sorts mistakes down the file, those of no file last; of several of one setting the first found is the most precise and stays. */
function inOrder(mistakes: Mistake[]): Mistake[] {
	const first = new Map<string, Mistake>();
	for (const mistake of mistakes) {
		const key = `${mistake.file === undefined ? mistake.message : ""} ${mistake.path}`;
		if (!first.has(key)) first.set(key, mistake);
	}
	return [...first.values()].sort(byPosition);
}

/** Durations become ms, sizes bytes, shares 0 to 1, paths absolute (from `cwd`); the result is frozen, deeply. Takes only what validated. */
function normalize(values: Record<string, unknown>, cwd: string): Config {
	const config = mapLeaves(ConfigSchema, values, (value, schema, path) => {
		if (typeof value !== "string") return value;
		if (schema["unit"]) return parseWithUnit(value, schema["unit"]);
		return PATHS.includes(pathText(path)) ? resolve(cwd, value) : value;
	});
	freeze(config);
	return config as Config;
}

function freeze(value: unknown): void {
	if (typeof value !== "object" || value === null) return;
	Object.values(value).forEach(freeze);
	Object.freeze(value);
}
