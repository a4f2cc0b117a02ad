/** A chat stream added up to the answer it is, and checked for OpenAI's order on the way. */
import { expect } from "bun:test";
import { eventData, type Loose } from "./exchange.ts";

/** The whole answer that the stream's chunks make; without `created`. Throws where the order is not OpenAI's. */
export function folded(sse: string): Loose {
	const data = eventData(sse);
	expect(data.at(-1)).toBe("[DONE]");
	const chunks = data.slice(0, -1).map((each) => JSON.parse(each) as Loose);
	const choices = new Map<number, Loose>();
	let usage: Loose | undefined;
	for (const chunk of chunks) {
		expect(usage, "usage comes last").toBeUndefined();
		expect([chunk["object"], chunk["id"], chunk["model"]]).toEqual([
			"chat.completion.chunk",
			chunks[0]!["id"],
			chunks[0]!["model"],
		]);
		if (chunk["usage"]) {
			expect(chunk["choices"]).toEqual([]);
			usage = chunk["usage"];
		}
		for (const { index, delta, finish_reason, logprobs } of chunk["choices"]) {
			let choice = choices.get(index);
			if (!choice) {
				expect(delta).toEqual({ role: "assistant", content: "" });
				choice = { index, message: { role: "assistant", content: "" }, finish_reason: null, logprobs: null };
				choices.set(index, choice);
			} else {
				expect(choice["finish_reason"], "nothing follows the finish").toBeNull();
				add(choice["message"], delta);
			}
			if (logprobs) choice["logprobs"] = { content: [...(choice["logprobs"]?.content ?? []), ...logprobs.content] };
			choice["finish_reason"] = finish_reason;
		}
	}
	for (const choice of choices.values()) expect(choice["finish_reason"]).toBeString();
	return {
		id: chunks[0]!["id"],
		model: chunks[0]!["model"],
		choices: [...choices.values()],
		...(usage ? { usage } : {}),
	};
}

function add(message: Loose, delta: Loose): void {
	for (const [key, value] of Object.entries(delta)) {
		if (key === "tool_calls") addCalls(message, value);
		else if (typeof value === "string") message[key] = (message[key] ?? "") + value;
		else message[key] = Array.isArray(value) ? [...(message[key] ?? []), ...value] : value;
	}
}

function addCalls(message: Loose, deltas: Loose[]): void {
	message["tool_calls"] ??= [];
	for (const { index, function: fn = {}, ...rest } of deltas) {
		message["tool_calls"][index] ??= { function: { name: "", arguments: "" } };
		const call = message["tool_calls"][index];
		Object.assign(call, rest);
		call.function.name += fn.name ?? "";
		call.function.arguments += fn.arguments ?? "";
	}
}
