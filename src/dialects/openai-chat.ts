/** OpenAI's own wire: chat completions, text completions and embeddings. The hub itself, so that nearly all passes as it is. */

import { foldStream } from "../openai/answer-forms.ts";
import { parseRequest } from "../openai/call.ts";
import { DONE, KEEP_ALIVE, sseComment, sseData, textOf } from "../openai/sse.ts";
import { withCost } from "../openai/usage-edits.ts";
import type { Dialect, StreamEnd, StreamWriter } from "./dialect.ts";

/** Keeps no state: one for all streams. */
const writer: StreamWriter = {
	keepAlive: `${KEEP_ALIVE}\n\n`,
	push: (piece) => piece,
	end: (end) => usageEvent(end) + summary(end) + DONE,
	error: (error) => sseData(JSON.stringify(error.body)),
};

/** `/v1/chat/completions`, `/v1/completions` and `/v1/embeddings`. */
export const openAiChat: Dialect = {
	contentType: "application/json",
	streamContentType: "text/event-stream; charset=utf-8",
	parse: parseRequest,
	answer: (answer, costUsd) => (costUsd === undefined ? answer : withCost(textOf(answer), costUsd)),
	stream: () => writer,
	fold: foldStream,
	error: (error, headers) => error.response(headers),
};

function usageEvent({ usageChunk, tellsCost, cost }: StreamEnd): string {
	if (usageChunk === undefined) return "";
	return sseData(tellsCost && cost !== undefined ? withCost(usageChunk, cost) : usageChunk);
}

/** As a comment, which clients skip. */
function summary({ provider, model, agent, attempts, cache, tokens, isEstimated, cost }: StreamEnd): string {
	const estimated = isEstimated || undefined;
	const facts = { provider, model, agent, attempts, cache, usage: tokens, estimated, cost_usd: cost };
	return sseComment(`router ${JSON.stringify(facts)}`);
}
