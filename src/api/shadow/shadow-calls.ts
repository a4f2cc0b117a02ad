/**
 * Copies of calls for another model, whose answers are only compared (`shadow` of a model). A call is chosen as it goes upstream, and copied once its
 * client has its answer: no caller waits for a copy, pays for it, or is sent any of it. Nothing of either answer is kept. How it is done, and what keeps
 * it out of the way, is in ../../routing/targets.md.
 */
import type { Caller } from "../../accounts/auth/keys.ts";
import { tenth } from "../../accounts/usage/call-details.ts";
import { SHADOW_ID } from "../../accounts/usage/shadow-account.ts";
import type { ModelConfig } from "../../config/schema.ts";
import type { ShadowConfig } from "../../config/shadow-schema.ts";
import { RouterError } from "../../errors.ts";
import { compareAnswers } from "../../openai/answer-comparison.ts";
import type { ProxyState } from "../../proxy/proxy-state.ts";
import type { Route } from "../../routing/route.ts";
import type { ShadowedAnswer, ShadowOutcome, Sink } from "../../telemetry/events.ts";
import type { Accounts, ShadowedCall, Shadows } from "../call-context.ts";
import { refuseEngineFields } from "../engine-access.ts";
import { usableRoute } from "../model-access.ts";
import { copyOf, isRepeatable } from "./copied-call.ts";
import { HeardAnswer, HeldBytes } from "./heard-answer.ts";
import { sendCopy, whyNot } from "./shadow-attempt.ts";

/** Copies that this thread has under way, and bytes of their requests. */
const MOST_RUNNING = 32;
const MOST_BYTES = 64 * 1024 * 1024;
/** Another hash than others make of the same bytes. */
const SEED = 0x5ad0;
const HASHES = 2 ** 32;

/** What copies are made with. */
export interface ShadowOptions {
	readonly state: ProxyState;
	/** Who hears of calls: of copies they hear by `shadowSettled` and `shadowDropped`, and of their attempts at agents. */
	readonly sinks: readonly Partial<Sink>[];
	readonly onFault: (id: string, error: unknown) => void;
}

/** A copy that may be made once its call is answered. */
interface Chosen extends ShadowedCall {
	/** Of the model that has the setting. */
	readonly alias: ModelConfig;
	readonly shadow: ShadowConfig;
	readonly route: Route;
	readonly account: Caller;
	readonly accounts: Accounts;
	/** When it was chosen, on `performance.now()`'s clock. */
	readonly since: number;
}

/** The copies of one thread. */
export class ShadowCalls implements Shadows {
	readonly #held = new HeldBytes();
	readonly #accounts = new WeakMap<ModelConfig, Caller>();
	readonly #running = new Set<AbortController>();
	readonly #agentSinks: readonly Partial<Sink>[];
	#bytes = 0;
	#isDraining = false;

	constructor(private readonly options: ShadowOptions) {
		this.#agentSinks = options.sinks.flatMap((sink) =>
			sink.agentAttemptClosed ? [{ agentAttemptClosed: (attempt) => sink.agentAttemptClosed!(attempt) }] : [],
		);
	}

	/** Copies that are under way. */
	get running(): number {
		return this.#running.size;
	}

	listener(shadowed: ShadowedCall, alias: ModelConfig): HeardAnswer | undefined {
		const { call, record } = shadowed;
		let chosen: Chosen | undefined;
		try {
			chosen = this.#chosen(shadowed, alias, alias.shadow!);
		} catch (fault) {
			this.options.onFault(call.id, fault);
		}
		if (!chosen) return undefined;
		const made = chosen;
		return new HeardAnswer(call, this.#held, record.listener, (answer) => {
			const ended = performance.now();
			// Its client's answer is to be on its way first.
			setImmediate(() => {
				if (!record.clientLeft) void this.#copy(made, answer, ended);
			});
		});
	}

	/** The router stops: no more copies are made, and those that run are given up. */
	drain(): void {
		this.#isDraining = true;
		for (const controller of this.#running) controller.abort();
	}

	/** Decides at once: by what the call says, so that whichever thread or router has it decides alike. */
	#chosen(shadowed: ShadowedCall, alias: ModelConfig, shadow: ShadowConfig): Chosen | undefined {
		const { call, caller, accounts, catalog } = shadowed;
		if (!accounts || Bun.hash.xxHash32(call.sent, SEED) / HASHES >= shadow.share) return undefined;
		if (!isRepeatable(call)) return this.#dropped(alias, "effects");
		const found = catalog.find(shadow.to);
		if (!found) return this.#dropped(alias, "unavailable");
		const account = this.#accountOf(alias, shadow);
		// What the caller may use, as far as the copies' own budget can be held to it.
		const asker = { ...(caller ?? account), budget: account.budget };
		const asked = { model: shadow.to, routingField: () => call.facts.routingField() };
		try {
			const isBudgeted = asker.budget !== undefined || asker.limits.session_usd !== undefined;
			const route = usableRoute(asker, asked, found, isBudgeted ? accounts.usage.prices : undefined);
			refuseEngineFields(caller, call.facts, route);
			return { ...shadowed, alias, shadow, route, account, accounts, since: performance.now() };
		} catch (thrown) {
			if (!(thrown instanceof RouterError)) throw thrown;
			return this.#dropped(alias, whyNot(thrown));
		}
	}

	async #copy(chosen: Chosen, answer: string | undefined, ended: number): Promise<void> {
		const { call, alias, route, account, accounts, shadow } = chosen;
		if (this.#isDraining) return this.#dropped(alias, "draining");
		const bytes = call.sent.length;
		if (this.#running.size >= MOST_RUNNING || this.#bytes + bytes > MOST_BYTES) return this.#dropped(alias, "full");
		const controller = new AbortController();
		this.#running.add(controller);
		this.#bytes += bytes;
		const { state, onFault } = this.options;
		const copy = copyOf(call, account, controller);
		const sinks = this.#agentSinks;
		try {
			const parts = { state, held: this.#held, sinks, onFault };
			const end = await sendCopy({ call: copy, controller, route, to: shadow.to, account, accounts, ...parts });
			if (typeof end === "string") return this.#dropped(alias, end);
			const told = shadowedAnswer(chosen, ended, answer, end.answer);
			for (const sink of this.options.sinks) sink.shadowSettled?.({ ...end.settled, shadow: told });
		} catch (fault) {
			onFault(copy.id, fault);
		} finally {
			this.#running.delete(controller);
			this.#bytes -= bytes;
		}
	}

	#dropped({ name, shadow }: ModelConfig, why: ShadowOutcome): undefined {
		for (const sink of this.options.sinks) sink.shadowDropped?.(name, shadow!.to, why);
		return undefined;
	}

	/** Who pays for the copies of a model's calls: an account of its own, of which no key is. */
	#accountOf(alias: ModelConfig, { budget }: ShadowConfig): Caller {
		let account = this.#accounts.get(alias);
		if (!account) {
			const name = `(shadow of ${alias.name})`;
			account = { id: SHADOW_ID + alias.name, name, isRestricted: false, limits: {}, budget, mayUse: () => true };
			this.#accounts.set(alias, account);
		}
		return account;
	}
}

/** What the caller's answer was like, and what the other has in common with it. */
function shadowedAnswer(
	{ call, alias, record, since }: Chosen,
	ended: number,
	answer: string | undefined,
	copied: string | undefined,
): ShadowedAnswer {
	const { firstTokenAt, tokens, costUsd } = record;
	const compared = answer !== undefined && copied !== undefined ? compareAnswers(answer, copied) : undefined;
	return {
		of: call.id,
		model: alias.name,
		ms: tenth(ended - since),
		first_token_ms: firstTokenAt === undefined ? undefined : tenth(firstTokenAt - since),
		tokens_out: tokens?.output,
		cost_usd: costUsd,
		same_finish_reason: compared?.sameFinishReason,
		same_tool_calls: compared?.sameToolCalls,
	};
}
