/** The official client, unmodified but for where it calls and with which key. */
import OpenAI from "openai";
import type { ChatCompletionCreateParamsNonStreaming, ChatCompletionCreateParamsStreaming } from "openai/resources";
import type { Exchange } from "./exchange.ts";
import { CLIENT_KEY } from "./rig.ts";

/** A client of the router at `url`. It does not retry, so that a test sees the first answer. */
export const openAiClient = (url: string): OpenAI =>
	new OpenAI({ baseURL: `${url}/v1`, apiKey: CLIENT_KEY, maxRetries: 0 });

/** A fixture's request as the client's parameters. */
export const params = (exchange: Exchange): ChatCompletionCreateParamsNonStreaming =>
	exchange.request.body as unknown as ChatCompletionCreateParamsNonStreaming;

/** The same for a streamed call. */
export const streamParams = (exchange: Exchange): ChatCompletionCreateParamsStreaming =>
	exchange.request.body as unknown as ChatCompletionCreateParamsStreaming;
