/** What a call asks of limits and budget: each figure is found out when a limit first needs it, and once. */

import type { Caller } from "../accounts/auth/keys.ts";
import type { AdmissionRequest } from "../accounts/limits/admission.ts";
import { answerLimit, choicesOf } from "../accounts/usage/answer-limit.ts";
import type { UsualCalls, UsualOfKey } from "../accounts/usage/learned-usage.ts";
import { mostCharge } from "../accounts/usage/rates.ts";
import { type Estimated, estimatedPrompt, type PromptEstimate } from "../accounts/usage/token-estimate.ts";
import type { Catalog } from "../routing/catalog.ts";
import { furtherTargets, limitedNames } from "../routing/limited-names.ts";
import type { Route, RouteTarget } from "../routing/route.ts";

/** Tokens reserved for an answer of which nothing is known: the client sets no limit, and nobody has had an answer yet. */
const UNKNOWN_ANSWER = 4096;

/** Models that a call names in a field of its own and that are priced: to look for a price takes up to 8 ms, and upstreams take no more. */
const MOST_PRICED = 3;

/** The call that asks. */
export interface LimitedCall {
	readonly call: Estimated;
	readonly caller: Caller | undefined;
	/** Where it may go: its caller's part of it. */
	readonly route: Route;
	/** The client's; found out only where a limit needs it. */
	address(): string;
}

/** A call before its limits. */
export class LimitRequest implements AdmissionRequest {
	readonly isAnswerLimited: boolean;
	readonly #limit: number | undefined;
	readonly #choices: number;
	/** Tokens reserved for each choice, whatever the target. */
	#each: number | undefined;
	#further: readonly RouteTarget[] | undefined;
	#prompt: PromptEstimate | undefined;
	#answer: number | undefined;
	#tokensCost: number | undefined;
	#usual: UsualOfKey | undefined;

	constructor(
		private readonly asking: LimitedCall,
		private readonly catalog: Pick<Catalog, "listed">,
		private readonly usual: UsualCalls,
	) {
		this.#limit = answerLimit(asking.call);
		this.#choices = choicesOf(asking.call);
		this.isAnswerLimited = this.#limit !== undefined;
	}

	get caller(): Caller | undefined {
		return this.asking.caller;
	}

	names(): readonly string[] {
		const { call, route } = this.asking;
		return limitedNames(call.body.model, route, this.#furtherOf());
	}

	address(): string {
		return this.asking.address();
	}

	promptTokens(): number {
		return this.#promptOf().tokens;
	}

	/** Of the target whose answer may be longest. */
	answerTokens(): number {
		if (this.#answer !== undefined) return this.#answer;
		let most = 0;
		for (const target of this.#targetsOf()) most = Math.max(most, this.#answerAt(target));
		this.#answer = most;
		return most;
	}

	/**
	 * At the dearest target that it may reach, with what such calls usually cost on top of their tokens. What another attempt has cost is
	 * never the key's, so one answer is all there is to reserve.
	 */
	cost(): number {
		this.#tokensCost ??= this.#costOfTokens();
		return this.#tokensCost + this.#usualOf().surplus;
	}

	#costOfTokens(): number {
		const { call } = this.asking;
		let most = 0;
		/** Replicas of one model have one price: a hundred that cost nothing are looked up once. */
		let free: string | undefined;
		for (const target of this.#targetsOf()) {
			if (target.name !== undefined && target.name === free) continue;
			const rates = this.catalog.listed?.(target).rates;
			// What costs nothing, the house's own, needs no look at the prompt.
			if (!rates || (rates.input === 0 && rates.output === 0 && rates.request === undefined)) {
				free = target.name;
				continue;
			}
			const answer = this.#answerAt(target);
			const keepsLong = rates.cache_write_1h !== undefined && call.raw.includes('"1h"');
			const usd = mostCharge(rates, { prompt: this.#promptOf(), answer, modalities: modalitiesOf(call), keepsLong });
			most = Math.max(most, usd);
		}
		return most;
	}

	/**
	 * Learns from what became of it.
	 * @param output tokens of its answer, which was whole
	 * @param usd what it cost; undefined where nobody knows
	 */
	learn(output: number, usd: number | undefined): void {
		const answer = this.isAnswerLimited ? undefined : Math.ceil(output / this.#choices);
		// An answer longer than was reserved says nothing of what else costs.
		const isAsReserved = this.#tokensCost !== undefined && output <= this.answerTokens();
		const surplus = isAsReserved && usd !== undefined ? Math.max(0, usd - this.#tokensCost!) : undefined;
		if (answer === undefined && surplus === undefined) return;
		this.#usualOf().learn({ answer, surplus });
	}

	#furtherOf(): readonly RouteTarget[] {
		this.#further ??= furtherTargets(this.asking.call.body, this.asking.route);
		return this.#further;
	}

	/** Where it may run: those of its route, and models that its own fields name besides. */
	#targetsOf(): readonly RouteTarget[] {
		const further = this.#furtherOf();
		const { targets } = this.asking.route;
		return further.length === 0 ? targets : [...targets, ...further.slice(0, MOST_PRICED)];
	}

	#promptOf(): PromptEstimate {
		this.#prompt ??= estimatedPrompt(this.asking.call);
		return this.#prompt;
	}

	/** No model says more than it can hold. */
	#answerAt(target: RouteTarget): number {
		this.#each ??= this.#limit ?? this.#usualOf().answerTokens ?? UNKNOWN_ANSWER;
		const context = target.context ?? this.catalog.listed?.(target).context;
		return (context === undefined ? this.#each : Math.min(this.#each, context)) * this.#choices;
	}

	#usualOf(): UsualOfKey {
		this.#usual ??= this.usual.of(this.caller?.id ?? "", this.asking.route.label);
		return this.#usual;
	}
}

const TEXT_ONLY = { image: false, audio: false };

/** What the answer may be besides text: where the client asks for it. */
function modalitiesOf({ body }: Estimated): { image: boolean; audio: boolean } {
	const asked = body["modalities"];
	if (!Array.isArray(asked)) return TEXT_ONLY;
	return { image: asked.includes("image"), audio: asked.includes("audio") };
}
