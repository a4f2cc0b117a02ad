/** How many tokens of an answer its client has been told, when it breaks: what is left of its limit, and what the whole of it used. Pure. */
import { answerTokens } from "../accounts/usage/token-estimate.ts";
import type { SentSoFar } from "../openai/sent-so-far.ts";
import type { CountedTokens } from "../providers/provider.ts";

/** Tokens told so far. */
export interface ResumeSpend {
	/** Of the prompt, as the answer's first upstream counted it; undefined where it has not. */
	readonly prompt: number | undefined;
	/**
	 * Of the answer, but for the white space at its end: the call for the rest leaves that out, so that it is made, and counted, once
	 * more.
	 */
	readonly tokens: number;
	/** With that white space. */
	readonly all: number;
	/** Some of it was not counted but told from its length. */
	readonly isEstimated: boolean;
	/** What of the answer had been told. */
	readonly told: Pick<SentSoFar, "characters" | "bytes" | "deltas">;
}

/** Characters that a chunk of one token has on average, at most. Latin text has 4 to 5 a token. */
const A_TOKEN = 6;
/** Further tokens a byte beyond the first of a character, as characters: see `accounts/usage/token-estimate.ts`. */
const EXTRA_BYTE = 1.4;

/**
 * Tokens of what was told.
 * @param counted as the upstream that broke counts the whole answer up to there; undefined where it does not
 * @param before what had been told when the answer broke last
 */
export function spentAfter(
	told: SentSoFar,
	counted: CountedTokens | undefined,
	before: ResumeSpend | undefined,
): ResumeSpend {
	const prompt = before?.prompt ?? counted?.input;
	if (before && told.characters === before.told.characters) return { ...before, prompt };
	if (counted) {
		const isEstimated = before?.isEstimated ?? false;
		return { prompt, tokens: counted.solid, all: counted.output, isEstimated, told };
	}
	const { characters, bytes, deltas } = before?.told ?? { characters: 0, bytes: 0, deltas: 0 };
	const more = told.characters - characters;
	const length = more + (told.bytes - bytes - more) * EXTRA_BYTE;
	const chunks = told.deltas - deltas;
	// Most upstreams send a token a chunk; where they pack several, chunks are longer than a token is.
	const isPacked = length > chunks * A_TOKEN;
	const all = (before?.all ?? 0) + (isPacked ? Math.max(chunks, answerTokens(length)) : chunks);
	return { prompt, tokens: Math.max(0, all - told.spaces), all, isEstimated: true, told };
}
