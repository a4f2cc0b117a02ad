/** `/v2/rerank` as Cohere's clients speak it. Requests and answers pass as they are; errors have their text where those clients look for it. */
import type { Dialect } from "./dialect.ts";
import { openAiChat } from "./openai-chat.ts";

/** OpenAI's error beside a `message` of Cohere's (its API reference, "Errors"). */
export const cohereRerank: Dialect = {
	...openAiChat,
	id: "cohere-rerank",
	error(error, sent) {
		const { status, headers } = error.response(sent);
		return new Response(JSON.stringify({ message: error.message, ...error.body }), { status, headers });
	},
};
