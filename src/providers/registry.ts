/** From the table, the configuration and the environment to the upstreams this router has. */
import { hostname, networkInterfaces } from "node:os";
import { AGENT_TOKEN, agentTokens } from "../config/agent-tokens.ts";
import type { Environment } from "../config/interpolate.ts";
import { nameMatcher } from "../config/name-pattern.ts";
import type { Config, ProviderConfig } from "../config/schema.ts";
import type { UnsupportedPolicy } from "../config/upstream-schema.ts";
import { RouterError, StartError } from "../errors.ts";
import { type ProviderType, type ResponsesSupport, VENDORS, type VendorRow, type Vendors } from "../vendors.ts";
import { isLocal, isOwnSite } from "./locality.ts";
import { type AccountCache, PROMPT_CACHES } from "./prompt-cache.ts";
import type { SomeTimeouts, UpstreamTimeouts } from "./provider.ts";

/** One upstream, ready or not. */
export interface Upstream {
	readonly name: string;
	readonly type: ProviderType;
	readonly row: VendorRow;
	/** With its version, without a closing slash; absent where none is configured. */
	readonly baseUrl?: string | undefined;
	/** Somebody has said its address, be it the one that the table has, too. */
	readonly isAddressSet?: boolean;
	readonly apiKey?: string | undefined;
	/** Further keys, and where each comes from. */
	readonly otherKeys?: readonly { readonly apiKey: string; readonly keySetting: string }[];
	/** Its keys share the vendor's prompt cache. */
	readonly sharesCache?: boolean;
	/** Of one of several such: the first of them. */
	readonly cacheKey?: string | undefined;
	/** The variable that would give what is missing; the configuration's path where there is none. */
	readonly variable: string;
	/** The configuration's path for its address, where that is not `providers.<name>.base_url`. */
	readonly addressPath?: string;
	/** Where its key comes from, or would: a variable or `providers.<name>.api_key`. */
	readonly keySetting: string;
	readonly state: "ready" | "no-key" | "no-url";
	readonly headers: Readonly<Record<string, string>>;
	/** Fields of a call may lead it to another model than it names. */
	readonly routesModels: boolean;
	/** What it has of OpenAI's Responses; undefined where it is asked by chat completions alone. */
	readonly responses?: ResponsesSupport | undefined;
	/** What is configured about fields that it has no form for. */
	readonly unsupported?: UnsupportedPolicy | undefined;
	/** Its own system prompt is wanted (Venice). */
	readonly keepsSystemPrompt: boolean;
	readonly timeouts: UpstreamTimeouts;
	/** Those of them that were set for it alone. */
	readonly ownTimeouts?: SomeTimeouts | undefined;
}

/** What of a provider is its upstream's configuration alone. */
export const configuredOf = (upstream: Upstream) => {
	const { name, row, keySetting, apiKey, timeouts, ownTimeouts, unsupported } = upstream;
	const promptCache = accountCache(upstream);
	return {
		name,
		priceId: row.priceId,
		keySetting,
		secret: apiKey,
		...(promptCache && { promptCache }),
		timeouts,
		ownTimeouts,
		unsupported,
	};
};

/** The cache of one key, or of all of them; two providers with the same key at the same address have one. */
function accountCache(upstream: Upstream): AccountCache | undefined {
	const { type, row, baseUrl, apiKey, cacheKey = apiKey } = upstream;
	const rules = PROMPT_CACHES[type];
	// A server of unknown make at a local address is a replica, known by what it was given.
	if (!rules || cacheKey === undefined || (row.site === "address" && isLocal(upstream))) return undefined;
	return { rules, scope: JSON.stringify([type, baseUrl, cacheKey]) };
}

/** The refusal of a call to an upstream that is not ready: `provider_key_missing`, naming the variable that would give what it lacks. */
export function addressMissing({ state, row, variable }: Upstream): RouterError {
	const what = state === "no-key" ? "key" : "address";
	return new RouterError(
		"provider_key_missing",
		`No ${what} for ${row.title}: set ${variable} and restart the router.`,
	);
}

/** Every upstream: the table's own and those of `providers:`. Addresses and keys: configuration over environment over table. */
export function configureUpstreams(config: Config, env: Environment, vendors: Vendors = VENDORS): Upstream[] {
	const known = Object.keys(vendors).filter((type) => vendors[type]!.baseUrlVariable !== undefined);
	const names = new Set<string>([...known, ...Object.keys(config.providers)]);
	return [...names].map((name) => configure(name, config, env, vendors));
}

function configure(name: string, config: Config, env: Environment, vendors: Vendors): Upstream {
	const settings: ProviderConfig = config.providers[name] ?? {};
	const type = settings.type ?? (name as ProviderType);
	const row = vendors[type]!;
	// A second provider of a vendor's type has an account of its own: the vendor's variables belong to the first.
	const own = name === type ? env : {};
	// An empty variable counts as unset.
	const ownAddress = settings.base_url ?? ((row.baseUrlVariable && own[row.baseUrlVariable]) || undefined);
	const address = ownAddress ?? row.baseUrl;
	const keyVariable = row.keyVariables.find((variable) => own[variable]);
	const [first, ...otherKeys] = keysOf(name, settings, keyVariable && keyIn(keyVariable, own), keyVariable);
	const { apiKey, keySetting } = first ?? { apiKey: undefined, keySetting: `providers.${name}.api_key` };
	const headers = { ...row.headers, ...lowerCased(settings.headers) };
	for (const key of first ? [first, ...otherKeys] : []) checkKey(key);
	checkHeaders(name, headers);
	const baseUrl = address ? versioned(address, row, row.baseUrlVariable ?? `providers.${name}.base_url`) : undefined;
	const state = address ? (row.needsKey && !apiKey ? "no-key" : "ready") : "no-url";
	const missing = state === "no-url" ? row.baseUrlVariable : row.keyVariables[0];
	const field = state === "no-url" ? "base_url" : "api_key";
	return {
		name,
		type: type as ProviderType,
		row,
		baseUrl,
		isAddressSet: ownAddress !== undefined,
		apiKey,
		...(otherKeys.length > 0 ? { otherKeys } : {}),
		...(settings.shared_prompt_cache ? { sharesCache: true } : {}),
		variable: (name === type ? missing : undefined) ?? `providers.${name}.${field}`,
		keySetting,
		state,
		headers,
		routesModels: settings.model_routing ?? routesModels(row, baseUrl),
		responses: settings.responses === "chat" ? undefined : (row.responses ?? (settings.responses && {})),
		unsupported: settings.unsupported,
		keepsSystemPrompt: settings.system_prompt === true,
		timeouts: { ...config.timeouts, ...settings.timeouts },
		ownTimeouts: settings.timeouts,
	};
}

/** What stands at a vendor's own address is the vendor; behind another one may be a gateway to any model. */
function routesModels(row: VendorRow, baseUrl: string | undefined): boolean {
	return row.routesModels ?? (!isOwnSite(row.site) && baseUrl !== undefined && baseUrl !== row.baseUrl);
}

/** Of agents' tokens, of which two may be good, the one that is shown. */
function keyIn(variable: string, env: Environment): string | undefined {
	return variable === AGENT_TOKEN ? agentTokens(env)[0] : env[variable];
}

/** The keys of a provider, the first one first, each once: of the configuration, else of its variable. */
function keysOf(name: string, settings: ProviderConfig, fromVariable: string | undefined, variable = "") {
	const path = `providers.${name}`;
	const keys = (settings.api_keys ?? []).map((apiKey, at) => ({ apiKey, keySetting: `${path}.api_keys[${at}]` }));
	if (settings.api_key) keys.unshift({ apiKey: settings.api_key, keySetting: `${path}.api_key` });
	if (keys.length === 0 && fromVariable) keys.push({ apiKey: fromVariable, keySetting: variable });
	return keys.filter(({ apiKey }, at) => keys.findIndex((other) => other.apiKey === apiKey) === at);
}

/**
 * `https://host/`, `…/v1` and `…/v1/` are the same base: the version is put in where no path segment names one. Throws
 * StartError naming `setting` where the address is none.
 */
export function versioned(
	address: string,
	row: Pick<VendorRow, "version" | "strippedSuffix">,
	setting: string,
): string {
	const bare = address.replace(/\/+$/, "");
	const base =
		row.strippedSuffix && bare.endsWith(row.strippedSuffix) ? bare.slice(0, -row.strippedSuffix.length) : bare;
	if (!/^https?:\/\/./.test(base) || !URL.canParse(base)) {
		throw new StartError(`${setting} is no http(s) address.`);
	}
	// Paths are put behind it.
	if (/[?#]/.test(base)) throw new StartError(`${setting} must be an address without a query or fragment.`);
	return /\/v\d+[a-z]*\d*(\/|$)/.test(new URL(base).pathname) ? base : base + row.version;
}

/** What the router sets itself: another value would break the message, or send the call to another host. */
const RESERVED = new Set([
	"host",
	"content-length",
	"content-type",
	"transfer-encoding",
	"accept-encoding",
	"connection",
]);

/** Throws StartError naming the setting whose text no HTTP header can hold: typographic quotes around a pasted key, a line end. */
function checkKey({ apiKey, keySetting }: { apiKey: string; keySetting: string }): void {
	if (/[^\x21-\x7e]/.test(apiKey)) {
		throw new StartError(`${keySetting} has a space, a quote or another character that no key has: paste it again.`);
	}
}

/** The same for headers. */
function checkHeaders(name: string, headers: Record<string, string>): void {
	for (const [header, value] of Object.entries(headers)) {
		const path = `providers.${name}.headers.${header}`;
		if (RESERVED.has(header)) throw new StartError(`${path} is set by the router itself: take it out.`);
		if (/[^\x20-\x7e]/.test(value)) throw new StartError(`${path} has a character that HTTP headers can't hold.`);
		if (!/^[\w!#$%&'*+.^`|~-]+$/.test(header)) throw new StartError(`${path} is no header name.`);
	}
}

function lowerCased(headers: Record<string, string> = {}): Record<string, string> {
	return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

/**
 * Whether the cost of its calls is unknown: it is paid, the list prices have none of it, its answers report none, and `prices:` names none
 * of its models. Keys with a budget can't use it then.
 */
export function lacksPrices(upstream: Upstream, prices: Config["prices"]): boolean {
	const { site, priceId, reportsCost } = upstream.row;
	const isPaid = site === "vendor" || (site === "address" && !isLocal(upstream));
	if (!isPaid || priceId !== undefined || reportsCost) return false;
	const name = upstream.name.toLowerCase();
	return !Object.keys(prices).some((pattern) => nameMatcher([pattern.toLowerCase().split("/")[0]!])(name));
}

/** What `router check` and the start banner print; nothing secret. */
export interface ProviderState {
	readonly name: string;
	readonly state: Upstream["state"];
	readonly variable: string;
	/** Without user, password and query. */
	readonly baseUrl?: string;
	/** See {@link lacksPrices}. */
	readonly lacksPrices?: boolean;
}

/** The state of every upstream. */
export function describeProviders(config: Config, env: Environment, vendors: Vendors = VENDORS): ProviderState[] {
	return configureUpstreams(config, env, vendors).map((upstream) => {
		const { name, state, variable, baseUrl } = upstream;
		return {
			name,
			state,
			variable,
			...(baseUrl ? { baseUrl: withoutSecrets(baseUrl) } : {}),
			...(state === "ready" && lacksPrices(upstream, config.prices) ? { lacksPrices: true } : {}),
		};
	});
}

/** An address as people may see it: without user, password and query. */
export function withoutSecrets(address: string): string {
	const url = new URL(address);
	return `${url.origin}${url.pathname}`;
}

/**
 * Why an upstream's address can't be right: it is the one this process listens on. People export `ANTHROPIC_BASE_URL` and the
 * like to point other programs at the router; a router that reads them calls itself until every socket is used up.
 * One line for a person, an upstream a line; undefined where all is well.
 */
export function loopProblem(upstreams: readonly Upstream[], host: string, port: number): string | undefined {
	const loops = upstreams.filter(({ baseUrl }) => {
		if (!baseUrl || port === 0) return false;
		const url = new URL(baseUrl);
		const urlPort = Number(url.port || (url.protocol === "https:" ? 443 : 80));
		return urlPort === port && isThisMachine(url.hostname, host);
	});
	if (loops.length === 0) return undefined;
	const lines = loops.map(({ name, row, addressPath = `providers.${name}.base_url` }) => {
		const variable = row.baseUrlVariable ? `${row.baseUrlVariable} (${addressPath})` : addressPath;
		return `${variable} leads back to this very router: give the upstream's own address, or unset it here`;
	});
	return lines.join("\n");
}

const LOOPBACK = /^(?:localhost|.*\.localhost|127(?:\.\d+){3}|::1|0\.0\.0\.0|::)$/;

function isThisMachine(name: string, host: string): boolean {
	const bare = name.replace(/^\[|\]$/g, "").replace(/\.$/, "");
	if (bare === host.toLowerCase() || bare === hostname().toLowerCase() || LOOPBACK.test(bare)) return true;
	return Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === bare));
}
