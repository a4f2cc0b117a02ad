/**
 * What of a configuration with mistakes can be read: its providers, models and agent's models, so that mistakes that only show when a role
 * is planned are told with the others. Entries stay in their places; what can't be read is left out, or stood in for where others name it.
 */
import type { TSchema } from "@sinclair/typebox";
import type { Finding, Path } from "./config-error.ts";
import { withDefaults } from "./defaults.ts";
import { isRecord } from "./document.ts";
import { ConfigSchema } from "./schema.ts";
import { validate } from "./validate.ts";

/** It. */
export interface ReadablePart {
	/** They validate; what is none of `providers`, `models` and `agent.models` has its default. */
	readonly values: Record<string, unknown>;
	/** Whether a finding of a later step is of what was read, and no consequence of what was not. */
	isSound(finding: Finding): boolean;
}

/** Rounds after which what still does not validate is given up. */
const ROUNDS = 4;
const PROVIDER = { type: "openai-compatible", base_url: "http://127.0.0.1:9/v1" };

/** Of values with these mistakes; undefined where too little can be read. Changes nothing that it is given. */
export function readablePart(values: Record<string, unknown>, findings: readonly Finding[]): ReadablePart | undefined {
	const { providers, models, agent } = structuredClone(values);
	const { models: agentModels, accelerator } = isRecord(agent) ? agent : {};
	if (providers !== undefined && !isRecord(providers)) return undefined;
	const part: Part = {
		values: {
			...(providers !== undefined && { providers }),
			...(Array.isArray(models) && { models }),
			agent: {
				...(Array.isArray(agentModels) && { models: agentModels }),
				...(accelerator === "cpu" && { accelerator }),
			},
		},
		replaced: [],
		lostNames: new Set(),
	};
	const wrongProviders = new Set(findings.flatMap(({ path, at = path }) => (path[0] === "providers" ? [at[1]] : [])));
	for (const name of wrongProviders) replaceProvider(part, name);
	for (let round = 0; round < ROUNDS; round++) {
		const wrong = validate(ConfigSchema as TSchema, filled(part.values));
		if (wrong.length === 0) return { values: filled(part.values), isSound: (finding) => isSound(finding, part) };
		for (const { path, at = path } of wrong) mend(part, at, round > 0);
	}
	return undefined;
}

interface Part {
	readonly values: Record<string, unknown>;
	/** Entries of lists that another stands in for. */
	readonly replaced: Path[];
	/** Names of providers and models that can't be read, or are not there any more. */
	readonly lostNames: Set<string>;
}

const filled = (values: Record<string, unknown>) => withDefaults(ConfigSchema, values) as Record<string, unknown>;

function mend(part: Part, path: Path, isSecond: boolean): void {
	if (path[0] === "providers") {
		replaceProvider(part, path[1]);
		return;
	}
	const listAt = path.findIndex((each) => typeof each === "number");
	const entryPath = path.slice(0, listAt + 1);
	const list = valueAt(part.values, entryPath.slice(0, -1));
	const index = entryPath.at(-1);
	if (listAt === -1 || !Array.isArray(list) || typeof index !== "number") {
		remove(part.values, path);
		return;
	}
	const entry: unknown = list[index];
	const rest = path.slice(listAt + 1);
	const isAgents = path[0] === "agent";
	const [field, at] = rest;
	if (isSecond || !isRecord(entry) || field === undefined || !(field in entry)) {
		part.replaced.push(entryPath);
		const name = isRecord(entry) && typeof entry["name"] === "string" ? entry["name"] : undefined;
		if (!isAgents && name === undefined) part.lostNames.add("");
		list[index] = isAgents
			? { model: "stand-in", name: `stand-in-${index}`, load: "manual" }
			: { name: name || `stand-in-${index}`, targets: ["dummy"] };
	} else if (field === "name") {
		entry["name"] = `stand-in-${index}`;
		part.lostNames.add("");
	} else if (typeof at === "number" && Array.isArray(entry[field]) && field !== "devices") {
		const listed: unknown[] = entry[field];
		part.replaced.push(path.slice(0, listAt + 3));
		listed[at] = isAgents ? String(listed[at]) : "dummy";
	} else delete entry[field];
}

/** Targets may name it, whatever is wrong with it. */
function replaceProvider({ values, lostNames }: Part, name: Path[number] | undefined): void {
	if (typeof name !== "string" || !isRecord(values["providers"])) return;
	lostNames.add(name);
	const given = values["providers"];
	// A name that is none validates with no settings.
	if (given[name] === PROVIDER) delete given[name];
	else given[name] = PROVIDER;
}

function isSound({ path }: Finding, { values, replaced, lostNames }: Part): boolean {
	if (replaced.some((each) => each.every((part, at) => path[at] === part))) return false;
	if (path[0] !== "models") return true;
	const target = valueAt(values, path);
	if (typeof target !== "string") return true;
	if (path.at(-1) === "provider") return !lostNames.has(target);
	const slash = target.indexOf("/");
	// A bare name may be that of an entry that has lost its own.
	return !lostNames.has(slash > 0 ? target.slice(0, slash) : "");
}

function valueAt(values: unknown, path: Path): unknown {
	return path.reduce<unknown>(
		(inside, part) => (typeof inside === "object" && inside !== null ? (inside as ListedValues)[part] : undefined),
		values,
	);
}

type ListedValues = Record<string | number, unknown>;

function remove(values: Record<string, unknown>, path: Path): void {
	const parent = valueAt(values, path.slice(0, -1));
	if (isRecord(parent)) delete parent[String(path.at(-1))];
}
