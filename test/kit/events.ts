/** Events of a chat stream, as text ready for the wire. */
import type { Json } from "./exchange.ts";

/** One event. */
export const event = (payload: unknown): string => `data: ${JSON.stringify(payload)}\n\n`;

/** The mark of a good end. */
export const DONE = "data: [DONE]\n\n";

const base = { id: "chatcmpl-kit", object: "chat.completion.chunk", created: 1_760_000_000, model: "kit-model" };

/** A chunk with one choice. */
export const choiceEvent = (delta: Json, finish_reason: string | null = null): string =>
	event({ ...base, choices: [{ index: 0, delta, finish_reason }] });

/** A chunk with a piece of text. */
export const textEvent = (content: string): string => choiceEvent({ content });

/** The chunk that says why the answer ended. */
export const finishEvent = (reason = "stop"): string => choiceEvent({}, reason);

/** The chunk with usage and no choices. */
export const usageEvent = (): string =>
	event({ ...base, choices: [], usage: { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 } });

/** A whole good stream of n pieces of text. */
export const goodStream = (n = 3): string[] => [
	choiceEvent({ role: "assistant", content: "" }),
	...Array.from({ length: n }, (_, index) => textEvent(`word${index} `)),
	finishEvent(),
	usageEvent(),
	DONE,
];
