/** The wire of a request that no call has come of, so that its error is one that its client can read. */
import { anthropicMessages } from "./anthropic-messages/messages-dialect.ts";
import { cohereRerank } from "./cohere-rerank.ts";
import type { Dialect } from "./dialect.ts";
import { gemini } from "./gemini/gemini-dialect.ts";
import { ollamaChat } from "./ollama/ollama-dialect.ts";
import { openAiChat } from "./openai-chat.ts";

const MESSAGES = /^\/v1\/messages(?:\/|$)/;
const COHERE = /^\/v2\/rerank(?:\/|$)/;
const OLLAMA = /^\/api\//;
const MODELS = /^\/v1\/models(?:\/|$)/;
/** Google's versions, and its methods behind a colon, with or without one. */
const GOOGLES =
	/^(?:[a-z]+:\/\/[^/?#]*)?\/(?:(?:upload\/)?v1(?:alpha|beta\d?)(?:[/?#]|$)|(?:v1\/)?models\/[^?#]*:[a-z]+[A-Z][A-Za-z]*(?:[/?#]|$))/;
const KEY_IN_URL = /[?&]key=/;

/** Anthropic's clients name the version of their API with each request. */
export const isAnthropics = (headers: Headers): boolean => headers.has("anthropic-version");

/** Google's clients have paths of their own, or name themselves, or their key as Google has it. */
export const isGoogles = (url: string, headers: Headers): boolean =>
	GOOGLES.test(url) || headers.has("x-goog-api-key") || headers.has("x-goog-api-client") || KEY_IN_URL.test(url);

/** By its path, and where several wires have the same path by its headers. */
export function dialectOf(path: string, headers: Headers): Dialect {
	if (MESSAGES.test(path)) return anthropicMessages;
	if (GOOGLES.test(path)) return gemini;
	if (COHERE.test(path)) return cohereRerank;
	// All of its dialects have the same errors.
	if (OLLAMA.test(path)) return ollamaChat;
	if (!MODELS.test(path)) return openAiChat;
	if (isGoogles(path, headers)) return gemini;
	return isAnthropics(headers) ? anthropicMessages : openAiChat;
}
