/** The tools of a request: which of them the model may or must call, and the calls in its history. */
import { invalid } from "../openai/chat.ts";
import type { Chat, Tool } from "../openai/chat-schema.ts";

/** The choice, in words that every upstream has. */
export interface AllowedTools {
	/** The tools that may be called, each with its index in the request. */
	readonly tools: readonly { readonly tool: Tool; readonly index: number }[];
	/** `required`: one of them; `named`: the one in `only`. */
	readonly mode: "auto" | "none" | "required" | "named";
	/** The names the caller chose among its tools; empty where it chose none. */
	readonly only: readonly string[];
}

/** Throws `invalid_value` where a tool is asked for that is not there. */
export function allowedTools({ tools, tool_choice: choice }: Chat): AllowedTools {
	const all = (tools ?? []).map((tool, index) => ({ tool, index }));
	if (!choice || choice === "auto") return { tools: all, mode: "auto", only: [] };
	if (choice === "none") return { tools: all, mode: "none", only: [] };
	if (all.length === 0) throw invalid("tool_choice", "asks for a tool, and there are none");
	if (choice === "required") return { tools: all, mode: "required", only: [] };
	const known = new Set(all.map(({ tool }) => tool.function.name));
	if (choice.type === "function") {
		const { name } = choice.function;
		if (!known.has(name)) throw invalid("tool_choice.function.name", "is the name of none of the tools");
		return { tools: all, mode: "named", only: [name] };
	}
	const { mode, tools: chosen } = choice.allowed_tools;
	const only = chosen.map(({ function: { name } }) => name);
	if (only.length === 0) {
		if (mode === "required") throw invalid("tool_choice.allowed_tools.tools", "asks for one of no tools");
		return { tools: [], mode: "none", only };
	}
	const stranger = only.findIndex((name) => !known.has(name));
	if (stranger !== -1) {
		throw invalid(`tool_choice.allowed_tools.tools[${stranger}].function.name`, "is the name of none of the tools");
	}
	const names = new Set(only);
	return { tools: all.filter(({ tool }) => names.has(tool.function.name)), mode, only };
}

/** The ids of the calls in a request's history, each once; what has another shape is the encoder's to refuse. */
export function toolCallIds(body: Readonly<Record<string, unknown>>): string[] {
	const messages = Array.isArray(body["messages"]) ? body["messages"] : [];
	// Most have none.
	let ids: Set<string> | undefined;
	for (const { tool_calls: calls } of messages) {
		if (!Array.isArray(calls)) continue;
		ids ??= new Set();
		for (const { id } of calls) if (typeof id === "string") ids.add(id);
	}
	return ids ? [...ids] : [];
}

/** The arguments' text, so that big numbers survive; `{}` where there is none. Throws where it is no JSON object. */
export function argumentsText(text: string, path: string): string {
	const trimmed = text.trim();
	if (trimmed === "") return "{}";
	try {
		JSON.parse(trimmed);
	} catch {
		throw invalid(`${path}.function.arguments`, "must hold JSON");
	}
	if (trimmed[0] !== "{") throw invalid(`${path}.function.arguments`, "must hold a JSON object");
	return trimmed;
}
