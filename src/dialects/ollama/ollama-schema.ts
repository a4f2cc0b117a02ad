/**
 * What clients of Ollama's API may send (ollama-js 0.6, ollama-python 0.6; api/types.go). Unknown fields are let through at every level, as
 * Ollama does.
 */
import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { LazyCheck } from "../../lazy-check.ts";
import { open, optional } from "../../openai/request-fields.ts";

const object = <T extends Record<string, TSchema>>(properties: T) => Type.Object(properties, open);
const text = optional(Type.String());
const number = optional(Type.Number());
const flag = optional(Type.Boolean());
const images = optional(Type.Array(Type.String()));

const ROLES = ["system", "user", "assistant", "tool"] as const;

const call = object({
	id: text,
	function: object({ name: Type.String({ minLength: 1 }), arguments: Type.Optional(Type.Unknown()) }),
});

const message = object({
	role: Type.Union(
		ROLES.map((role) => Type.Literal(role)),
		{ expects: 'one of "system", "user", "assistant" and "tool"' },
	),
	content: text,
	thinking: text,
	images,
	tool_calls: optional(Type.Array(call)),
	tool_name: text,
	tool_call_id: text,
});

const tool = object({
	type: text,
	function: object({
		name: Type.String({ minLength: 1 }),
		description: text,
		parameters: optional(Type.Object({}, open)),
	}),
});

const options = optional(
	object({
		num_predict: number,
		temperature: number,
		top_k: number,
		top_p: number,
		min_p: number,
		typical_p: number,
		seed: number,
		repeat_penalty: number,
		presence_penalty: number,
		frequency_penalty: number,
		stop: optional(Type.Union([Type.String(), Type.Array(Type.String())])),
	}),
);

const model = Type.String({ minLength: 1, maxLength: 512, examples: ["dummy"] });
const keep_alive = optional(Type.Union([Type.String(), Type.Number()], { expects: 'a duration, such as "5m" or 300' }));

/** What chats and completions have in common. */
const generated = {
	model,
	stream: flag,
	format: optional(Type.Union([Type.String(), Type.Object({}, open)], { expects: '"json" or a JSON schema' })),
	options,
	keep_alive,
	think: optional(Type.Union([Type.Boolean(), Type.String()], { expects: 'true, false, "low", "medium" or "high"' })),
	logprobs: flag,
	top_logprobs: optional(Type.Integer({ minimum: 0, maximum: 20 })),
};

/** `POST /api/chat`. */
export const OllamaChat = object({
	...generated,
	messages: optional(Type.Array(message, { examples: [[{ role: "user", content: "hi" }]] })),
	tools: optional(Type.Array(tool)),
});
/** `POST /api/chat`. */
export type OllamaChat = Static<typeof OllamaChat>;
/** A message of a chat. */
export type OllamaMessage = NonNullable<OllamaChat["messages"]>[number] & Readonly<Record<string, unknown>>;

/** `POST /api/generate`. */
export const OllamaGenerate = object({
	...generated,
	prompt: optional(Type.String({ examples: ["Say hello"] })),
	suffix: text,
	system: text,
	template: text,
	images,
	raw: flag,
});
/** `POST /api/generate`. */
export type OllamaGenerate = Static<typeof OllamaGenerate>;

/** `POST /api/embed`. */
export const OllamaEmbed = object({
	model,
	input: Type.Union([Type.String(), Type.Array(Type.String())], {
		expects: "a string or a list of strings",
		examples: ["hello"],
	}),
	dimensions: optional(Type.Integer({ minimum: 1 })),
	options,
	keep_alive,
});
/** `POST /api/embed`. */
export type OllamaEmbed = Static<typeof OllamaEmbed>;

/** `POST /api/embeddings`, the older form of it. */
export const OllamaEmbeddings = object({
	model,
	prompt: optional(Type.String({ examples: ["hello"] })),
	options,
	keep_alive,
});
/** `POST /api/embeddings`. */
export type OllamaEmbeddings = Static<typeof OllamaEmbeddings>;

/** What names a model and says no more of it that is read: `show`, `pull`; older clients call it `name`. */
export const OllamaNamed = object({ model: text, name: text, stream: flag });
/** What names a model. */
export type OllamaNamed = Static<typeof OllamaNamed>;

/** By what they are of. */
export const OLLAMA_REQUESTS = {
	chat: new LazyCheck(OllamaChat),
	generate: new LazyCheck(OllamaGenerate),
	embed: new LazyCheck(OllamaEmbed),
	embeddings: new LazyCheck(OllamaEmbeddings),
	named: new LazyCheck(OllamaNamed),
} as const;
