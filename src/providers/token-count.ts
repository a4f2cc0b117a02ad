/** How upstreams are asked how many tokens a call has to read, made of the request for the call itself; and what they answer. */
import { numberIn, objectIn } from "../openai/usage.ts";
import type { TokenCounter, UpstreamRequest } from "./provider.ts";

/** More than any prompt has. */
const MOST = 1_000_000_000;

const countIn = (answer: unknown, field: string): number | undefined => {
	const count = numberIn(objectIn(answer)?.[field], MOST);
	return count === undefined ? undefined : Math.ceil(count);
};

/** The request's JSON; undefined where it has none. */
function bodyOf({ body }: UpstreamRequest): Readonly<Record<string, unknown>> | undefined {
	if (body === undefined) return undefined;
	if (typeof body === "object" && "read" in body) return undefined;
	return objectIn(JSON.parse(typeof body === "string" ? body : Buffer.concat(body).toString()));
}

/** Those of the fields that are there. */
const picked = (body: Readonly<Record<string, unknown>>, names: readonly string[]) =>
	Object.fromEntries(names.flatMap((name) => (body[name] === undefined ? [] : [[name, body[name]]])));

const CLAUDES = ["model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control"];

/** Anthropic's `count_tokens` (SDK 1.14, MessageCountTokensParams). */
export const CLAUDE_COUNTER: TokenCounter = {
	request(request) {
		const body = bodyOf(request);
		return body && { ...request, url: `${request.url}/count_tokens`, body: JSON.stringify(picked(body, CLAUDES)) };
	},
	read: (answer) => countIn(answer, "input_tokens"),
};

/** Google's `countTokens` (@google/genai 2.32). */
export const GEMINI_COUNTER: TokenCounter = {
	request(request) {
		const body = bodyOf(request);
		const [, path] = /\/((?:models|tunedModels)\/[^/:]+):generateContent$/.exec(request.url) ?? [];
		if (!body || path === undefined) return undefined;
		const generateContentRequest = { model: decodeURIComponent(path), ...body };
		const url = request.url.replace(/:generateContent$/, ":countTokens");
		return { ...request, url, body: JSON.stringify({ generateContentRequest }) };
	},
	read: (answer) => countIn(answer, "totalTokens"),
};

const OF_RESPONSES = [
	"model",
	"input",
	"instructions",
	"tools",
	"tool_choice",
	"parallel_tool_calls",
	"reasoning",
	"text",
];

/** OpenAI's `/responses/input_tokens` (openai-node 6, InputTokenCountParams), for calls that go there as they came. */
export const RESPONSES_COUNTER: TokenCounter = {
	request(request) {
		const body = /\/responses$/.test(request.url) ? bodyOf(request) : undefined;
		return body && { ...request, url: `${request.url}/input_tokens`, body: JSON.stringify(picked(body, OF_RESPONSES)) };
	},
	read: (answer) => countIn(answer, "input_tokens"),
};

const VLLMS = ["model", "messages", "tools", "chat_template_kwargs"];

/** vLLM's `/tokenize`, which stands beside its API and uses the model's own chat template. */
export const VLLM_COUNTER: TokenCounter = {
	request(request) {
		const body = bodyOf(request);
		if (!body?.["messages"] || !/\/chat\/completions$/.test(request.url)) return undefined;
		const url = request.url.replace(/(?:\/v\d[^/]*)?\/chat\/completions$/, "/tokenize");
		return { ...request, url, body: JSON.stringify({ ...picked(body, VLLMS), add_generation_prompt: true }) };
	},
	read: (answer) => countIn(answer, "count"),
};
