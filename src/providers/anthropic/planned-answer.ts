/** An answer that was asked for by a plan, made what the call asked for: a tool's input becomes the answer's text. */
import { fieldNamed, fieldsOf, parseBounded } from "../../openai/json.ts";
import type { Failure } from "../failure.ts";
import type { Answer } from "../provider.ts";
import { conforms } from "../schema-check.ts";
import { type AnswerReading, WRAPPER } from "./answer-plan.ts";
import { type Block, inputText, isMessage, messageAnswer, messageTokens } from "./response.ts";
import { unsigned } from "./thinking.ts";

/** A block of an answer, as far as that is read: what it says, or its input as JSON. */
export interface AnswerBlock {
	readonly type: string;
	readonly name?: string | null | undefined;
	readonly text: string;
	readonly input: string;
}

/** What becomes of a block: it stays, it is left out, or a text stands in its place. */
export type BlockEdit = "keep" | "drop" | { readonly text: string };

/** What becomes of all of them, and why the answer is over. */
export interface PlannedAnswer {
	readonly edits: readonly BlockEdit[];
	readonly stopReason: string;
}

/** The answer can't be used: other targets are tried. */
const refused = (param: string, message: string): Failure => {
	return { kind: "unsupported", isOurs: true, isOtherForm: true, message, param };
};
const NO_FORM = refused("response_format", "gave an answer that is not of the form that the call asks for");
const NO_CALL = refused("tool_choice", "answered without the call that was asked for");

/** Reasons for which an answer may be half of one, or none. */
const CUT: ReadonlySet<string> = new Set(["max_tokens", "model_context_window_exceeded", "pause_turn", "refusal"]);

/** Whether a call of this tool is what the answer was to be. */
export function isAskedCall(reading: AnswerReading, name: string | null | undefined): boolean {
	const { tool, mustCall, takesNoCalls } = reading;
	return name !== tool && !takesNoCalls && (typeof mustCall !== "string" || mustCall === name);
}

/** What becomes of a block of an answer that is calls. */
export function callEdit(
	{ tool, isJson }: AnswerReading,
	{ type, name }: Pick<AnswerBlock, "type" | "name">,
): BlockEdit {
	// An answer beside calls is none yet.
	const isDropped = (type === "tool_use" && name === tool) || (type === "text" && isJson);
	return isDropped ? "drop" : "keep";
}

/** What becomes of an answer's blocks. */
export function plannedAnswer(
	blocks: readonly AnswerBlock[],
	stopReason: string,
	reading: AnswerReading,
): PlannedAnswer | Failure {
	const isCut = CUT.has(stopReason);
	const calls = blocks.filter(({ type }) => type === "tool_use");
	const isAnswer = ({ type, name }: AnswerBlock) => type === "tool_use" && name === reading.tool;
	if (reading.mustCall !== undefined) {
		const isCalled = calls.some(({ name }) => isAskedCall(reading, name));
		return isCalled || isCut ? { edits: blocks.map((block) => callEdit(reading, block)), stopReason } : NO_CALL;
	}
	// What goes on at once is decided by what comes first.
	const deciding = reading.isChecked ? calls : calls.slice(0, 1);
	if (deciding.some((block) => !isAnswer(block))) {
		if (reading.takesNoCalls) return NO_FORM;
		return { edits: blocks.map((block) => callEdit(reading, block)), stopReason };
	}
	const answer = blocks.find(isAnswer);
	const said = blocks.filter(({ type }) => type === "text");
	if (!answer && isCut) return { edits: blocks.map(() => "keep"), stopReason };
	const text = answer
		? inputAnswer(answer.input, reading, isCut)
		: saidAnswer(said.map((block) => block.text).join(""), reading);
	if (text === undefined) return NO_FORM;
	const kept = answer ?? said[0];
	const edits = blocks.map((block): BlockEdit => {
		if (block === kept) return { text };
		return block.type === "text" || block.type === "tool_use" ? "drop" : "keep";
	});
	return { edits, stopReason: stopReason === "tool_use" ? "end_turn" : stopReason };
}

/** The answer that a tool's input is. */
function inputAnswer(input: string, reading: AnswerReading, isCut: boolean): string | undefined {
	const text = reading.isWrapped ? unwrapped(input) : input;
	if (isCut && reading.isWrapped) return text ?? input.replace(WRAPPING, "");
	if (isCut || !reading.isChecked) return input;
	return text !== undefined && isOfForm(text, reading) ? text : undefined;
}

/** What stands before the answer in an input that was cut off. */
const WRAPPING = new RegExp(`^\\s*\\{\\s*"${WRAPPER}"\\s*:\\s*`);

function unwrapped(input: string): string | undefined {
	if (!input.trimStart().startsWith("{") || parsed(input) === undefined) return undefined;
	const field = fieldNamed(fieldsOf(input), WRAPPER);
	return field && input.slice(field.start, field.end);
}

/** The answer that stands in words: alone, or between others (a code fence among them). */
function saidAnswer(said: string, reading: AnswerReading): string | undefined {
	const text = said.trim();
	const begin = text.search(/[{[]/);
	const end = Math.max(text.lastIndexOf("}"), text.lastIndexOf("]")) + 1;
	const inside = begin === -1 || end <= begin ? undefined : text.slice(begin, end);
	return [text, inside].find((each) => each !== undefined && isOfForm(each, reading));
}

function isOfForm(text: string, { schema }: AnswerReading): boolean {
	const value = parsed(text);
	if (value === undefined) return false;
	return conforms(value, schema ?? { type: "object" });
}

/** Undefined where it is no JSON. */
function parsed(text: string): unknown {
	try {
		return parseBounded(text);
	} catch {
		return undefined;
	}
}

/** A whole answer, from the body's text and its parse; see `messageAnswer`. */
export function plannedMessage(
	body: string,
	message: unknown,
	reading: AnswerReading,
	names: readonly string[] = [],
): Answer | Failure {
	if (!isMessage(message) || !message.content || !message.stop_reason) return messageAnswer(body, message);
	const blocks = message.content.map((block, index) => ({
		type: block.type,
		name: block.name,
		text: block.text ?? "",
		input: block.name === reading.tool && block.type === "tool_use" ? inputText(body, index) : "",
	}));
	const planned = plannedAnswer(blocks, message.stop_reason, reading);
	if ("kind" in planned) return { ...planned, tokens: messageTokens(message.usage) };
	let isMoved = false;
	// Blocks keep their places: their inputs are read from the body by them.
	const content = message.content.map((block, index): Block => {
		const edit = planned.edits[index]!;
		if (edit === "keep") return isMoved ? unsigned(block) : block;
		isMoved = true;
		return { type: "text", text: edit === "drop" ? "" : edit.text };
	});
	return messageAnswer(body, { ...message, content, stop_reason: planned.stopReason }, names);
}
