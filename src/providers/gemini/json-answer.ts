/**
 * JSON from models before Gemini 3 beside tools: there `responseMimeType` and functions are a 400. The answer is then one more function, whose
 * arguments are the answer; one of the functions must be called, so that the model either goes on with the caller's or answers.
 */
import { unsupported } from "../../openai/chat.ts";
import type { Chat } from "../../openai/chat-schema.ts";
import { objectText } from "../../openai/json.ts";
import type { RequestBody } from "../../openai/request-fields.ts";
import type { Failure } from "../failure.ts";
import { conforms } from "../schema-check.ts";
import { allowedTools } from "../tools.ts";
import { parametersText } from "./allowed-schema.ts";
import { joinsToolsAndJson } from "./models.ts";

type Json = Readonly<Record<string, unknown>>;
const isObject = (value: unknown): value is Json =>
	typeof value === "object" && value !== null && !Array.isArray(value);

/** How JSON is got. */
export interface JsonPlan {
	/** `responseMimeType` and the schema are sent. */
	readonly hasFormat: boolean;
	/** The caller's own functions are sent. */
	readonly hasTools: boolean;
	/** The function whose arguments are the answer, as JSON, and its name. */
	readonly answer?: { readonly name: string; readonly declaration: string };
}

/** As it is, where the model can do both; most calls ask for no JSON. */
const AS_ASKED: JsonPlan = { hasFormat: true, hasTools: true };

/** The plan for a request. `hasCalls`: there are calls in its history. Throws `unsupported_parameter` where it asks for several answers. */
export function jsonPlan(chat: Chat, model: string, hasCalls: boolean): JsonPlan {
	if (!asksJson(chat) || joinsToolsAndJson(model)) return AS_ASKED;
	const { tools, mode } = allowedTools(chat);
	const hasTools = tools.length > 0 && mode !== "none";
	if (!hasTools && !hasCalls) return { hasFormat: true, hasTools: false };
	// The answer will be calls.
	if (hasTools && mode !== "auto") return { hasFormat: false, hasTools };
	if ((chat.n ?? 1) > 1) throw unsupported("n", "with tools and JSON this model makes one answer to a call");
	const name = answerName(chat);
	return { hasFormat: false, hasTools, answer: { name, declaration: declarationOf(chat, name) } };
}

/** Whether an answer in JSON is asked for. */
const asksJson = ({ response_format: format }: Chat): boolean => format != null && format.type !== "text";

const WHEN = "Takes your answer: call it once, in place of words, when you need no other function.";

function declarationOf({ response_format: format }: Chat, name: string): string {
	const { description, schema } = format?.type === "json_schema" ? format.json_schema : {};
	const what = schema ? `JSON of this schema: ${JSON.stringify(schema)}` : "A JSON object.";
	const text = { type: "object", properties: { json: { type: "string", description: what } }, required: ["json"] };
	return objectText({
		name: JSON.stringify(name),
		description: JSON.stringify(description ? `${WHEN} ${description}` : WHEN),
		parametersJsonSchema: isPlain(schema) ? parametersText(schema) : JSON.stringify(text),
	});
}

/** Whether a function's arguments can be of it: one without properties would come back empty. All else is asked for as text. */
function isPlain(schema: Json | null | undefined): schema is Json {
	if (schema?.["type"] !== "object" || schema["$ref"] !== undefined) return false;
	return isObject(schema["properties"]) && Object.keys(schema["properties"]).length > 0;
}

/** A name that no function of the caller's has, now or in the history. */
function answerName({ tools, messages }: Pick<Chat, "tools" | "messages">): string {
	const taken = new Set((tools ?? []).map((tool) => tool.function?.name));
	for (const message of messages) {
		if (message.role !== "assistant") continue;
		for (const call of message.tool_calls ?? []) taken.add(call.function?.name);
	}
	let name = "json_answer";
	while (taken.has(name)) name += "_";
	return name;
}

/** How an answer is read that may have come as a call. */
export interface JsonReading {
	/** The function's name. */
	readonly name: string;
	/** What the answer must be; any object where it is absent. */
	readonly schema: Json | undefined;
	/** It is the text of an argument. */
	readonly isText: boolean;
}

/** That of a request that was checked; undefined where the answer comes as text. */
export function jsonReading(body: RequestBody, model: string): JsonReading | undefined {
	if (body["response_format"] == null) return undefined;
	const chat = body as unknown as Chat;
	const hasCalls = chat.messages.some((message) => message.role === "assistant" && message.tool_calls?.length);
	if (!jsonPlan(chat, model, hasCalls).answer) return undefined;
	const { response_format: format } = chat;
	const schema = format?.type === "json_schema" ? (format.json_schema.schema ?? undefined) : undefined;
	return { name: answerName(chat), schema, isText: !isPlain(schema) };
}

/** The answer can't be used: other targets are tried. */
const NO_FORM: Failure = {
	kind: "unsupported",
	isOurs: true,
	isOtherForm: true,
	message: "gave an answer that is not of the form that the call asks for",
	param: "response_format",
};

/** The text of an answer that came as a call's arguments; the failure that it is where it is of another form. */
export function jsonAnswer({ schema, isText }: JsonReading, args: unknown): string | Failure {
	let answer = args ?? {};
	if (isText) {
		const text = isObject(args) ? args["json"] : undefined;
		try {
			answer = JSON.parse(String(text));
		} catch {
			return NO_FORM;
		}
	}
	if (!(schema ? conforms(answer, schema) : isObject(answer))) return NO_FORM;
	return JSON.stringify(answer);
}
