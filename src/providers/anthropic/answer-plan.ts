/**
 * How an answer of the form that a call asks for is got from a model: JSON of a schema by the API's own grammar, by a tool whose
 * input is the answer, or by an instruction; a call that must be made by a forced choice, or by an instruction. Pure.
 */
import { RouterError } from "../../errors.ts";
import type { Chat } from "../../openai/chat-schema.ts";
import { allowedTools } from "../tools.ts";
import { type Claude, hasTrait } from "./models.ts";
import { BRANCHES, isObject, type Json, strictSchema } from "./tool-schema.ts";

/** What a request says for it, beside what it would say anyway. */
export interface AnswerPlan {
	/** `output_config.format`. */
	readonly format?: Json;
	/** A tool that the caller does not know of: its JSON. */
	readonly tool?: string;
	/** In place of the caller's own choice. */
	readonly choice?: Json;
	/** Said behind the system prompt. */
	readonly instruction?: string;
	/** How the answer is read; as it is where this is absent. */
	readonly reading?: AnswerReading;
}

/** How an answer is made what the call asks for. */
export interface AnswerReading {
	/** The tool whose input is the answer. */
	readonly tool?: string;
	/** The answer is the field {@link WRAPPER} of that input. */
	readonly isWrapped?: boolean;
	/** Words beside calls are left out: OpenAI's clients read all content of such an answer as JSON. */
	readonly isJson: boolean;
	/** Nothing of it may be sent before all of it was checked; else it is JSON of the schema as far as a tool's input is. */
	readonly isChecked: boolean;
	/** What it must be; any object where it is absent. */
	readonly schema?: Json;
	/** The caller's own tools may not be called. */
	readonly takesNoCalls?: boolean;
	/** It must be a call: of the tool of that name, or (true) of any. */
	readonly mustCall?: string | true;
}

/** The field that holds an answer that is no object. */
export const WRAPPER = "answer";

const JSON_ONLY = "Give your answer as one JSON object and nothing else: no words around it, no code fence.";
const callOnly = (name: string) => `Give your answer by calling the tool "${name}" once. Say nothing else.`;
const callLast = (name: string) =>
	`When you need no more of the other tools, give your answer by calling the tool "${name}" once, in place of words.`;
const mustCallOne = (name: string | true) =>
	`Answer with a call of ${name === true ? "one of the tools" : `the tool "${name}"`}, not with words alone.`;

const asksJson = ({ response_format: format }: Chat): boolean => format != null && format.type !== "text";

/** Whether a call asks for a form at all; most do not. */
export function asksForm(chat: Chat): boolean {
	const { tool_choice: choice } = chat;
	return asksJson(chat) || (choice != null && choice !== "auto" && choice !== "none");
}

/**
 * The plan. `thinking`: the vendor's own field of the call, where it has one. Throws `invalid_value` where a tool is asked for that is not
 * there.
 */
export function answerPlan(chat: Chat, thinking: unknown, model: Claude): AnswerPlan {
	const { tools, mode, only } = allowedTools(chat);
	const canForce = !hasTrait(model, "refusesForcedTools") && !thinksByBudget(chat, thinking, model);
	const mustCall = mode === "named" ? only[0]! : mode === "required" ? true : undefined;
	if (mustCall !== undefined && !canForce) {
		return {
			choice: choiceOf("auto", chat.parallel_tool_calls === false),
			instruction: mustCallOne(mustCall),
			reading: { isJson: asksJson(chat), isChecked: true, mustCall },
		};
	}
	const { response_format: format } = chat;
	if (!format || !asksJson(chat)) return {};
	const schema = format.type === "json_schema" ? format.json_schema.schema : undefined;
	const description = format.type === "json_schema" ? format.json_schema.description : undefined;
	if (schema && hasTrait(model, "holdsSchemas")) {
		const held = heldSchema({ ...(description ? { description } : {}), ...schema });
		if (held) return { format: { type: "json_schema", schema: held } };
	}
	// The answer will be calls.
	if (mustCall !== undefined) return {};
	if (!schema) return { instruction: JSON_ONLY, reading: { isJson: true, isChecked: true } };
	const name = freeName(chat);
	const isWrapped = !isPlainObject(schema);
	const isForced = canForce && (mode === "none" || tools.length === 0);
	return {
		tool: JSON.stringify({
			name,
			description: description ?? "Takes your answer: its input is what the user gets.",
			input_schema: isWrapped ? wrapped(schema) : { ...schema, type: "object" },
		}),
		...(isForced
			? { choice: { type: "tool", name, disable_parallel_tool_use: true } }
			: {
					choice: choiceOf("auto", chat.parallel_tool_calls === false && tools.length > 0),
					instruction: tools.length > 0 && mode !== "none" ? callLast(name) : callOnly(name),
				}),
		reading: {
			tool: name,
			isWrapped,
			takesNoCalls: mode === "none",
			isJson: true,
			isChecked: isWrapped || !isForced,
			schema,
		},
	};
}

/** `tool_choice`, where it is more than the default. */
function choiceOf(type: string, isSingle: boolean): Json {
	return { type, ...(isSingle ? { disable_parallel_tool_use: true } : {}) };
}

/** A budget and a forced tool together are a 400: "Thinking may not be enabled when tool_choice forces tool use". */
function thinksByBudget({ reasoning_effort: effort }: Chat, thinking: unknown, model: Claude): boolean {
	if (isObject(thinking)) return thinking["type"] === "enabled";
	return effort != null && effort !== "none" && !hasTrait(model, "takesEffort");
}

/** The schema as the API's grammar holds it; undefined where that can't say it. */
function heldSchema(schema: Json): Json | undefined {
	try {
		return strictSchema(schema, "schema");
	} catch (thrown) {
		if (thrown instanceof RouterError) return undefined;
		throw thrown;
	}
}

/** A name that no tool of the caller's has, now or in the history. */
function freeName({ tools, messages }: Chat): string {
	const taken = new Set((tools ?? []).map(({ function: { name } }) => name));
	for (const message of messages) {
		if (message.role !== "assistant") continue;
		for (const call of message.tool_calls ?? []) taken.add(call.function.name);
	}
	let name = "json_answer";
	while (taken.has(name)) name += "_";
	return name;
}

/** Whether a tool's input can be of this schema as it stands. */
function isPlainObject(schema: Json): boolean {
	const { type, $ref, properties } = schema;
	const isOne = type === "object" || (type === undefined && isObject(properties));
	return isOne && $ref === undefined && !BRANCHES.some((word) => schema[word] !== undefined);
}

/** An object with the answer as its one field. */
function wrapped({ $defs, definitions, ...schema }: Json): Json {
	return {
		type: "object",
		properties: { [WRAPPER]: rebased(schema) },
		required: [WRAPPER],
		...(isObject($defs) ? { $defs: rebased($defs) } : {}),
		...(isObject(definitions) ? { definitions: rebased(definitions) } : {}),
	};
}

/** References to the schema itself, which is no longer at the top. */
function rebased(value: unknown): unknown {
	if (Array.isArray(value)) return value.map(rebased);
	if (!isObject(value)) return value;
	const entries = Object.entries(value).map(([name, inner]) => {
		const isOwn = name === "$ref" && typeof inner === "string" && /^#(?!\/(?:\$defs|definitions)\/)/.test(inner);
		return [name, isOwn ? `#/properties/${WRAPPER}${(inner as string).slice(1)}` : rebased(inner)];
	});
	return Object.fromEntries(entries);
}
