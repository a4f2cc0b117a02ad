/** Two answers to one call, compared: whether they end for the same reason, and ask for the same tools. Pure; keeps nothing of what they say. */
import { canonical } from "./json.ts";
import { objectIn } from "./usage.ts";

/** What two answers have in common. */
export interface AnswerComparison {
	/** All their choices ended for the same reasons; undefined where one of the answers tells none. */
	readonly sameFinishReason: boolean | undefined;
	/** They ask for the same tools with the same arguments, in whatever order; undefined where neither asks for any. */
	readonly sameToolCalls: boolean | undefined;
}

/** What of an answer is compared. */
interface AnswerFacts {
	readonly finishReasons: readonly string[];
	/** Each as a text that is the same for calls that mean the same, sorted. */
	readonly toolCalls: readonly string[];
}

/** Compares whole answers, OpenAI's JSON of one operation. Undefined where one of them is none. */
export function compareAnswers(one: string, other: string): AnswerComparison | undefined {
	const [first, second] = [factsOf(one), factsOf(other)];
	if (!first || !second) return undefined;
	const hasReasons = first.finishReasons.length > 0 && second.finishReasons.length > 0;
	const hasTools = first.toolCalls.length > 0 || second.toolCalls.length > 0;
	return {
		sameFinishReason: hasReasons ? isSame(first.finishReasons, second.finishReasons) : undefined,
		sameToolCalls: hasTools ? isSame(first.toolCalls, second.toolCalls) : undefined,
	};
}

const isSame = (one: readonly string[], other: readonly string[]): boolean =>
	one.length === other.length && one.every((text, at) => text === other[at]);

function factsOf(json: string): AnswerFacts | undefined {
	let choices: unknown;
	try {
		choices = objectIn(JSON.parse(json))?.["choices"];
	} catch {
		return undefined;
	}
	if (!Array.isArray(choices)) return undefined;
	const finishReasons: string[] = [];
	const toolCalls: string[] = [];
	for (const choice of choices) {
		const { finish_reason: reason, message } = objectIn(choice) ?? {};
		if (typeof reason === "string") finishReasons.push(reason);
		const { tool_calls, function_call } = objectIn(message) ?? {};
		if (Array.isArray(tool_calls)) for (const call of tool_calls) toolCalls.push(wishIn(call));
		// As OpenAI had it before there were several.
		if (objectIn(function_call)) toolCalls.push(wishIn({ function: function_call }));
	}
	return { finishReasons, toolCalls: toolCalls.sort() };
}

/** A tool call without its id: the tool's name, and the arguments (JSON), or the input of a tool that takes any text. */
function wishIn(call: unknown): string {
	const { function: asked, custom } = objectIn(call) ?? {};
	const free = objectIn(custom);
	if (free) return JSON.stringify(["custom", free["name"], free["input"]]);
	const { name, arguments: given } = objectIn(asked) ?? {};
	return JSON.stringify(["function", name, typeof given === "string" ? meaningOf(given) : given]);
}

/** Arguments as one text for all JSON that means the same; no arguments are those of an empty object. A text that is no JSON stands as it is. */
function meaningOf(text: string): string {
	if (text.trim() === "") return "{}";
	try {
		JSON.parse(text);
		return canonical(text.trim());
	} catch {
		return text;
	}
}
