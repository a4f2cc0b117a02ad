/** What requests are answered with: a snapshot of the configuration, and what outlives it. */
import type { Caller, KeyAuth } from "../accounts/auth/keys.ts";
import type { AdmissionControl } from "../accounts/limits/admission.ts";
import type { UsageServices } from "../accounts/usage/call-cost.ts";
import type { AnswerCache } from "../cache/cache.ts";
import type { Config, ModelConfig } from "../config/schema.ts";
import type { ClientCall } from "../dialects/dialect.ts";
import type { ClientAddresses, Peers } from "../http/client-address.ts";
import type { AnswerListener } from "../proxy/call-client.ts";
import type { CallRecord } from "../proxy/call-record.ts";
import type { ProxyState } from "../proxy/proxy-state.ts";
import type { Catalog } from "../routing/catalog.ts";
import type { KeyedHash } from "../routing/keyed-hash.ts";
import type { ObjectStore } from "../store/object-table.ts";
import type { Sink } from "../telemetry/events.ts";
import type { Tracer } from "../telemetry/otel/call-trace.ts";
import type { OpenConnections } from "./open-connections.ts";
import type { RunawayGuard } from "./runaway-guard.ts";
import type { StoredResponses } from "./stored-responses.ts";

/** What one configuration comes to. Immutable: a reload makes another, and a call that runs keeps the one it began with. */
export interface CallSnapshot {
	readonly config: Config;
	readonly catalog: Catalog;
	readonly auth: KeyAuth;
	/** Limits, budgets and prices; a router has them, an agent has none. */
	readonly accounts?: Accounts | undefined;
}

/** What a router keeps of its callers. */
export interface Accounts {
	readonly admission: AdmissionControl;
	/** What calls are priced with. */
	readonly usage: UsageServices;
	readonly addresses: ClientAddresses;
}

/** A call that goes upstream, and may be copied for another model. */
export interface ShadowedCall extends Pick<CallSnapshot, "catalog" | "accounts"> {
	readonly call: ClientCall;
	readonly caller: Caller | undefined;
	/** Its listener hears its answer, too. */
	readonly record: CallRecord;
}

/** Makes copies of calls. */
export interface Shadows {
	/**
	 * What hears the answer of a call that is to be copied; undefined of one that is not. Throws nothing: the call goes on whatever becomes of its copy.
	 * @param alias of the model, which has the setting `shadow`
	 */
	listener(shadowed: ShadowedCall, alias: ModelConfig): AnswerListener | undefined;
}

/** Answers a request for the first page; undefined where it wants none. */
export type StartPage = (request: Request, server: Peers | null) => Promise<Response> | undefined;

/** What a server answers with. All but the snapshot outlives a reload. */
export interface CallContext {
	/** Holds the snapshot in force: a request reads it once. */
	readonly current: { readonly snapshot: CallSnapshot };
	/** Hear of every call, in this order. */
	readonly sinks: readonly Partial<Sink>[];
	/** Begins the traces of calls; absent where nothing is traced. */
	readonly tracer?: Tracer | undefined;
	/** What is known of upstreams. */
	readonly state: ProxyState;
	/** Told how long each plan took, ms. */
	readonly onPlanned?: ((ms: number) => void) | undefined;
	/** Of what the ledger has of prompts for replays; a router has it, an agent keeps no ledger. */
	readonly snapshotHash?: KeyedHash | undefined;
	/** It stands behind a router, which knows other places: a busy upstream is not waited for here, too. */
	readonly isBehindRouter?: boolean | undefined;
	/** This server among routers. One of its own for each role: in one process a call passes through both. */
	readonly instance: string;
	/** Answers of before; absent where they are switched off. */
	readonly cache?: AnswerCache | undefined;
	/** Makes copies of calls for other models; a router does, an agent does not. */
	readonly shadows?: Shadows | undefined;
	/** Files and batches that providers keep for keys; a router has it, an agent has none. */
	readonly objects?: ObjectStore | undefined;
	/** Answers that clients may refer to; absent where there are none. */
	readonly responses?: StoredResponses | undefined;
	/** Keeps agents from running away; a router has it, an agent has none. */
	readonly runaways?: RunawayGuard | undefined;
	/** WebSockets that are open. */
	readonly connections?: OpenConnections | undefined;
	/** Answers `GET /` of a browser; absent where there is no page. */
	readonly startPage?: StartPage | undefined;
	/** Hears of errors that are the router's own fault. */
	readonly onFault: (id: string, error: unknown) => void;
}
