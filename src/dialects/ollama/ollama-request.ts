/** Requests in OpenAI's words. */
import type { Operation } from "../../openai/operations.ts";
import { leftOutNames } from "../client-fields.ts";
import { plainToolName, wholeToolNames } from "../tool-names.ts";
import { ollamaMessages, withImages } from "./ollama-messages.ts";
import { chatLogprobs, chatOptions, isThoughtless, responseFormat, thinkEffort } from "./ollama-options.ts";
import type { OllamaChat, OllamaEmbed, OllamaEmbeddings, OllamaGenerate, OllamaMessage } from "./ollama-schema.ts";
import { ollamaRefusal } from "./ollama-validation.ts";

type Json = Readonly<Record<string, unknown>>;

/** A request, translated. */
export interface OllamaTranslation {
	readonly operation: Operation;
	/** The request of that operation. */
	readonly body: Json;
	/** What has no form in it. */
	readonly leftOut: readonly string[];
	readonly isThoughtless?: boolean;
	/** Where each of its messages stands in the request: `messages[2]`, `prompt`. */
	readonly messagePaths?: readonly string[] | undefined;
	/** Whole names of tools that are sent short, by those. */
	readonly toolNames?: ReadonlyMap<string, string> | undefined;
	/** The answer goes on with the last message. */
	readonly prefills?: boolean;
	/** Nothing is asked: the model is to be loaded, or, at `keep_alive: 0`, unloaded. */
	readonly asks?: "load" | "unload" | undefined;
}

class LeftOut {
	readonly #names = new Set<string>();
	readonly add = (name: string): void => {
		this.#names.add(name);
	};

	get names(): readonly string[] {
		return leftOutNames(this.#names);
	}
}

/** Durations that end a model's stay in memory at once. */
const isZero = (keepAlive: OllamaChat["keep_alive"]): boolean =>
	keepAlive === 0 || (typeof keepAlive === "string" && /^0+(?:\.0+)?(?:ns|us|µs|ms|s|m|h)?$/.test(keepAlive));

const emptyAsks = (keepAlive: OllamaChat["keep_alive"]) => (isZero(keepAlive) ? "unload" : "load");

/** What a chat's request must hold, for those that ask nothing. */
const NOTHING_ASKED: Json = { messages: [{ role: "user", content: "" }] };

/** `POST /api/chat`. `model` is the name that is known here. */
export function translatedChat(request: OllamaChat, model: string): OllamaTranslation {
	const { messages: sent, tools, stream, keep_alive } = request;
	const messages = (sent ?? []) as readonly OllamaMessage[];
	const leftOut = new LeftOut();
	if (messages.length === 0) {
		return { operation: "chat", body: { model, ...NOTHING_ASKED }, leftOut: [], asks: emptyAsks(keep_alive) };
	}
	const fields = generatedFields(request, leftOut);
	// What the model shows no server takes back.
	if (messages.some(({ role, images }) => role === "assistant" && images?.length)) leftOut.add("messages.images");
	const translated = ollamaMessages(messages);
	const last = messages.at(-1)!;
	return {
		operation: "chat",
		body: {
			model,
			messages: translated.messages,
			...(tools?.length ? { tools: tools.map(chatTool) } : {}),
			...(stream === false ? {} : { stream: true }),
			...fields,
		},
		messagePaths: translated.paths,
		leftOut: leftOut.names,
		isThoughtless: isThoughtless(request.think),
		toolNames: wholeToolNames(
			(tools ?? []).map(({ function: { name } }) => name),
			plainToolName,
		),
		prefills: last.role === "assistant" && !last.tool_calls?.length,
	};
}

const chatTool = ({ function: { name, description, parameters } }: NonNullable<OllamaChat["tools"]>[number]): Json => ({
	type: "function",
	function: { name: plainToolName(name), description: description || undefined, parameters: parameters ?? undefined },
});

/** What chats and completions have in common but for their prompt, of a chat. */
function generatedFields(request: OllamaChat | OllamaGenerate, leftOut: LeftOut): Json {
	const { options, format, think } = request;
	return {
		...chatOptions(options, "max_completion_tokens", leftOut.add),
		response_format: responseFormat(format),
		reasoning_effort: thinkEffort(think),
		...chatLogprobs(request),
	};
}

/** `POST /api/generate`: a chat of one turn; with `raw`, or text to stand behind the answer, a text completion. */
export function translatedGenerate(request: OllamaGenerate, model: string): OllamaTranslation {
	const { prompt, suffix, system, raw, images, stream, keep_alive } = request;
	const leftOut = new LeftOut();
	if (!prompt) {
		return { operation: "chat", body: { model, ...NOTHING_ASKED }, leftOut: [], asks: emptyAsks(keep_alive) };
	}
	const { template, context } = request as OllamaGenerate & { context?: unknown };
	const hasContext = Array.isArray(context) && context.length > 0;
	if (raw && (template || system || hasContext)) {
		throw ollamaRefusal("raw", "goes without template, system and context: raw mode does not support them");
	}
	// Prompts are the upstream's to put into its model's template, and its tokens nobody else knows.
	if (template) leftOut.add("template");
	if (hasContext) leftOut.add("context");
	const streamed = stream === false ? {} : { stream: true };
	if (raw || suffix) return completion(request, { model, ...streamed }, leftOut);
	const messages = [
		...(system ? [{ role: "system", content: system }] : []),
		{ role: "user", content: withImages(prompt, images) },
	];
	return {
		operation: "chat",
		body: { model, messages, ...streamed, ...generatedFields(request, leftOut) },
		messagePaths: [...(system ? ["system"] : []), "prompt"],
		leftOut: leftOut.names,
		isThoughtless: isThoughtless(request.think),
	};
}

function completion(request: OllamaGenerate, head: Json, leftOut: LeftOut): OllamaTranslation {
	const { prompt, suffix, system, images, options, format, think, logprobs } = request;
	if (images?.length) throw ollamaRefusal("images", "goes with a prompt alone, without raw and suffix");
	if (system) leftOut.add("system");
	if (think) leftOut.add("think");
	if (logprobs) leftOut.add("logprobs");
	const body = {
		...head,
		prompt,
		suffix: suffix || undefined,
		...chatOptions(options, "max_tokens", leftOut.add),
		response_format: responseFormat(format),
	};
	return { operation: "completions", body, leftOut: leftOut.names };
}

/** `POST /api/embed`. */
export function translatedEmbed({ input, dimensions, keep_alive }: OllamaEmbed, model: string): OllamaTranslation {
	const isEmpty = input.length === 0;
	return {
		operation: "embeddings",
		body: { model, input: isEmpty ? " " : input, dimensions: dimensions ?? undefined },
		leftOut: [],
		asks: isEmpty ? emptyAsks(keep_alive) : undefined,
	};
}

/** `POST /api/embeddings`. */
export const translatedEmbeddings = ({ prompt, keep_alive }: OllamaEmbeddings, model: string): OllamaTranslation =>
	translatedEmbed({ model, input: prompt ?? "", keep_alive: keep_alive ?? null }, model);
