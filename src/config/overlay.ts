/** Settings that come from flags and environment variables rather than from the file. */
import type { TSchema } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { AgentModel } from "./agent-schema.ts";
import type { Finding, Path } from "./config-error.ts";
import { expectation, fromText, list } from "./describe-type.ts";
import type { Environment } from "./interpolate.ts";
import { ConfigSchema } from "./schema.ts";
import { type Setting, settings } from "./schema-walk.ts";

/** The role of this process. */
export type Role = "router" | "agent" | "standalone";

/** The flags that set something; texts as they were typed. */
export interface Flags {
	readonly config?: string;
	readonly host?: string;
	readonly port?: string;
	readonly workers?: string;
	readonly insecure?: boolean;
	/** A model that the agent runs, and its settings. */
	readonly model?: string;
	readonly name?: string;
	readonly gpus?: string;
	readonly devices?: string;
	/** vLLM's own arguments: the words after `--`. */
	readonly args?: readonly string[];
	readonly router?: string;
	readonly advertise?: string;
	readonly vllmUrl?: string;
	/** The router calls the agent through a tunnel. */
	readonly tunnel?: boolean;
	readonly stopContainers?: boolean;
}

/** One setting from outside the file. */
export interface Override {
	readonly path: Path;
	readonly value: unknown;
	/** `PORT`, `--port`. */
	readonly name: string;
	readonly from: "flag" | "env";
	/** Applies only where the file does not set it. */
	readonly isDefault?: boolean;
}

/** Settings from flags and variables, later ones over earlier ones, and mistakes in them. */
export interface Overlay {
	readonly overrides: Override[];
	readonly findings: Finding[];
}

/** Shorter secrets can be guessed; the same limit as `keys[].key` in the file. */
const SHORTEST_KEY = 8;

/** systemd's directories (systemd.exec(5): colon separated, absolute) replace the default ones. */
const SYSTEMD = [
	{ path: ["data_dir"], name: "STATE_DIRECTORY" },
	{ path: ["log", "dir"], name: "LOGS_DIRECTORY" },
] as const;

/** Flags that set one setting of one role. */
const ROLE_FLAGS = [
	["server", "workers", "workers"],
	["agent", "router", "router"],
	["agent", "advertise", "advertise"],
	["agent", "vllm_url", "vllmUrl"],
] as const;

/** Reads flags and environment for `role`. An empty variable counts as unset. Pure. */
export function overlay(flags: Flags, env: Environment, role: Role): Overlay {
	const overrides: Override[] = [];
	const findings: Finding[] = [];
	const take = (setting: Setting, text: string, name: string, from: Override["from"]) => {
		const value = fromText(setting.schema, text);
		if (Value.Check(setting.schema, value)) overrides.push({ path: setting.path, value, name, from });
		else {
			const what = from === "env" ? `the environment variable ${name}` : name;
			findings.push({ path: setting.path, message: `${what} must be ${expectation(setting.schema)}` });
		}
	};

	for (const { path, name } of SYSTEMD) {
		const [first] = (env[name] ?? "").split(":");
		if (first) overrides.push({ path, value: first, name, from: "env", isDefault: true });
	}
	const all = settings(ConfigSchema);
	for (const setting of all) {
		const name = variable(setting, role);
		const text = name === undefined ? undefined : env[name];
		if (name !== undefined && text) take(setting, text, name, "env");
	}
	if (role !== "agent") {
		readKeys("ROUTER_API_KEYS", ["keys"], { models: ["*"] }, env, overrides, findings);
		readKeys("ROUTER_ADMIN_KEYS", ["admin", "keys"], {}, env, overrides, findings);
	}

	const section = role === "agent" ? "agent" : "server";
	for (const name of ["host", "port"] as const) {
		const text = flags[name];
		const setting = all.find(({ path }) => path[0] === section && path[1] === name);
		if (text !== undefined && setting) take(setting, text, `--${name}`, "flag");
	}
	for (const [section, name, flag] of ROLE_FLAGS) {
		const text = flags[flag];
		const setting = all.find(({ path }) => path[0] === section && path[1] === name);
		if (text !== undefined && setting) take(setting, text, `--${name.replace("_", "-")}`, "flag");
	}
	const on = (path: Path, name: string) => overrides.push({ path, value: true, name, from: "flag" });
	if (flags.insecure) on(["server", "insecure"], "--insecure");
	if (flags.tunnel) overrides.push({ path: ["agent", "tunnel"], value: "always", name: "--tunnel", from: "flag" });
	if (flags.stopContainers) on(["agent", "stop_containers"], "--stop-containers");
	if (flags.model !== undefined) readModel(flags, overrides, findings);
	return { overrides, findings };
}

/**
 * The variable that sets this setting in this role. HOST and PORT belong to the role that runs; with both in
 * one process they are the router's, and AGENT_PORT is the agent's.
 */
function variable({ path, schema }: Setting, role: Role): string | undefined {
	const name: string | undefined = schema["env"];
	if (name !== "HOST" && name !== "PORT") return name;
	if (role === "standalone" && path[0] === "agent") return name === "PORT" ? "AGENT_PORT" : undefined;
	return (path[0] === "agent") === (role === "agent") ? name : undefined;
}

/** `--model` and its settings, as an entry of `agent.models`. */
function readModel(flags: Flags, overrides: Override[], findings: Finding[]): void {
	const fields: [string, string, unknown][] = [
		["model", "--model", flags.model],
		["name", "--name", flags.name],
		["gpus", "--gpus", flags.gpus],
		["devices", "--devices", flags.devices === undefined ? undefined : list(flags.devices)],
		["args", "the words after --", flags.args],
	];
	const value: Record<string, unknown> = { load: "always" };
	for (const [field, name, given] of fields) {
		if (given === undefined) continue;
		const schema: TSchema = AgentModel.properties[field as keyof typeof AgentModel.properties];
		const typed = typeof given === "string" ? fromText(schema, given) : numbers(schema, given);
		if (Value.Check(schema, typed)) value[field] = typed;
		else findings.push({ path: ["agent", "models"], message: `${name} must be ${expectation(schema)}` });
	}
	overrides.push({ path: ["agent", "models", "+"], value, name: "--model", from: "flag" });
}

/** Texts become numbers where the list takes numbers. */
function numbers(schema: TSchema, given: unknown): unknown {
	const item: TSchema = schema["items"];
	return Array.isArray(given) ? given.map((text: string) => fromText(item, text)) : given;
}

/** Adds the keys of a variable to a list of keys; each gets `rest`, too. */
function readKeys(
	name: string,
	path: readonly string[],
	rest: object,
	env: Environment,
	overrides: Override[],
	findings: Finding[],
): void {
	const keys = list(env[name] ?? "");
	for (const [index, key] of keys.entries()) {
		if (key.length < SHORTEST_KEY) {
			const message = `the environment variable ${name} must hold keys of at least ${SHORTEST_KEY} characters; number ${index + 1} is shorter`;
			findings.push({ path, message });
		} else {
			// The index is filled in when the file's own keys are known.
			overrides.push({
				path: [...path, "+"],
				value: { name: `env-${index + 1}`, key, ...rest },
				name,
				from: "env",
			});
		}
	}
}
