/** The prompt of a call that goes to an engine: as its router knows it, and as `/tokenize` wants it. Pure. */
import { parseRequest } from "../../dialects/openai-chat.ts";
import { RouterError } from "../../errors.ts";
import type { UpstreamRequest } from "../../providers/provider.ts";
import { type Prompt, promptOf } from "../../routing/affinity.ts";

/** A prompt. */
export interface ReadPrompt {
	readonly prompt: Prompt;
	/** The body of a request to `/tokenize` whose answer has the tokens that the engine computes for the call. */
	readonly tokenize: string;
}

/** Operations by the ends of their paths, with the fields that decide about a prompt's tokens. */
const OPERATIONS = [
	{
		path: "/v1/chat/completions",
		operation: "chat",
		fields: [
			"model",
			"messages",
			"tools",
			"add_generation_prompt",
			"continue_final_message",
			"add_special_tokens",
			"chat_template_kwargs",
		],
	},
	{ path: "/v1/completions", operation: "completions", fields: ["model", "prompt", "add_special_tokens"] },
] as const;

/**
 * Reads it. Undefined where nothing can be made of it: what is no text, or has no whole block of characters; several prompts at once; an
 * adapter's call; blocks that nobody else is to share.
 * @param model of the engine
 */
export function readPrompt(request: UpstreamRequest, model: string): ReadPrompt | undefined {
	const found = OPERATIONS.find(({ path }) => request.url.endsWith(path));
	const bytes = bytesOf(request.body);
	if (!found || !bytes) return undefined;
	try {
		const { images, texts } = parseRequest(found.operation, bytes).facts.promptContent();
		const prompt = promptOf("", texts);
		const body = JSON.parse(bytes.toString()) as Record<string, unknown>;
		const isOne = found.operation === "chat" || typeof body["prompt"] === "string";
		if (images > 0 || prompt.blocks.length === 0 || !isOne) return undefined;
		if (body["model"] !== model || body["cache_salt"] != null) return undefined;
		const kept = found.fields.flatMap((field) => (body[field] == null ? [] : [[field, body[field]]]));
		return { prompt, tokenize: JSON.stringify(Object.fromEntries(kept)) };
	} catch (thrown) {
		// The engine refuses it, too.
		if (thrown instanceof RouterError || thrown instanceof SyntaxError) return undefined;
		throw thrown;
	}
}

function bytesOf(body: UpstreamRequest["body"]): Buffer | undefined {
	if (typeof body === "string") return Buffer.from(body);
	return Array.isArray(body) ? Buffer.concat(body as Buffer[]) : undefined;
}
