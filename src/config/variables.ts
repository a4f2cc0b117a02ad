/** The environment variables that are read, mended where they were pasted with something around them. */
import { AGENT_TOKEN } from "./agent-tokens.ts";
import type { Mistake } from "./config-error.ts";
import type { Environment } from "./interpolate.ts";
import { kindOfSetting } from "./mended.ts";
import { type PastedKind, pasted, pastedList } from "./pasted.ts";
import { ConfigSchema } from "./schema.ts";
import { settings } from "./schema-walk.ts";

/** A variable that somebody reads. */
export interface Variable {
	readonly name: string;
	readonly kind: PastedKind;
	/** Comma separated. */
	readonly isList?: boolean;
	/** Why its value will not work, as `is …`; it is a warning, since other programs may understand it. Repeats no part of the value. */
	readonly doubt?: (text: string) => string | undefined;
}

/** Those that the configuration itself reads. */
export const CONFIG_VARIABLES: readonly Variable[] = [
	{ name: "ROUTER_CONFIG", kind: "text" },
	{ name: "ROUTER_API_KEYS", kind: "secret", isList: true },
	{ name: "ROUTER_ADMIN_KEYS", kind: "secret", isList: true },
	{ name: AGENT_TOKEN, kind: "secret", isList: true },
	...settings(ConfigSchema).flatMap(({ schema }): Variable[] => {
		const name: string | undefined = schema["env"];
		return name === undefined ? [] : [{ name, kind: kindOfSetting(schema) ?? "text", isList: schema.type === "array" }];
	}),
];

/** What is to be said of the variables. */
export interface MendedVariables {
	/** A copy in which each of the variables is as it was meant; those that are mistakes are not set. */
	readonly env: Environment;
	/** What was mended. */
	readonly warnings: Mistake[];
	/** What can't be. */
	readonly mistakes: Mistake[];
}

/** Looks at these variables. An empty one counts as unset. Pure. */
export function mendVariables(env: Environment, variables: readonly Variable[]): MendedVariables {
	const mended: Record<string, string | undefined> = { ...env };
	const warnings: Mistake[] = [];
	const mistakes: Mistake[] = [];
	for (const { name, kind, isList, doubt } of variables) {
		const given = mended[name];
		if (!given) continue;
		const found = (isList ? pastedList : pasted)(given, kind);
		const say = (what: string) => ({ path: "", message: `the environment variable ${name} ${what}` });
		mended[name] = found.problem === undefined ? found.text : undefined;
		if (found.problem !== undefined) mistakes.push(say(found.problem));
		else if (found.mended !== undefined) warnings.push(say(`${found.mended}; it is read without`));
		const doubted = found.problem === undefined ? doubt?.(found.text) : undefined;
		if (doubted !== undefined) warnings.push(say(doubted));
	}
	return { env: mended, warnings, mistakes };
}
