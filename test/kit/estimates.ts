/** How far the estimate of a prompt's tokens is from what was really counted, on the recorded calls. */
import { estimatedTokens } from "../../src/accounts/usage/token-estimate.ts";
import { parseRequest } from "../../src/dialects/openai-chat.ts";
import type { Json, Loose } from "./exchange.ts";
import { type Recording, recordings } from "./recordings.ts";
import { openAiOfAnthropic, openAiOfGemini } from "./vendor-reverse.ts";

const FOLDERS = ["openai", "anthropic", "gemini", "openrouter", "xai", "venice", "vllm"];

/** One recorded call. */
export interface Estimate {
	readonly id: string;
	readonly estimated: number;
	readonly counted: number;
}

/** Those that say both what was asked and how many tokens that was. Throws where the recordings are missing. */
export function estimates(): Estimate[] {
	return FOLDERS.flatMap(recordings).flatMap((recording) => {
		const body = bodyOf(recording);
		const counted = countedIn(recording);
		if (!body || !counted || recording.response.status !== 200) return [];
		const operation = "input" in body ? "embeddings" : "prompt" in body ? "completions" : "chat";
		const parsed = parseRequest(operation, JSON.stringify(body));
		return [{ id: recording.id, estimated: estimatedTokens({ ...parsed, operation }), counted }];
	});
}

/** The value that this share of the values stays below. */
export function percentile(values: readonly number[], share: number): number {
	const sorted = values.toSorted((a, b) => a - b);
	return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

function bodyOf({ provider, request }: Recording): Json | undefined {
	const body = request?.body;
	if (!body || request.path.endsWith("/v1/responses")) return undefined;
	if (provider === "anthropic") return { ...openAiOfAnthropic(body), model: "m" };
	if (provider === "gemini") return { ...openAiOfGemini("gemini-2.5-flash", false, body), model: "m" };
	return body;
}

function countedIn({ response }: Recording): number | undefined {
	let counted: number | undefined;
	const look = (value: Loose) => {
		const usage: Loose | undefined = value?.["usage"] ?? value?.["usageMetadata"] ?? value?.["message"]?.usage;
		const { prompt_tokens, promptTokenCount, input_tokens } = usage ?? {};
		const cached = (usage?.["cache_read_input_tokens"] ?? 0) + (usage?.["cache_creation_input_tokens"] ?? 0);
		counted = prompt_tokens ?? promptTokenCount ?? (input_tokens === undefined ? counted : input_tokens + cached);
	};
	if (response.sse === undefined) for (const piece of [response.body].flat()) look(piece as Loose);
	else for (const [, data] of response.sse.matchAll(/^data:\s*(\{.*\})\s*$/gm)) look(JSON.parse(data!) as Loose);
	return counted;
}
