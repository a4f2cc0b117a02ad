/** The environment variables that are read, and their cleaning. */
import { AGENT_TOKEN } from "./agent-tokens.ts";
import { cleanList, cleanValue, type ValueKind, valueKindOf } from "./clean-value.ts";
import type { Mistake } from "./config-error.ts";
import type { Environment } from "./interpolate.ts";
import { ConfigSchema } from "./schema.ts";
import { settings } from "./schema-walk.ts";

/** A variable that the program reads. */
export interface Variable {
	readonly name: string;
	readonly kind: ValueKind;
	/** Comma separated. */
	readonly isList?: boolean;
	/** Why a value will not work, as `is …`: a warning, since other programs may understand it. Repeats no part of the value. */
	readonly doubt?: (text: string) => string | undefined;
}

/** The variables of the configuration itself. */
export const CONFIG_VARIABLES: readonly Variable[] = [
	{ name: "ROUTER_CONFIG", kind: "text" },
	{ name: "ROUTER_API_KEYS", kind: "secret", isList: true },
	{ name: "ROUTER_ADMIN_KEYS", kind: "secret", isList: true },
	{ name: AGENT_TOKEN, kind: "secret", isList: true },
	...settings(ConfigSchema).flatMap(({ schema }): Variable[] => {
		const name: string | undefined = schema["env"];
		return name === undefined ? [] : [{ name, kind: valueKindOf(schema) ?? "text", isList: schema.type === "array" }];
	}),
];

/** The cleaned environment. */
export interface CleanedVariables {
	/** A copy with cleaned values; variables with a mistake are not set. */
	readonly env: Environment;
	/** Variables from whose value something was removed, or whose value is doubtful. */
	readonly warnings: Mistake[];
	/** Variables whose text can't be such a value. */
	readonly mistakes: Mistake[];
}

/** Cleans these variables. An empty one counts as unset. Pure. */
export function cleanVariables(env: Environment, variables: readonly Variable[]): CleanedVariables {
	const cleaned: Record<string, string | undefined> = { ...env };
	const warnings: Mistake[] = [];
	const mistakes: Mistake[] = [];
	for (const { name, kind, isList, doubt } of variables) {
		const given = cleaned[name];
		if (!given) continue;
		const found = (isList ? cleanList : cleanValue)(given, kind);
		const about = (what: string) => ({ path: "", message: `the environment variable ${name} ${what}` });
		cleaned[name] = found.problem === undefined ? found.text : undefined;
		if (found.problem !== undefined) mistakes.push(about(found.problem));
		else if (found.removed !== undefined) warnings.push(about(`${found.removed}; it is read without`));
		const doubted = found.problem === undefined ? doubt?.(found.text) : undefined;
		if (doubted !== undefined) warnings.push(about(doubted));
	}
	return { env: cleaned, warnings, mistakes };
}
