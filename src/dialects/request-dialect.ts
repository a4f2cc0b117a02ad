/** The wire of a request that no call has come of, so that its error is one that its client can read. */
import { anthropicMessages } from "./anthropic-messages/messages-dialect.ts";
import type { Dialect } from "./dialect.ts";
import { openAiChat } from "./openai-chat.ts";

const MESSAGES = /^\/v1\/messages(?:\/|$)/;
const MODELS = /^\/v1\/models(?:\/|$)/;

/** Anthropic's clients name the version of their API with each request. */
export const isAnthropics = (headers: Headers): boolean => headers.has("anthropic-version");

/** By its path, and where several wires have the same path by its headers. */
export function dialectOf(path: string, headers: Headers): Dialect {
	if (MESSAGES.test(path) || (MODELS.test(path) && isAnthropics(headers))) return anthropicMessages;
	return openAiChat;
}
