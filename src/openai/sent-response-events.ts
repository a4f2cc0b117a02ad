/** Events of OpenAI's Responses, as a client of those has been sent them, in the words of a chat: what an answer has to go on from elsewhere. */
import { objectIn } from "./usage.ts";

type Json = Readonly<Record<string, unknown>>;

/** What such an event says: fields of a chunk. `obstacle`: what of it has no form there, for a person. */
export interface ChunkSaid {
	readonly head?: Json;
	readonly delta?: Readonly<Record<string, unknown>>;
	readonly isFinished?: boolean;
	readonly obstacle?: string;
}

/** Kinds of items that a chat has a form for. */
const KNOWN: ReadonlySet<unknown> = new Set(["message", "reasoning", "function_call"]);

/** Reads the events of one response. */
export class SentEvents {
	/** Places of calls among all calls, by those of their items. */
	readonly #calls = new Map<unknown, number>();

	/** Undefined where it says nothing that a chunk would. @param event parsed */
	read(event: Json): ChunkSaid | undefined {
		const { type, delta, output_index: index, item, response } = event;
		switch (type) {
			case "response.created":
			case "response.in_progress":
				return { head: headOf(objectIn(response) ?? {}) };
			case "response.output_item.added":
				return this.#added(objectIn(item) ?? {}, index);
			case "response.output_text.delta":
				return { delta: { content: delta } };
			case "response.refusal.delta":
				return { delta: { refusal: delta } };
			case "response.reasoning_summary_text.delta":
			case "response.reasoning_text.delta":
				return { delta: { reasoning_content: delta } };
			case "response.function_call_arguments.delta":
				return { delta: { tool_calls: [{ index: this.#calls.get(index), function: { arguments: delta } }] } };
			case "response.completed":
			case "response.incomplete":
				return { isFinished: true };
			default:
				return undefined;
		}
	}

	#added({ type, call_id: id, name, namespace }: Json, index: unknown): ChunkSaid | undefined {
		if (!KNOWN.has(type)) return { obstacle: `it holds "${type}"` };
		if (type !== "function_call") return undefined;
		if (namespace) return { obstacle: "it calls a tool of a namespace" };
		const nth = this.#calls.size;
		this.#calls.set(index, nth);
		return { delta: { tool_calls: [{ index: nth, id, type: "function", function: { name, arguments: "" } }] } };
	}
}

const headOf = ({ id, created_at: created, model }: Json): Json => ({
	id,
	object: "chat.completion.chunk",
	created,
	model,
});
