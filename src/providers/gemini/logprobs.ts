/** Gemini's log probabilities, as OpenAI's. */
import { type Static, Type } from "@sinclair/typebox";
import { open } from "../../openai/request-fields.ts";

const TokenLogprob = Type.Object(
	{ token: Type.Optional(Type.String()), logProbability: Type.Optional(Type.Number()) },
	open,
);

/** As a candidate brings them. */
export const LogprobsResult = Type.Object(
	{
		chosenCandidates: Type.Optional(Type.Array(TokenLogprob)),
		topCandidates: Type.Optional(
			Type.Array(Type.Object({ candidates: Type.Optional(Type.Array(TokenLogprob)) }, open)),
		),
	},
	open,
);

/** `choices[].logprobs`; null where there are none. */
export function logprobsOf(result: Static<typeof LogprobsResult> | null | undefined): object | null {
	if (!result?.chosenCandidates) return null;
	const content = result.chosenCandidates.map((each, index) => ({
		...entryOf(each),
		top_logprobs: (result.topCandidates?.[index]?.candidates ?? []).map(entryOf),
	}));
	return { content, refusal: null };
}

function entryOf({ token = "", logProbability = 0 }: Static<typeof TokenLogprob>) {
	return { token, logprob: logProbability, bytes: [...Buffer.from(token)] };
}
