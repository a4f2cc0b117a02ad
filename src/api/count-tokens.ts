/** `POST /v1/messages/count_tokens`, `POST /v1/responses/input_tokens` and Google's `:countTokens`. */
import { anthropicMessages, countedRequest } from "../dialects/anthropic-messages/messages-dialect.ts";
import { countedContents, gemini } from "../dialects/gemini/gemini-dialect.ts";
import { openAiResponses } from "../dialects/openai-responses/index.ts";
import type { Peers } from "../http/client-address.ts";
import { utf8Text } from "../openai/validation.ts";
import type { CallContext } from "./call-context.ts";
import { countCall } from "./token-counts.ts";

/** In the words of Anthropic's clients. Throws what `countCall` does. */
export async function countTokens(
	context: CallContext,
	request: Request,
	_name: string,
	server: Peers | null,
): Promise<Response> {
	const { tokens, headers } = await countCall(context, request, server, anthropicMessages, (sent) =>
		countedRequest(utf8Text(sent), request.headers),
	);
	return Response.json({ input_tokens: tokens }, { headers });
}

/** In the words of Google's clients. Throws what `countCall` does. */
export async function countContents(context: CallContext, request: Request, server: Peers | null): Promise<Response> {
	const { tokens, headers } = await countCall(context, request, server, gemini, (sent) =>
		countedContents(utf8Text(sent), request.url),
	);
	return Response.json({ totalTokens: tokens }, { headers });
}

/** In the words of OpenAI's clients. Throws what `countCall` does. */
export async function countInputTokens(
	context: CallContext,
	request: Request,
	_name: string,
	server: Peers | null,
): Promise<Response> {
	const { tokens, headers } = await countCall(context, request, server, openAiResponses, async (sent, _, caller) => {
		const references = openAiResponses.references?.(sent);
		const earlier = references && (await context.responses?.earlier(references, request, caller));
		return openAiResponses.parse("chat", sent, undefined, earlier);
	});
	return Response.json({ object: "response.input_tokens", input_tokens: tokens }, { headers });
}
