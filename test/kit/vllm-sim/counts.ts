/** Counts the tokens that an answer has told, as vLLM's `usage` does: at each chunk, and of the whole. */
import type { Run, Said } from "./serving.ts";

/** vLLM's usage, with details where the server was started so that it gives them. */
export interface Usage {
	readonly prompt_tokens: number;
	readonly total_tokens: number;
	readonly completion_tokens: number;
	readonly prompt_tokens_details?: { readonly cached_tokens: number } | null;
	readonly completion_tokens_details?: { readonly reasoning_tokens: number } | null;
}

/** Of one call. A chunk is counted when it is told: what the engine has made besides and nobody got is no part of the answer. */
export class Counts {
	readonly #told = new Map<string, { tokens: number; reasoning: number }>();

	/** @param thinks the server tells tokens of reasoning apart (`--reasoning-parser`) */
	constructor(
		private readonly runs: readonly Run[],
		private readonly thinks: boolean,
	) {}

	/** These pieces of a run's choice are told. */
	add(run: number, choice: number, pieces: readonly Said[]): void {
		const of = this.#of(run, choice);
		of.tokens += pieces.length;
		of.reasoning += pieces.filter(({ part }) => part.kind === "reasoning").length;
	}

	/** What stands in a choice's chunk with `continuous_usage_stats`: of that choice alone. */
	running(run: number, choice: number): Usage {
		const { tokens, reasoning } = this.#of(run, choice);
		return this.#usage(this.runs[run]!.prompt, tokens, reasoning);
	}

	/** Of all runs and choices. */
	total(): Usage {
		const all = [...this.#told.values()];
		const prompt = this.runs.reduce((sum, run) => sum + run.prompt, 0);
		const cached = this.runs[0]?.cached;
		const usage = this.#usage(
			prompt,
			all.reduce((sum, { tokens }) => sum + tokens, 0),
			all.reduce((sum, { reasoning }) => sum + reasoning, 0),
		);
		return { ...usage, prompt_tokens_details: cached === undefined ? null : { cached_tokens: cached } };
	}

	#of(run: number, choice: number): { tokens: number; reasoning: number } {
		const key = `${run} ${choice}`;
		const of = this.#told.get(key) ?? { tokens: 0, reasoning: 0 };
		this.#told.set(key, of);
		return of;
	}

	#usage(prompt: number, tokens: number, reasoning: number): Usage {
		return {
			prompt_tokens: prompt,
			total_tokens: prompt + tokens,
			completion_tokens: tokens,
			...(this.thinks ? { completion_tokens_details: { reasoning_tokens: reasoning } } : {}),
		};
	}
}
