/** Gemini's log probabilities, as OpenAI's. */

interface TokenLogprob {
	readonly token?: string;
	readonly logProbability?: number;
}

/** As a candidate brings them. */
export interface LogprobsResult {
	readonly chosenCandidates?: readonly TokenLogprob[];
	readonly topCandidates?: readonly { readonly candidates?: readonly TokenLogprob[] }[];
}

/** `choices[].logprobs`; null where there are none. */
export function logprobsOf(result: LogprobsResult | undefined): object | null {
	const chosen = result?.chosenCandidates;
	if (!Array.isArray(chosen)) return null;
	const content = (chosen as readonly TokenLogprob[]).map((each, index) => ({
		...entryOf(each),
		top_logprobs: (result?.topCandidates?.[index]?.candidates ?? []).map(entryOf),
	}));
	return { content, refusal: null };
}

function entryOf({ token = "", logProbability = 0 }: TokenLogprob) {
	return { token, logprob: logProbability, bytes: [...Buffer.from(token)] };
}
