/** The arguments of the administration commands: `router keys …`, `router usage`, `router why`, `router replay`, `router agents revoke`. Pure. */

/** A command, understood. Texts as they were typed. */
export type AdminCommand =
	| { readonly what: "list-keys" | "list-invitations" }
	| { readonly what: "create-key"; readonly options: KeyOptions }
	| { readonly what: "revoke-key" | "revoke-invitation" | "why"; readonly which: string }
	| { readonly what: "change-key"; readonly which: string; readonly options: KeyOptions }
	| { readonly what: "rotate-key"; readonly which: string; readonly overlap?: string }
	| { readonly what: "usage"; readonly options: UsageOptions }
	| { readonly what: "replay"; readonly options: ReplayOptions };

/** The flags of a new key, or of what is to change of one. */
export type KeyOptions = { readonly [name in (typeof KEY_FLAGS)[number]]?: string } & {
	/** `--engine-fields`; false: `--no-engine-fields` */
	readonly engineFields?: boolean;
	/** `--trace-contents`; false: `--no-trace-contents` */
	readonly traceContents?: boolean;
};
/** The grouping, period and form of a usage report. */
export interface UsageOptions {
	readonly by?: string;
	readonly from?: string;
	readonly to?: string;
	readonly csv?: boolean;
	/** CSV as FOCUS has it. */
	readonly focus?: boolean;
	/** That by the hour. */
	readonly hourly?: boolean;
}

/** `router replay`: which calls, and by what. */
export interface ReplayOptions {
	readonly policy?: string;
	readonly model?: string;
	readonly from?: string;
	readonly to?: string;
	readonly json?: boolean;
}

/** Flags of `router keys create` and `change` that have a value. */
export const KEY_SETTINGS = [
	"team",
	"models",
	"rpm",
	"tpm",
	"concurrency",
	"input",
	"session-usd",
	"budget",
	"role",
] as const;
const KEY_FLAGS = ["name", ...KEY_SETTINGS] as const;
/** Those that have none. */
export const KEY_SWITCHES = ["engine-fields", "no-engine-fields", "trace-contents", "no-trace-contents"] as const;

/** Parses the words and flags of one command line; where they are wrong, a message that says why. */
export function parseAdminArgs(
	command: "keys" | "usage" | "why" | "replay" | "agents",
	words: string[],
	given: Readonly<Record<string, string | undefined>>,
): AdminCommand | string {
	if (command === "why") {
		const id = words.shift();
		return id === undefined ? "why needs the id of a call, as `x-request-id` says it" : { what: "why", which: id };
	}
	if (command === "replay") {
		const { policy, model, from, to } = given;
		if (from === undefined) return "replay needs a time to begin at: --from=2026-01-31, or --from=2026-01-31T09:00:00Z";
		const options = { ...(policy && { policy }), ...(model && { model }), from, ...(to && { to }) };
		return { what: "replay", options: { ...options, json: given["json"] !== undefined } };
	}
	if (command === "usage") {
		const { by, from, to } = given;
		const focus = given["focus"] !== undefined;
		if (focus && by !== undefined)
			return "--focus has rows of its own (a day or hour, provider, model, key and user each): leave --by out";
		const csv = given["csv"] !== undefined;
		const hourly = given["hourly"] !== undefined;
		if (hourly && !focus) return "--hourly is for --focus alone";
		const options = { ...(by && { by }), ...(from && { from }), ...(to && { to }), csv, focus, hourly };
		return { what: "usage", options };
	}
	const action = words.shift() ?? "list";
	if (command === "agents") {
		if (action === "invitations") return { what: "list-invitations" };
		const id = words.shift();
		return id === undefined ? "agents revoke needs the id of an invitation" : { what: "revoke-invitation", which: id };
	}
	if (action === "list") return { what: "list-keys" };
	if (action === "create") {
		if (given["name"] === undefined) return "keys create needs a name: --name=…";
		const options = keyOptions(given);
		return typeof options === "string" ? options : { what: "create-key", options };
	}
	if (action !== "revoke" && action !== "rotate" && action !== "change") {
		return `unknown "keys ${action}"; there are list, create, change, revoke and rotate`;
	}
	const which = words.shift();
	if (which === undefined) return `keys ${action} needs the name or id of a key`;
	if (action === "change") {
		const fixed = ["name", "role"].find((flag) => given[flag] !== undefined);
		if (fixed !== undefined) return `--${fixed} of a key can't be changed: make another key`;
		const options = keyOptions(given);
		return typeof options === "string" ? options : { what: "change-key", which, options };
	}
	if (action === "revoke") return { what: "revoke-key", which };
	const { overlap } = given;
	return { what: "rotate-key", which, ...(overlap !== undefined && { overlap }) };
}

/** What is said of a key; a message where that contradicts itself. */
function keyOptions(given: Readonly<Record<string, string | undefined>>): KeyOptions | string {
	const options = Object.fromEntries(KEY_FLAGS.map((name) => [name, given[name]]));
	const says = (flag: (typeof KEY_SWITCHES)[number]) => given[flag] !== undefined;
	const switches = ["engine-fields", "trace-contents"] as const;
	const both = switches.find((flag) => says(flag) && says(`no-${flag}`));
	if (both !== undefined) return `--${both} and --no-${both} exclude each other`;
	const [engineFields, traceContents] = switches.map((flag) => says(flag) || (says(`no-${flag}`) ? false : undefined));
	return {
		...options,
		...(engineFields !== undefined && { engineFields }),
		...(traceContents !== undefined && { traceContents }),
	};
}
