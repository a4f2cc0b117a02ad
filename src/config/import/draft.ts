/** The `router.yaml` that an import makes, while it grows. */
import { PROVIDER_TYPES, type ProviderType, VENDORS } from "../../vendors.ts";

/** An upstream as another program's file describes it. Texts are as `router.yaml` has them: a variable is `${NAME}`. */
export interface DraftUpstream {
	readonly type: ProviderType;
	/** Absent: the vendor's own address. */
	readonly baseUrl?: string | undefined;
	readonly apiKey?: string | undefined;
	readonly headers?: Readonly<Record<string, string>> | undefined;
	/** What it is called where it needs an entry of its own; else its host's name. */
	readonly name?: string | undefined;
}

/** One entry of `targets:`. */
export type DraftTarget = string | { provider: string; model: string; weight?: number; lacks?: string[] };

/** One entry of `models:`, as far as imports know it. */
export interface DraftModel {
	name: string;
	targets: DraftTarget[];
	fallback?: string[];
	policy?: string;
	timeouts?: Record<string, string>;
	unsupported?: "drop";
	concurrency?: number;
}

/** One entry of `keys:`. */
export interface DraftKey {
	name: string;
	key: string;
	team?: string;
	models?: string[];
	rpm?: number;
	tpm?: number;
	concurrency?: number;
	budget?: { usd: number; per: string };
}

/** Its parts; those that stay empty are not written. */
export class Draft {
	readonly server: Record<string, unknown> = {};
	readonly timeouts: Record<string, string> = {};
	readonly providers: Record<string, Record<string, unknown>> = {};
	readonly models: DraftModel[] = [];
	readonly keys: DraftKey[] = [];
	readonly limits: Record<string, Record<string, number>> = {};
	readonly prices: Record<string, Record<string, number>> = {};
	readonly cache: Record<string, unknown> = {};
	readonly redis: Record<string, unknown> = {};
	readonly agentModels: Record<string, unknown>[] = [];
	/** Names of providers, by what they are. */
	readonly #names = new Map<string, string>();

	/** The name of the provider that this upstream is; makes its entry where none is as it is. */
	provider(upstream: DraftUpstream): string {
		const { type, baseUrl, apiKey, headers } = upstream;
		const identity = JSON.stringify([type, baseUrl, apiKey, headers]);
		const known = this.#names.get(identity);
		if (known !== undefined) return known;
		// A vendor with its own variable needs no entry.
		const isPlain = baseUrl === undefined && headers === undefined && isOwnKey(type, apiKey);
		const isFree = isPlain || !Object.hasOwn(this.providers, type);
		const hasOwnName = VENDORS[type].baseUrl !== undefined && (isPlain || (baseUrl === undefined && isFree));
		const name = hasOwnName ? type : this.#free(upstream.name ?? hostName(baseUrl) ?? type);
		this.#names.set(identity, name);
		if (isPlain && VENDORS[type].baseUrl !== undefined) return name;
		this.providers[name] = {
			...(name !== type && { type }),
			...(baseUrl !== undefined && { base_url: baseUrl }),
			...(apiKey !== undefined && { api_key: apiKey }),
			...(headers !== undefined && { headers }),
		};
		return name;
	}

	/** A name for a key that none has yet. */
	keyName(wanted: string): string {
		const taken = this.keys.map(({ name }) => name);
		return numbered(wanted.slice(0, 60), (name) => taken.includes(name));
	}

	/** The settings in the order in which `router.yaml` is read. */
	values(): Record<string, unknown> {
		const parts = {
			server: this.server,
			timeouts: this.timeouts,
			keys: this.keys,
			limits: Object.keys(this.limits).length > 0 ? { models: this.limits } : {},
			providers: this.providers,
			models: this.models,
			prices: this.prices,
			cache: this.cache,
			redis: this.redis,
			agent: this.agentModels.length > 0 ? { models: this.agentModels } : {},
		};
		return Object.fromEntries(Object.entries(parts).filter(([, part]) => Object.keys(part).length > 0));
	}

	#free(wanted: string): string {
		const name =
			wanted
				.toLowerCase()
				.replace(/[^a-z0-9]+/g, "-")
				.replace(/^-+|-+$/g, "") || "upstream";
		const isTaken = (each: string) =>
			Object.hasOwn(this.providers, each) || each === "dummy" || PROVIDER_TYPES.some((type) => type === each);
		return numbered(name, isTaken);
	}
}

/** A text of another program's file for `router.yaml`: what would be a reference here stays what it is. */
export const literal = (text: string) => text.replaceAll("${", () => "$${");

/** The form of a key that is known by its hash alone. */
export const hashed = (hex: string) => `sha256:${hex.toLowerCase()}`;

/** USD a token → USD per million tokens, without what binary fractions add. */
export const perMillion = (usd: number) => Number((usd * 1_000_000).toPrecision(12));

/** Seconds → a duration. */
export const durationOf = (count: number) => (Number.isInteger(count) ? `${count}s` : `${Math.round(count * 1000)}ms`);

/** Whether the vendor would use this key anyway. */
function isOwnKey(type: ProviderType, apiKey: string | undefined): boolean {
	const { keyVariables } = VENDORS[type];
	return apiKey === undefined || keyVariables.some((name) => apiKey === `\${${name}}`);
}

/** A name made of an address's host (and port, where it is an address or localhost). */
function hostName(url: string | undefined): string | undefined {
	const [, host, port] = /^[a-z]+:\/\/(?:[^@/]*@)?([^/:?#]+)(?::(\d+))?/i.exec(url ?? "") ?? [];
	if (host === undefined) return undefined;
	const variable = /^\$\{(\w+)/.exec(host)?.[1];
	if (variable !== undefined) return variable.replace(/_?(API_)?(BASE|URL|ENDPOINT)(_URL)?$/i, "");
	const isBare = /^[\d.]+$/.test(host) || host === "localhost";
	return isBare && port !== undefined ? `${host}-${port}` : host.replace(/^(api|www)\./, "").split(".")[0];
}

function numbered(wanted: string, isTaken: (name: string) => boolean): string {
	if (!isTaken(wanted)) return wanted;
	for (let number = 2; ; number++) {
		const name = `${wanted}-${number}`;
		if (!isTaken(name)) return name;
	}
}
