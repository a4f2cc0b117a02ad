/** Decides what an answer will be: thinking, text, JSON, or a call of a tool. Pure. */
import { chatSaid } from "../sample-replies.ts";
import { dueStep, type Step } from "../scripted-steps.ts";
import { ApiError } from "./errors.ts";
import type { Model } from "./model.ts";
import type { Json, Prompt } from "./request.ts";
import { answer, continuation } from "./text.ts";
import { tokenize } from "./tokens.ts";

/** A part of an answer, in the order in which the engine says it. */
export interface Part {
	readonly kind: "reasoning" | "content" | "call" | "end";
	/** Of a call: the tool. */
	readonly tool?: string;
	readonly pieces: readonly string[];
}

/** All of one choice. */
export interface Plan {
	readonly parts: readonly Part[];
	/** Why it ends, unless something goes wrong first. */
	readonly finish: "stop" | "length" | "tool_calls";
	/** The string that ended it. */
	readonly stopped: string | null;
}

/** How the server was started, as far as answers depend on it. */
export interface Abilities {
	readonly autoTools: boolean;
	readonly reasoning: boolean;
	/** Length of an answer that nothing limits. */
	readonly natural: number | undefined;
	/** See Options in text.ts: of plain completions, whose prompt has no end of its own. */
	readonly isChained?: boolean | undefined;
}

/** Throws vLLM's 400 for tools that the server's flags don't allow. */
export function plan(
	body: Json,
	prompt: Prompt,
	{ root }: Model,
	{ limit, index, ...able }: Abilities & { limit: number; index: number },
): Plan {
	const step = scriptedStep(body, able.autoTools);
	const call = step
		? "call" in step
			? { name: step.call, args: step.args }
			: undefined
		: toolCall(body, able.autoTools);
	const thinking = (body["chat_template_kwargs"] as Json | undefined)?.["enable_thinking"] ?? true;
	const parts: Part[] = [];
	if (able.reasoning && thinking && prompt.partial === undefined) {
		const { pieces } = answer(root, `${prompt.text}<think>`, { index, natural: 8 });
		parts.push({ kind: "reasoning", pieces });
	}
	const minimum = Number(body["min_tokens"] ?? 0);
	const endless = body["ignore_eos"] === true;
	const shape = jsonSchema(body);
	let stopped: string | null = null;
	if (call) parts.push({ kind: "call", tool: call.name, pieces: tokenize(JSON.stringify(call.args)) });
	else if (shape) parts.push({ kind: "content", pieces: tokenize(JSON.stringify(example(shape))) });
	else if (step && "say" in step) parts.push({ kind: "content", pieces: tokenize(step.say) });
	else {
		const options = { index, natural: able.natural, isChained: able.isChained };
		const { text, partial } = prompt;
		const { natural } =
			partial === undefined ? answer(root, text, options) : continuation(root, text, partial, options);
		const length = endless ? limit : Math.max(natural, minimum);
		const { pieces } =
			partial === undefined
				? answer(root, text, { ...options, length })
				: continuation(root, text, partial, { ...options, length });
		const cut = cutAt(pieces, body["stop"]);
		stopped = cut.stopped;
		parts.push({ kind: "content", pieces: cut.pieces });
	}
	// The end of the answer is a token of its own.
	if (!endless && stopped === null) parts.push({ kind: "end", pieces: [""] });
	const limited = limitParts(parts, limit);
	const short = limited.at(-1)?.kind !== "end" && stopped === null;
	const finish = short ? "length" : call && toolChoice(body) !== "named" ? "tool_calls" : "stop";
	return { parts: limited, finish, stopped: short ? null : stopped };
}

function limitParts(parts: readonly Part[], limit: number): Part[] {
	let left = limit;
	const kept: Part[] = [];
	for (const part of parts) {
		if (left <= 0) break;
		kept.push({ ...part, pieces: part.pieces.slice(0, left) });
		left -= part.pieces.length;
	}
	return kept;
}

function cutAt(pieces: readonly string[], stop: unknown): { pieces: readonly string[]; stopped: string | null } {
	const stops = (Array.isArray(stop) ? stop : [stop]).filter((one) => typeof one === "string" && one !== "");
	let text = "";
	for (const [at, piece] of pieces.entries()) {
		const found = (stops as string[]).find((one) => (text + piece).includes(one));
		if (found) {
			const kept = (text + piece).slice(0, (text + piece).indexOf(found));
			// What was said of the stop string's beginning is taken back: vLLM holds it back until it knows.
			const whole = pieces.slice(0, at + 1);
			return { pieces: repiece(whole, kept), stopped: found };
		}
		text += piece;
	}
	return { pieces, stopped: null };
}

function repiece(pieces: readonly string[], text: string): string[] {
	let at = 0;
	return pieces.map((piece) => {
		const part = text.slice(at, at + piece.length);
		at += piece.length;
		return part;
	});
}

const toolChoice = (body: Json): "none" | "auto" | "required" | "named" => {
	const tools = body["tools"];
	const choice = body["tool_choice"] ?? (Array.isArray(tools) && tools.length > 0 ? "auto" : "none");
	return typeof choice === "string" ? (choice as "none") : "named";
};

/** What the prompt's steps say is due, where there are any. */
function scriptedStep(body: Json, autoTools: boolean): Step | undefined {
	const messages = body["messages"];
	if (!Array.isArray(messages) || jsonSchema(body)) return undefined;
	return dueStep(chatSaid(messages), autoTools && toolChoice(body) !== "none");
}

/** A tool is called when it has to be, or when the last message names it. */
function toolCall(body: Json, autoTools: boolean): { name: string; args: unknown } | undefined {
	const choice = toolChoice(body);
	if (choice === "none") return undefined;
	const tools = (body["tools"] ?? []) as readonly { function: { name: string; parameters?: Json } }[];
	if (tools.length === 0) throw new ApiError(400, "When using `tool_choice`, `tools` must be set.");
	if (choice === "auto" && !autoTools) {
		throw new ApiError(400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set');
	}
	const last = (body["messages"] as readonly Json[]).at(-1)!;
	const named = (body["tool_choice"] as { function?: { name?: string } })?.function?.name;
	const text = last["role"] === "user" ? JSON.stringify(last["content"]) : "";
	const tool =
		choice === "named"
			? tools.find((one) => one.function.name === named)
			: (tools.find((one) => text.includes(one.function.name)) ?? (choice === "required" ? tools[0] : undefined));
	if (choice === "named" && !tool)
		throw new ApiError(400, "The tool specified in `tool_choice` does not match any of the specified `tools`");
	return tool && { name: tool.function.name, args: example(tool.function.parameters ?? {}) };
}

function jsonSchema(body: Json): Json | undefined {
	const format = body["response_format"] as { type?: string; json_schema?: { schema?: Json } } | undefined;
	if (format?.type === "json_schema") return format.json_schema?.schema ?? {};
	return format?.type === "json_object" ? { type: "object", properties: { answer: { type: "string" } } } : undefined;
}

/** The plainest value that a JSON schema allows. */
function example(schema: Json): unknown {
	if (schema["const"] !== undefined) return schema["const"];
	if (Array.isArray(schema["enum"])) return schema["enum"][0];
	const type = Array.isArray(schema["type"]) ? schema["type"][0] : schema["type"];
	if (type === "string") return "river";
	if (type === "integer" || type === "number") return Number(schema["minimum"] ?? 7);
	if (type === "boolean") return true;
	if (type === "null") return null;
	if (type === "array") return [example((schema["items"] ?? { type: "string" }) as Json)];
	const properties = (schema["properties"] ?? {}) as Record<string, Json>;
	return Object.fromEntries(Object.entries(properties).map(([name, inner]) => [name, example(inner)]));
}
