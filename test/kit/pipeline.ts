/** The pipeline of a call in this process, without a server: everything behind the HTTP route, with its events kept. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createKeyAuth } from "../../src/accounts/auth/keys.ts";
import type { UsageServices } from "../../src/accounts/usage/call-cost.ts";
import type { CallContext, CallSnapshot } from "../../src/api/call-context.ts";
import { type CallLimits, callHandler } from "../../src/api/handler.ts";
import { createAnswerCache } from "../../src/cache/cache.ts";
import type { CacheThread } from "../../src/cache/cache-memory.ts";
import type { SharedStore } from "../../src/cache/shared-store.ts";
import { load } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import { openAiChat } from "../../src/dialects/openai-chat.ts";
import type { Operation } from "../../src/openai/operations.ts";
import { providerOf } from "../../src/providers/create.ts";
import { DUMMY_UPSTREAM, dummyTransport } from "../../src/providers/dummy.ts";
import { openAiCompatible } from "../../src/providers/openai/index.ts";
import type { Provider } from "../../src/providers/provider.ts";
import { configureUpstreams } from "../../src/providers/registry.ts";
import { mediaAccess } from "../../src/proxy/net/media-fetch.ts";
import { requestInputsFor } from "../../src/proxy/net/request-inputs.ts";
import { fileFetch, httpTransport } from "../../src/proxy/net/transport.ts";
import { ProxyState } from "../../src/proxy/proxy-state.ts";
import { type CatalogEntry, createCatalog } from "../../src/routing/catalog.ts";
import type { AttemptClosed, CallSettled } from "../../src/telemetry/events.ts";
import { VENDORS, type Vendors } from "../../src/vendors.ts";
import type { Json } from "./exchange.ts";

/** The configuration that a file with these settings makes. Throws ConfigError. */
export function configOf(settings: Json = {}, env: Record<string, string> = {}): Config {
	const cwd = mkdtempSync(join(tmpdir(), "config-"));
	try {
		const file = join(cwd, "router.yaml");
		writeFileSync(file, JSON.stringify(settings)); // JSON is YAML
		return load({ flags: { config: file }, env, cwd, role: "router" }).config;
	} finally {
		rmSync(cwd, { recursive: true, force: true });
	}
}

/** The upstreams of a configuration with real HTTP behind them. `change` may put another provider in one's place. */
export function entriesOf(
	config: Config,
	env: Record<string, string> = {},
	change: (provider: Provider) => Provider = (provider) => provider,
	vendors: Vendors = VENDORS,
): CatalogEntry[] {
	const transport = httpTransport();
	const inputStoreOf = requestInputsFor(mediaAccess(fileFetch({ proxyFor: () => undefined })));
	const dummy = { ...DUMMY_UPSTREAM, timeouts: config.timeouts };
	return [
		...configureUpstreams(config, env, vendors).map((upstream) => ({
			upstream,
			provider: change(providerOf(upstream, transport, inputStoreOf(upstream.name))),
		})),
		{ upstream: dummy, provider: openAiCompatible(dummy, dummyTransport) },
	];
}

/** What this process calls itself among routers. */
export const INSTANCE = "pipeline";

/** How to make one. */
export interface PipelineOptions {
	readonly config?: Json;
	readonly env?: Record<string, string>;
	readonly change?: (provider: Provider) => Provider;
	/** The table of vendors. */
	readonly vendors?: Vendors;
	/** With the cache of answers, and a second level behind it. */
	readonly cached?: boolean;
	readonly sharedStore?: SharedStore;
	/** One of several threads that share the cache; undefined: it is this one's own. */
	readonly cacheThread?: (config: Config) => CacheThread | undefined;
}

/** How to send a call. */
export interface SendOptions {
	readonly operation?: Operation;
	readonly headers?: Record<string, string>;
	/** Aborted: the client leaves. */
	readonly signal?: AbortSignal;
}

/** The pipeline, and what it told its listeners. */
export interface Pipeline {
	readonly context: CallContext;
	/** What its calls are answered with; a test may change a part. */
	readonly snapshot: CallSnapshot;
	readonly started: number;
	readonly attempts: AttemptClosed[];
	readonly settled: CallSettled[];
	/** What it called the router's own fault. */
	readonly faults: unknown[];
	/** Answers a call; the body's stream is the caller's to read. */
	send(body: Json, options?: SendOptions): Promise<Response>;
	/** Resolves with the settled calls once there are this many. Throws after 5 s. */
	settledCalls(count: number): Promise<readonly CallSettled[]>;
}

/** Limits of which none is set. */
export const NO_LIMITS: CallLimits["admission"] = {
	limitsModels: false,
	limitsAddresses: false,
	sessionUsd: () => undefined,
	enter: () => undefined,
};

/** Has its calls counted and paid for: what usage is made of, and what lets calls through. */
export function account(
	{ snapshot }: Pick<Pipeline, "snapshot">,
	usage: Partial<Record<keyof UsageServices, unknown>>,
	admission = NO_LIMITS,
): void {
	Object.assign(snapshot, { accounts: { usage, admission, addresses: {} } });
}

/** Makes one. No key is configured unless `config.keys` says so. */
export function pipeline({
	config: settings,
	env,
	change,
	vendors,
	cached = false,
	sharedStore,
	cacheThread,
}: PipelineOptions = {}): Pipeline {
	const config = configOf(settings, env);
	const kept = { started: 0, attempts: [] as AttemptClosed[], settled: [] as CallSettled[], faults: [] as unknown[] };
	const snapshot: CallSnapshot = {
		config,
		catalog: createCatalog(config, entriesOf(config, env, change, vendors)),
		auth: createKeyAuth(config.keys),
	};
	const context: CallContext = {
		current: { snapshot },
		sinks: [
			{
				callStarted: () => {
					kept.started++;
				},
				attemptClosed: (attempt) => void kept.attempts.push(attempt),
				callSettled: (call) => void kept.settled.push(call),
			},
		],
		state: new ProxyState(),
		instance: INSTANCE,
		cache: cached ? createAnswerCache(config, sharedStore, cacheThread?.(config)) : undefined,
		onFault: (_, error) => kept.faults.push(error),
	};
	return {
		...kept,
		get started() {
			return kept.started;
		},
		context,
		snapshot,
		send(body, { operation = "chat", headers = {}, signal } = {}) {
			const request = new Request("http://localhost/v1", {
				method: "POST",
				headers: { "content-type": "application/json", host: "localhost", ...headers },
				body: JSON.stringify(body),
				...(signal ? { signal } : {}),
			});
			return callHandler({ operation, dialect: openAiChat, steps: ["auth", "limits", "cache", "relay"] }, context)(
				request,
				null,
			);
		},
		async settledCalls(count) {
			for (let look = 0; look < 3_000 && kept.settled.length < count; look++) await Bun.sleep(10);
			if (kept.settled.length < count) throw new Error(`${kept.settled.length} calls have settled, not ${count}`);
			return kept.settled;
		},
	};
}
