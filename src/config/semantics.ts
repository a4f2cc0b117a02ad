/** Rules that a schema can't express: names used twice, providers without an address, files that can't be read. */
import { accessSync, constants, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { PROVIDER_TYPES, VENDORS } from "../vendors.ts";
import { accessRules } from "./access-rules.ts";
import { agentRules } from "./agent-rules.ts";
import { parseAllowedHost } from "./allowed-host.ts";
import type { Finding, Path } from "./config-error.ts";
import { didYouMean } from "./did-you-mean.ts";
import { isRecord } from "./document.ts";
import { entries, type ListedEntry, repeated } from "./entries.ts";
import type { Environment } from "./interpolate.ts";
import type { Role } from "./overlay.ts";
import { parseRedisUrl } from "./redis-url.ts";

/** Settings that name a file or a directory. */
export const PATHS: readonly string[] = [
	"data_dir",
	"log.dir",
	"ca_file",
	"redis.ca_file",
	"server.tls.cert",
	"server.tls.key",
	"agent.cache_dir",
];

/** What the rules depend on besides the values. */
export interface RuleContext {
	readonly env: Environment;
	readonly cwd: string;
	readonly role: Role;
}

/**
 * Checks values with their defaults filled in. Values that the schema refuses are skipped, so that all mistakes of a file are reported
 * at once. Reads the TLS files; throws nothing.
 */
export function semantics(values: Record<string, unknown>, context: RuleContext): Finding[] {
	const providers = isRecord(values["providers"]) ? Object.entries(values["providers"]) : [];
	return [
		...accessRules(values),
		...repeated(entries(values["models"]), ["models"], "name", "another model has this name too; names must differ"),
		...entries(values["models"]).flatMap(([index, model]) => weights(model, ["models", index])),
		...entries(values["models"]).flatMap(([index, model]) => ownShadow(model, ["models", index])),
		...agentRules(values, context.role),
		...providers.flatMap(([name, entry]) => (isRecord(entry) ? provider(name, entry, context.env) : [])),
		...allowedHosts(values["agents"]),
		...redisUrl(values["redis"]),
		...operation(["agent", "vllm_url"], isRecord(values["agent"]) ? values["agent"]["vllm_url"] : undefined),
		...["server", "agent"].flatMap((section) => hostOnly(section, values[section])),
		...PATHS.flatMap((path) => homePath(path.split("."), values)),
		...files(values, context),
		...(context.role === "standalone" ? samePort(values) : []),
	];
}

/** Shares of calls: one policy at a time chooses who is asked first, and one target at least has to be. */
function weights(model: ListedEntry, path: Path): Finding[] {
	return ["targets", "fallback"].flatMap((tier) => {
		const list: unknown[] = Array.isArray(model[tier]) ? model[tier] : [];
		const given = list.map((target) => (isRecord(target) ? target["weight"] : undefined));
		const first = given.findIndex((weight) => weight !== undefined);
		if (first === -1) return [];
		const at = [...path, tier, first, "weight"];
		const { policy } = model;
		if (tier === "targets" && (policy === "order" || policy === "cheapest" || policy === "fastest")) {
			return [
				{
					path: at,
					message: `shares calls out, and \`policy: ${policy}\` chooses otherwise: leave one of the two out`,
				},
			];
		}
		if (given.some((weight) => weight !== 0)) return [];
		return [{ path: at, message: "is 0, as all are in this list: one at least has to be more" }];
	});
}

/** A copy of a call is for another model. */
function ownShadow({ name, shadow }: ListedEntry, path: Path): Finding[] {
	if (!isRecord(shadow) || shadow["to"] !== name) return [];
	return [{ path: [...path, "shadow", "to"], message: "is this model itself: name another one" }];
}

function provider(name: string, entry: ListedEntry, env: Environment): Finding[] {
	const path = ["providers", name];
	if (name === "dummy") return [{ path, of: "key", message: "is the built-in model's name; choose another" }];
	const type = entry["type"] ?? PROVIDER_TYPES.find((each) => each === name);
	if (type === undefined) {
		const hint = didYouMean(name, PROVIDER_TYPES);
		const message = `is no provider the router knows; ${hint ? `${hint} Else give` : "give"} it a type, such as \`type: openai-compatible\``;
		return [{ path, of: "key", message }];
	}
	const known = PROVIDER_TYPES.find((each) => each === type);
	const row = known && VENDORS[known];
	if (!row || row.baseUrl !== undefined || entry["base_url"] !== undefined) {
		return operation([...path, "base_url"], entry["base_url"]);
	}
	// The variable gives one to the provider of that name.
	const variable = name === type ? row.baseUrlVariable : undefined;
	if (variable !== undefined && env[variable]) return [];
	const also = variable === undefined ? "" : `, or set ${variable}`;
	return [{ path: [...path, "base_url"], message: `is missing; the type ${type} has no address of its own${also}` }];
}

/** A host that has its port or its scheme with it would be looked up as a name. */
function hostOnly(section: string, values: unknown): Finding[] {
	const host = isRecord(values) ? values["host"] : undefined;
	if (typeof host !== "string" || !/:\/\/|^[^:]+:\d*$|\]:\d*$/.test(host)) return [];
	const message = `is an address alone, such as 0.0.0.0: its port is \`${section}.port\`, and no http:// belongs there`;
	return [{ path: [section, "host"], message }];
}

/** A shell's `~` would be a directory of that name. */
function homePath(path: readonly string[], values: unknown): Finding[] {
	const value = path.reduce<unknown>((inside, name) => (isRecord(inside) ? inside[name] : undefined), values);
	if (typeof value !== "string" || !/^~(?:\/|$)/.test(value)) return [];
	return [{ path, message: 'begins with ~, which only a shell fills in: write "${HOME}" in its place' }];
}

/** Paths are put behind an upstream's address. */
function operation(path: Path, url: unknown): Finding[] {
	const [, chat, found = chat] = (typeof url === "string" && OPERATION.exec(url)) || [];
	const message = `is the address of one operation: leave \`${found}\` out`;
	return found === undefined ? [] : [{ path, message }];
}

/** One word alone may be an ingress's path to a server; behind a version it is an operation. */
const OPERATION = /(?:[^/](\/chat\/completions)|\/v\d\w*(\/(?:completions|embeddings|messages|responses)))\/?$/;

function allowedHosts(agents: unknown): Finding[] {
	const allow = isRecord(agents) && Array.isArray(agents["allow"]) ? agents["allow"] : [];
	return [...allow.entries()].flatMap(([index, entry]) => {
		if (typeof entry !== "string" || parseAllowedHost(entry)) return [];
		const message = "is no host name, address, block (10.0.0.0/8) or origin without a path (http://gpu-1:5000)";
		return [{ path: ["agents", "allow", index], message }];
	});
}

function redisUrl(redis: unknown): Finding[] {
	const url = isRecord(redis) ? redis["url"] : undefined;
	const address = typeof url === "string" && /^rediss?(\+\w+)?:/.test(url) ? parseRedisUrl(url) : undefined;
	return typeof address === "string" ? [{ path: ["redis", "url"], message: address }] : [];
}

/** The agent role serves no TLS of its own, so only the other roles need those files. */
function files(values: Record<string, unknown>, { cwd, role }: RuleContext): Finding[] {
	const server = isRecord(values["server"]) ? values["server"] : {};
	const tls = isRecord(server["tls"]) && role !== "agent" ? server["tls"] : {};
	const named: [Path, unknown][] = [
		[["server", "tls", "cert"], tls["cert"]],
		[["server", "tls", "key"], tls["key"]],
		[["ca_file"], values["ca_file"]],
		[["redis", "ca_file"], isRecord(values["redis"]) && role !== "agent" ? values["redis"]["ca_file"] : undefined],
	];
	return named.flatMap(([path, file]) => {
		if (typeof file !== "string" || file === "") return [];
		const problem = pemProblem(resolve(cwd, file));
		return problem === undefined ? [] : [{ path, message: `${file} ${problem}` }];
	});
}

/** One address can't be listened on twice; the ports of two addresses, or free ones, may be the same. */
function samePort({ server, agent }: ListedEntry): Finding[] {
	if (!isRecord(server) || !isRecord(agent)) return [];
	if (server["port"] !== agent["port"] || server["host"] !== agent["host"] || agent["port"] === 0) return [];
	return [{ path: ["agent", "port"], message: "is the router's own port, too; in one process each needs its own" }];
}

function pemProblem(file: string): string | undefined {
	try {
		accessSync(file, constants.R_OK);
		return readFileSync(file, "latin1").includes("-----BEGIN ") ? undefined : "is no PEM file";
	} catch (error) {
		return `can't be read (${(error as NodeJS.ErrnoException).code ?? "unknown reason"})`;
	}
}
