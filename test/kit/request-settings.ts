/** What a request sets, as each way to read it tells. */
import type { ParsedRequest } from "../../src/openai/call.ts";

/** The settings that routing, limits and rules read, the stream's included. */
export function settingsOf({ facts, stream }: Pick<ParsedRequest, "facts" | "stream">) {
	const { model, user, showsUsage, temperature, maxTokens, choices, modalities, hasEffects, fallbackModels } = facts;
	return {
		model,
		user,
		showsUsage,
		temperature,
		maxTokens,
		choices,
		modalities,
		hasEffects,
		fallbackModels,
		stream,
	};
}
