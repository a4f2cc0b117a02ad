/** Whole answers for a client that speaks Google's wire itself: they go on as they came, and OpenAI's JSON is made where somebody asks for it. */
import type { Call } from "../../openai/call.ts";
import type { Failure } from "../failure.ts";
import { OwnAnswer } from "../passed-own.ts";
import type { Answer } from "../provider.ts";
import {
	AS_IT_CAME,
	blocked,
	candidateFinish,
	type GenerateResponse,
	generatedAnswer,
	generatedTokens,
	isGenerated,
} from "./response.ts";

/**
 * The answer, or the failure that it is.
 * @param text its JSON
 * @param response that, parsed
 */
export function ownGeneratedAnswer(text: string, response: unknown, call: Call, model: string): Answer | Failure {
	const translated = () => generatedAnswer(response, call, model, AS_IT_CAME);
	if (!isGenerated(response) || !isWhole(response)) return translated();
	const { candidates, usageMetadata } = response;
	// What is signed of calls is stored.
	const isStored = candidates!.some(({ content }) => content?.parts?.some(({ functionCall }) => functionCall));
	const facts = { saysMore: saysMore(response), tokens: generatedTokens(usageMetadata), isStored };
	return new OwnAnswer(text, facts, () => translated() as Answer);
}

/** Whether all that it has ended well. */
function isWhole(response: GenerateResponse): boolean {
	const { candidates } = response;
	if (!candidates?.length || blocked(response)) return false;
	return candidates.every(({ finishReason }) => typeof candidateFinish(finishReason ?? "", false) === "string");
}

/** What of a part OpenAI's words have a form for, and what beside the parts they have none for that comes back. */
const SAID = new Set(["text", "thought", "thoughtSignature", "functionCall", "inlineData"]);
const BESIDE = ["groundingMetadata", "citationMetadata", "urlContextMetadata"];

/** Whether an answer holds what OpenAI's words have no form for. */
function saysMore({ candidates }: GenerateResponse): boolean {
	return (candidates ?? []).some(
		(candidate) =>
			BESIDE.some((name) => (candidate as Record<string, unknown>)[name] !== undefined) ||
			(candidate.content?.parts ?? []).some((part) => Object.keys(part).some((name) => !SAID.has(name))),
	);
}
