/** Where a call may run: what the catalog says of a name, before anyone has looked at the call or at the time. */

import type { Price } from "../accounts/usage/price-book.ts";
import type { ModelConfig } from "../config/schema.ts";
import type { Target } from "../providers/provider.ts";

/** How an alias's targets are put in order. */
export type Policy = ModelConfig["policy"];

/** Where a target runs: a local replica, llm-d's gateway in front of more of them, or a vendor. */
export type Kind = "local" | "llm-d" | "cloud";

/** The list of its alias that a target is in. */
export type Tier = "targets" | "fallback";

/** What a model can't do, where that is known. */
export type Feature = "tools" | "images" | "schema" | "embeddings";

/** A target with all that is known of it without asking it. */
export interface RouteTarget extends Target {
	/** Default `targets`. */
	readonly tier?: Tier | undefined;
	/** Default `cloud`. */
	readonly kind?: Kind | undefined;
	/** The entry of its tier that it comes from, from 0 (the default): several agents may come from one. */
	readonly position?: number | undefined;
	/** The share of calls of the entry that it comes from, where its tier's are shared out; 0: none while another is well. */
	readonly weight?: number | undefined;
	/** One of several that are the same (agents, vLLM servers): between equals chance decides, else the owner's order. */
	readonly isReplica?: boolean | undefined;
	/** Names in `models:` by which the name asked for leads here, besides itself. */
	readonly aliases?: readonly string[] | undefined;
	/** It can't be called: its key, or its address, is missing. */
	readonly isKeyless?: boolean | undefined;
	/** USD per million tokens; undefined where it is unknown. Local targets cost nothing unless the configuration says so. */
	readonly price?: Price | undefined;
	/** Tokens that prompt and answer may have together, where known. */
	readonly context?: number | undefined;
	readonly lacks?: readonly Feature[] | undefined;
	/**
	 * Of an agent: 0 ready, below 1 ready and behind those (it is retired), 1 to 49 what it must do first (least work first), 50 to 99
	 * what calls can only wait for, from 100 not heard of lately, 200 asleep.
	 */
	readonly readiness?: number | undefined;
	/** The agent's queue behind replicas that are targets themselves: to ask it beside one of those would be to ask that one twice. */
	readonly isQueue?: boolean | undefined;
	/**
	 * Of the replicas of a model that an agent rolls: the share of conversations, 0 to 1, that go to the one on trial (`isCanary`); the others go to
	 * those beside it. Absent where none is on trial, or nothing serves beside it.
	 */
	readonly canaryShare?: number | undefined;
	readonly isCanary?: boolean | undefined;
	/** Of an agent that would have to load the model, beside others: what its place among them was decided by. */
	readonly placement?: string | undefined;
	/** Of a LoRA adapter of an agent's: the model that it changes; and that one's target, whose engine it runs in. */
	readonly parent?: string | undefined;
	readonly engine?: string | undefined;
	/** Its host opens the connection over which it is called, and opens another one where that breaks. */
	readonly reopens?: boolean | undefined;
	/** Of an agent whose host sleeps: a call there has it woken, and waits. A target only where nothing else is. */
	readonly isAsleep?: boolean | undefined;
	/** Of an agent: calls that wait at its engine, as it last said. */
	readonly reportedWaiting?: number | undefined;
}

/** Where a call may run, in the order of the configuration. */
export interface Route {
	readonly targets: readonly RouteTarget[];
	/** Why: `models: fast`, `prefix gpt-*`. */
	readonly reason: string;
	/**
	 * The model in metrics: the name in `models:`, else the upstream's own. Where that has a `*`, the name asked for; but for one that leads some
	 * calls to a model without a `*`: any name at all would be answered.
	 */
	readonly label: string;
	/** Its entry in `models:`. */
	readonly alias?: ModelConfig | undefined;
}
