/**
 * What a model that does as it is told answers, behind the strict fakes of OpenAI, Claude and Gemini: what the steps in its prompt say, else it calls the
 * tool that it must or can call, fits a schema, and else talks. Arguments are read off the prompt: its first number, its first quoted words.
 */
import type { Json, Loose } from "./exchange.ts";
import { dueStep, type Said } from "./scripted-steps.ts";
import { callsFunction, says } from "./strict-responses.ts";

/** A request, in words of neither vendor. */
interface PlainRequest {
	/** The user's last words. */
	readonly prompt: string;
	/** The whole conversation. */
	readonly said: readonly Said[];
	/** All of the system's words. */
	readonly system: string;
	/** The conversation ends with results of tools. */
	readonly hasResults: boolean;
	readonly tools: readonly { readonly name: string; readonly schema: Loose }[];
	/** `auto`, `any`, `none`, or the tools of which one must be called. */
	readonly choice: "auto" | "any" | "none" | readonly string[];
	/** Of the answer. */
	readonly schema?: Loose | undefined;
	/** The answer is to be JSON. */
	readonly isJson: boolean;
}

interface Reply {
	readonly text?: string;
	readonly call?: { readonly name: string; readonly args: unknown };
}

/** What it thinks, where it is asked to. */
export const THOUGHT = "I do as I am told.";
const TALK = "Hello! It is a fine day, and I can help you with whatever you like.";

function replyTo({ prompt, said, system, hasResults, tools, choice, schema, isJson }: PlainRequest): Reply {
	const step = schema || isJson ? undefined : dueStep(said, tools.length > 0 && choice !== "none");
	if (step) return "call" in step ? { call: { name: step.call, args: step.args } } : { text: step.say };
	const allowed = typeof choice === "string" ? tools : tools.filter(({ name }) => choice.includes(name));
	const isForced = choice !== "auto" && choice !== "none";
	// The one that the user speaks of; where the choice is free an instruction may name another for the end.
	const spoken = hasResults ? undefined : allowed.find(({ name }) => prompt.includes(name));
	const instructed = allowed.find(({ name }) => system.includes(`"${name}"`));
	// Behind results the last one, which the router put there for the answer.
	const tool = spoken ?? instructed ?? allowed.at(hasResults ? -1 : 0);
	if (tool && (isForced || (choice === "auto" && (!hasResults || instructed)))) {
		return { call: { name: tool.name, args: sample(tool.schema, prompt, tool.schema) } };
	}
	if (schema) return { text: JSON.stringify(sample(schema, prompt, schema)) };
	if (isJson || /json/i.test(`${system}\n${prompt}`)) return { text: JSON.stringify(named(prompt)) };
	return { text: TALK };
}

/** An object with the keys that stand in quotes in the prompt. */
const named = (prompt: string): Loose =>
	Object.fromEntries([...prompt.matchAll(/'(\w+)'/g)].map(([, key]) => [key, `a ${key}`]));

/** From so many schemas inside each other on, what need not be there is left out; from so many on there is an end. */
const DEEP = 10;
const DEEPEST = 40;

/** A value that fits the schema, with every property; of one inside itself, as far as it must be. */
function sample(schema: Loose, prompt: string, root: Loose, name = "value", level = 0): unknown {
	if (level > DEEPEST || !schema) return null;
	const inner = (of: Loose, called = name) => sample(of, prompt, root, called, level + 1);
	const { $ref, type, required, properties, items, anyOf, oneOf, allOf, const: constant } = schema;
	if (typeof $ref === "string") {
		const found = $ref
			.split("/")
			.slice(1)
			.reduce((node: Loose | undefined, key: string) => node?.[key], root);
		return inner(found!);
	}
	if (constant !== undefined) return constant;
	if (schema["enum"]) return schema["enum"][0];
	const branches = anyOf ?? oneOf ?? allOf;
	if (branches) return inner(branches.find((each: Loose) => each["type"] !== "null"));
	const kind = Array.isArray(type) ? type.find((each: string) => each !== "null") : type;
	if (kind === "object" || properties) {
		if (!properties) return named(prompt);
		const fields = Object.entries(properties as Record<string, Loose>);
		const wanted = level > DEEP ? fields.filter(([key]) => required?.includes(key)) : fields;
		return Object.fromEntries(wanted.map(([key, of]) => [key, inner(of, key)]));
	}
	if (kind === "array") return level > DEEP ? [] : [inner(items ?? {})];
	if (kind === "integer" || kind === "number") return Number(/\d+/.exec(prompt)?.[0] ?? 1);
	if (kind === "boolean") return true;
	if (kind === "null") return null;
	return /'([^']+)'/.exec(prompt)?.[1] ?? `a ${name}`;
}

const wordsOf = (content: unknown): string =>
	typeof content === "string"
		? content
		: Array.isArray(content)
			? content.map((part: Loose) => part["text"] ?? "").join("\n")
			: "";

let made = 0;

const claudeSaid = (content: string | Loose[]): Said[] =>
	typeof content === "string"
		? [{ user: content }]
		: content.flatMap((block): Said[] =>
				block["type"] === "tool_result"
					? [{ result: wordsOf(block["content"]) }]
					: block["type"] === "text"
						? [{ user: block["text"] }]
						: [],
			);

/** Claude's answer, as blocks. */
export function claudeReply(body: Loose): Loose[] {
	const messages = body["messages"] as Loose[];
	const { type = "auto", name } = body["tool_choice"] ?? {};
	const last = messages.at(-1)!["content"] as Loose[];
	const users = messages.filter(({ role, content }) => role === "user" && wordsOf(content).trim() !== "");
	const { text, call } = replyTo({
		prompt: wordsOf(users.at(-1)?.["content"]),
		said: messages.flatMap(({ role, content }) => (role === "user" ? claudeSaid(content) : [])),
		system: wordsOf(body["system"]),
		hasResults: last.some((block) => block["type"] === "tool_result"),
		tools: (body["tools"] ?? []).map((tool: Loose) => ({ name: tool["name"], schema: tool["input_schema"] })),
		choice: type === "tool" ? [name] : type,
		schema: body["output_config"]?.format?.schema,
		isJson: false,
	});
	const thinks = ["enabled", "adaptive"].includes(body["thinking"]?.type);
	const thought = thinks ? [{ type: "thinking", thinking: THOUGHT }] : [];
	if (call) return [...thought, { type: "tool_use", id: `toolu_${made++}`, name: call.name, input: call.args }];
	return [...thought, { type: "text", text }];
}

const MODES: Readonly<Record<string, PlainRequest["choice"]>> = {
	AUTO: "auto",
	VALIDATED: "auto",
	ANY: "any",
	NONE: "none",
};

const geminiSaid = ({ text, functionResponse }: Loose): Said[] =>
	functionResponse ? [{ result: JSON.stringify(functionResponse.response) }] : text ? [{ user: text }] : [];

/** Gemini's answer, as parts; a call is signed. */
export function geminiReply(body: Loose): Loose[] {
	const contents = body["contents"] as Loose[];
	const declared = ((body["tools"] ?? []) as Loose[]).flatMap((tool) => tool["functionDeclarations"] ?? []);
	const { mode = "AUTO", allowedFunctionNames: only } = body["toolConfig"]?.functionCallingConfig ?? {};
	const { responseMimeType, responseJsonSchema } = body["generationConfig"] ?? {};
	const users = contents.filter(({ role, parts }) => role === "user" && wordsOf(parts).trim() !== "");
	const { text, call } = replyTo({
		prompt: wordsOf(users.at(-1)?.["parts"]),
		said: contents.flatMap(({ parts }) => (parts as Loose[]).flatMap(geminiSaid)),
		system: wordsOf(body["systemInstruction"]?.parts),
		hasResults: (contents.at(-1)!["parts"] as Loose[]).some((part) => part["functionResponse"]),
		tools: declared.map((tool: Loose) => ({ name: tool["name"], schema: tool["parametersJsonSchema"] ?? {} })),
		choice: mode === "ANY" && only ? only : MODES[mode]!,
		schema: responseJsonSchema,
		isJson: responseMimeType === "application/json",
	});
	const thought = body["generationConfig"]?.thinkingConfig?.includeThoughts ? [{ text: THOUGHT, thought: true }] : [];
	if (call) {
		const functionCall = { id: `call${made++}`, name: call.name, args: call.args };
		return [...thought, { functionCall, sign: true }];
	}
	const half = Math.ceil(text!.length / 2);
	return [...thought, { text: text!.slice(0, half) }, { text: text!.slice(half) }];
}

/** OpenAI's answer: words or a call. */
export type OpenAiReply = Reply;

/** OpenAI's answer to a chat. */
export function openAiReply(body: Loose): OpenAiReply {
	const messages = body["messages"] as Loose[];
	const { tool_choice: choice = "auto", response_format: format } = body;
	const by = (...roles: string[]) => messages.filter(({ role }) => roles.includes(role));
	return replyTo({
		prompt: wordsOf(by("user").at(-1)?.["content"]),
		said: chatSaid(messages),
		system: by("system", "developer")
			.map(({ content }) => wordsOf(content))
			.join("\n"),
		hasResults: messages.at(-1)!["role"] === "tool",
		tools: ((body["tools"] ?? []) as Loose[]).flatMap(({ function: of }) =>
			of ? [{ name: of.name, schema: of.parameters ?? {} }] : [],
		),
		choice: choice === "required" ? "any" : typeof choice === "string" ? (choice as "auto") : [choice.function?.name],
		schema: format?.json_schema?.schema,
		isJson: format?.type === "json_object",
	});
}

/** How a summary is kept from whoever is not OpenAI. */
const SEALED = "gAAAA";

/** OpenAI's answer to a call of Responses, as items. */
export function responsesReply(body: Loose): readonly Json[] {
	const input: Loose[] = typeof body["input"] === "string" ? [{ role: "user", content: body["input"] }] : body["input"];
	const isCompaction = input.at(-1)?.["type"] === "compaction_trigger";
	const nested = ((body["tools"] ?? []) as Loose[]).flatMap((tool) => tool["tools"] ?? [tool]);
	const { text, call } = replyTo({
		prompt: wordsOf(input.findLast(({ role }) => role === "user")?.["content"]),
		said: input.flatMap(({ type, role, content, output, encrypted_content: sealed }): Said[] => {
			if (type === "function_call_output") return [{ result: typeof output === "string" ? output : wordsOf(output) }];
			if (type === "compaction") return [{ user: Buffer.from(sealed.slice(SEALED.length), "base64url").toString() }];
			return role === "user" ? [{ user: wordsOf(content) }] : [];
		}),
		system: String(body["instructions"] ?? ""),
		hasResults: input.at(-1)?.["type"] === "function_call_output",
		tools: nested.flatMap(({ type, name, parameters }) =>
			type === "function" ? [{ name, schema: parameters ?? {} }] : [],
		),
		choice: isCompaction
			? "none"
			: body["tool_choice"] === "required"
				? "any"
				: body["tool_choice"]?.name
					? [body["tool_choice"].name]
					: (body["tool_choice"] ?? "auto"),
		schema: body["text"]?.format?.schema,
		isJson: body["text"]?.format?.type === "json_object",
	});
	if (call) return [callsFunction(`call_${made++}`, call.name, JSON.stringify(call.args))];
	if (!isCompaction) return [says(text ?? "")];
	return [{ type: "compaction", encrypted_content: SEALED + Buffer.from(text ?? "").toString("base64url") }];
}

/** What the messages of a chat say. */
export const chatSaid = (messages: readonly Loose[]): Said[] =>
	messages.flatMap(({ role, content }): Said[] =>
		role === "user" ? [{ user: wordsOf(content) }] : role === "tool" ? [{ result: wordsOf(content) }] : [],
	);
