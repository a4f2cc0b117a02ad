/** A stream of this wire as OpenAI's whole answer, for the cache. */
import { type SseEvent, SseSplitter } from "../../openai/sse.ts";
import { carriesDetails, detailsIn } from "../../openai/thought-details.ts";
import { objectIn } from "../../openai/usage.ts";
import { chatUsageOf } from "./messages-usage.ts";

type Json = Record<string, unknown>;

const FINISH: Readonly<Record<string, string>> = {
	end_turn: "stop",
	stop_sequence: "stop",
	max_tokens: "length",
	// Neither is complete.
	model_context_window_exceeded: "length",
	pause_turn: "length",
	tool_use: "tool_calls",
	refusal: "content_filter",
};

/** The answer; undefined where the stream is not whole. */
export function foldMessages(stream: Uint8Array): string | undefined {
	const splitter = new SseSplitter();
	const fold = new MessagesFold();
	for (const event of splitter.push(stream)) fold.add(event);
	for (const event of splitter.end()) fold.add(event);
	return fold.text();
}

interface FoldedCall {
	readonly id: string;
	readonly type: "function";
	readonly function: { readonly name: string; arguments: string };
}

class MessagesFold {
	#message: Json | undefined;
	#content = "";
	#reasoning = "";
	readonly #calls: FoldedCall[] = [];
	/** Of the block that is open. */
	#thought = "";
	readonly #details: unknown[] = [];
	/** All of it can be said in OpenAI's words. */
	#isWholly = true;
	#ending: Json | undefined;
	#usage: Json = {};
	#isWhole = false;

	add({ data }: SseEvent): void {
		if (data === undefined || !this.#isWholly) return;
		const event = JSON.parse(data) as Json;
		switch (event["type"]) {
			case "message_start":
				this.#message = objectIn(event["message"]);
				break;
			case "content_block_start": {
				const block = objectIn(event["content_block"]) ?? {};
				this.#block(block);
				break;
			}
			case "content_block_delta":
				this.#delta(objectIn(event["delta"]) ?? {});
				break;
			case "message_delta":
				this.#ending = objectIn(event["delta"]);
				this.#usage = objectIn(event["usage"]) ?? {};
				break;
			case "message_stop":
				this.#isWhole = true;
		}
	}

	#block(block: Json): void {
		const { type } = block;
		this.#thought = "";
		if (type === "tool_use") this.#calls.push(callOf(block));
		else if (type === "redacted_thinking")
			this.#sign({ type: "reasoning.encrypted", data: block["data"] }, block["data"]);
		// What OpenAI's words have no form for can't be kept in them.
		else if (type !== "text" && type !== "thinking") this.#isWholly = false;
	}

	/** A thought that Claude has signed, in its place; what another vendor has signed is carried in its place. */
	#sign(thought: Json, signature: unknown): void {
		if (carriesDetails(signature)) {
			for (const detail of detailsIn(signature)) this.#details.push(detail);
			return;
		}
		const after = { text: this.#content.length, calls: this.#calls.length };
		this.#details.push({ ...thought, format: "anthropic-claude-v1", index: this.#details.length, after });
	}

	#delta({ type, text, thinking, partial_json, signature }: Json): void {
		if (type === "signature_delta" && signature) {
			this.#sign({ type: "reasoning.text", text: this.#thought, signature }, signature);
		} else if (type === "citations_delta") this.#isWholly = false;
		else if (type === "text_delta") this.#content += text;
		else if (type === "thinking_delta") {
			this.#reasoning += thinking;
			this.#thought += thinking;
		} else if (type === "input_json_delta") this.#calls.at(-1)!.function.arguments += partial_json;
	}

	text(): string | undefined {
		const { id, model } = this.#message ?? {};
		if (!this.#isWhole || !this.#isWholly || !this.#message) return undefined;
		const { stop_reason, stop_sequence, stop_details } = this.#ending ?? {};
		const calls = this.#calls.map((call) => {
			const { name, arguments: args } = call.function;
			return { ...call, function: { name, arguments: args === "" ? "{}" : args } };
		});
		const refusal = stop_reason === "refusal" ? (objectIn(stop_details)?.["explanation"] ?? null) : null;
		const said = refusal !== null && this.#content === refusal ? "" : this.#content;
		const reasoning = this.#reasoning;
		const message = {
			role: "assistant",
			content: said === "" && (calls.length > 0 || refusal !== null) ? null : said,
			refusal,
			...(reasoning === "" ? {} : { reasoning_content: reasoning, reasoning }),
			...(this.#details.length > 0 ? { reasoning_details: this.#details } : {}),
			...(calls.length > 0 ? { tool_calls: calls } : {}),
		};
		const finish_reason = FINISH[String(stop_reason)] ?? "stop";
		const matched = typeof stop_sequence === "string" ? { stop_reason: stop_sequence } : {};
		return JSON.stringify({
			id,
			object: "chat.completion",
			created: 0,
			model,
			choices: [{ index: 0, message, finish_reason, ...matched }],
			usage: chatUsageOf(withoutCost(this.#usage)),
		});
	}
}

const callOf = (block: Json): FoldedCall => ({
	id: String(block["id"]),
	type: "function",
	function: { name: String(block["name"]), arguments: "" },
});

/** One that is given a second time costs nothing. */
function withoutCost({ cost, ...usage }: Json): Json {
	return usage;
}
