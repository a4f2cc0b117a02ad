/** Calls to `/responses` of a server that speaks it: in the client's own words, or a chat that OpenAI takes there alone. */
import type { Call } from "../../openai/call.ts";
import { encoded } from "../../openai/chat.ts";
import {
	type Addition,
	CHAT_COMPLETIONS,
	CHAT_TOOLS,
	ENCRYPTED,
	NATIVE_RESPONSES,
	PARTIAL_RESPONSES,
	SENT_THOUGHTS,
} from "../failure.ts";
import type { EncodeOptions, RequestInputs, UpstreamRequest } from "../provider.ts";
import type { Upstream } from "../registry.ts";
import { unsupportedFields } from "../unsupported-fields.ts";
import { chatAsResponse } from "./chat-as-response.ts";

/** Models of OpenAI's that don't think. */
const THOUGHTLESS = /(?:^|\/)(?:chatgpt|gpt-[34])/i;

/** A call, and how it is put. */
export interface ResponsesCall {
	readonly upstream: Upstream;
	readonly call: Call;
	readonly model: string;
	readonly headers: Record<string, string>;
	readonly inputs: RequestInputs;
	readonly options: EncodeOptions | undefined;
}

/** Its request; undefined where it is made by chat completions. Throws RouterError naming what of a chat has no form in Responses. */
export function responsesRequest(asked: ResponsesCall): UpstreamRequest | undefined {
	const { call, options } = asked;
	return (call.responses && ownRequest(asked)) ?? (belongsThere(call, options?.omit) ? translated(asked) : undefined);
}

/** Whether the server takes this chat as a response alone. */
function belongsThere(call: Call, omit: EncodeOptions["omit"]): boolean {
	if (omit?.has(NATIVE_RESPONSES)) return false;
	if (omit?.has(CHAT_COMPLETIONS)) return true;
	if (!omit?.has(CHAT_TOOLS)) return false;
	const { tools, reasoning_effort: effort } = call.body().value;
	return Array.isArray(tools) && tools.length > 0 && effort !== "none";
}

const asksReasoning = ({ upstream, model, options }: ResponsesCall): boolean =>
	upstream.responses!.encrypts !== undefined && !options?.omit?.has(ENCRYPTED) && !THOUGHTLESS.test(model);

/** In the client's own words; undefined where the server has none, or not these. */
function ownRequest(asked: ResponsesCall): UpstreamRequest | undefined {
	const { upstream, call, model, headers, options } = asked;
	const omit = options?.omit;
	if (omit?.has(NATIVE_RESPONSES) || omit?.has(PARTIAL_RESPONSES)) return undefined;
	const support = upstream.responses!;
	const own = call.responses!.own(model, support, asksReasoning(asked), omit?.has(SENT_THOUGHTS));
	if (!own) return undefined;
	const added: Addition[] = [NATIVE_RESPONSES];
	if (own.hasAddedReasoning) added.push(ENCRYPTED);
	if (own.hasThoughts) added.push(SENT_THOUGHTS);
	if (!support.isOpenAi) added.push(PARTIAL_RESPONSES);
	return { url: `${upstream.baseUrl}/responses`, stream: call.stream, added, body: own.body, headers };
}

/** A chat in the words of Responses. */
function translated(asked: ResponsesCall): UpstreamRequest {
	const { upstream, call, model, headers, inputs, options } = asked;
	const { stream } = call;
	const fields = unsupportedFields(call, upstream, options, call.leftOut?.());
	const hasThoughts = asksReasoning(asked);
	const withoutThoughts = options?.omit?.has(SENT_THOUGHTS) === true;
	const terms = { model, stream, inputs, fields, asksReasoning: hasThoughts, withoutThoughts };
	const body = encoded(() => chatAsResponse(call.body().value, terms));
	const added: Addition[] = [NATIVE_RESPONSES];
	if (hasThoughts) added.push(ENCRYPTED);
	if (!withoutThoughts) added.push(SENT_THOUGHTS);
	return { url: `${upstream.baseUrl}/responses`, stream, added, body, headers, dropped: fields.dropped };
}
