/** OpenAI's streams as Anthropic's: each piece becomes its events at once, one block after the other. */
import { RouterError } from "../../errors.ts";
import { SseSplitter, type StreamPiece } from "../../openai/sse.ts";
import { objectIn } from "../../openai/usage.ts";
import { decimal } from "../../openai/usage-edits.ts";
import type { DialectCall, StreamEnd, StreamWriter } from "../dialect.ts";
import { streamSummary } from "../openai-chat.ts";
import { callId, messageId, reasoningIn, type Stop, stopOf, stopText } from "./messages-answer.ts";
import { StreamedCalls } from "./messages-calls.ts";
import { errorObject } from "./messages-error.ts";
import { type MessagesUsage, messagesUsage, NO_COUNTS, usageOf } from "./messages-usage.ts";

type Json = Readonly<Record<string, unknown>>;

/** An event under its name, without which clients pass it over. */
export const namedEvent = (name: string, data: string): string => `event: ${name}\ndata: ${data}\n\n`;

const PING = namedEvent("ping", '{"type": "ping"}');
const MESSAGE_STOP = namedEvent("message_stop", '{"type":"message_stop"}');

const toolUse = (id: string, name: string): string => JSON.stringify({ type: "tool_use", id, name, input: {} });

/** Writes one stream. */
export class MessagesStream implements StreamWriter {
	readonly keepAlive = PING;
	/** The call's id. */
	readonly #request: string;
	readonly #model: string;
	readonly #events = new SseSplitter();
	#id: string | undefined;
	/** The type of the block that is being written. */
	#block: "text" | "thinking" | "tool_use" | undefined;
	#index = -1;
	readonly #calls = new StreamedCalls({
		begin: (index, id, name) => this.#open("tool_use", toolUse(callId(id, this.#id!, index), name)),
		more: (json) => this.#deltaEvent(`"type":"input_json_delta","partial_json":${JSON.stringify(json)}`),
	});
	#stop: Stop | undefined;
	#refusal = "";
	#usage: MessagesUsage | undefined;

	constructor({ id, facts }: DialectCall) {
		this.#request = id;
		this.#model = facts.model;
	}

	push<Piece extends StreamPiece>(piece: Piece): string {
		let text = "";
		let isComment = true;
		for (const { data } of this.#events.push(typeof piece === "string" ? Buffer.from(piece) : piece)) {
			if (data === undefined) continue;
			isComment = false;
			if (data !== "[DONE]") text += this.#chunk(JSON.parse(data) as Json);
		}
		// Clients that look for silence look at events.
		return isComment ? PING : text;
	}

	end(end: StreamEnd): string {
		const { tokens, isEstimated, tellsCost, cost } = end;
		const usage = tokens ? messagesUsage(tokens, isEstimated) : (this.#usage ?? NO_COUNTS);
		const stop = this.#stop ?? { stop_reason: "end_turn", stop_sequence: null };
		const counts = JSON.stringify(usage);
		const priced = tellsCost && cost !== undefined ? `${counts.slice(0, -1)},"cost":${decimal(cost)}}` : counts;
		const delta = `{"type":"message_delta","delta":{${stopText(stop, this.#refusal)}},"usage":${priced}}`;
		return (
			this.#begin({}) +
			this.#calls.end() +
			this.#close() +
			streamSummary(end) +
			namedEvent("message_delta", delta) +
			MESSAGE_STOP
		);
	}

	error(error: RouterError): string {
		return namedEvent("error", JSON.stringify({ type: "error", error: errorObject(error), request_id: this.#request }));
	}

	#chunk(chunk: Json): string {
		const { choices, usage } = chunk;
		if (usage != null) this.#usage = usageOf(usage);
		let text = this.#begin(chunk);
		for (const each of Array.isArray(choices) ? choices : []) {
			const choice = objectIn(each);
			// There is but one: nobody can ask for more.
			if (choice && (choice["index"] ?? 0) === 0) text += this.#choice(choice);
		}
		return text;
	}

	#begin({ id, model }: Json): string {
		if (this.#id !== undefined) return "";
		this.#id = messageId(id);
		const message = {
			id: this.#id,
			type: "message",
			role: "assistant",
			model: typeof model === "string" && model !== "" ? model : this.#model,
			content: [],
			stop_reason: null,
			stop_sequence: null,
			usage: { ...(this.#usage ?? NO_COUNTS), output_tokens: 0 },
		};
		return namedEvent("message_start", JSON.stringify({ type: "message_start", message }));
	}

	#choice(choice: Json): string {
		const delta = objectIn(choice["delta"]) ?? {};
		let text = "";
		const reasoning = reasoningIn(delta);
		if (reasoning !== "")
			text += this.#delta("thinking", `"type":"thinking_delta","thinking":${JSON.stringify(reasoning)}`);
		const { content, refusal, tool_calls: calls } = delta;
		if (typeof content === "string" && content !== "") text += this.#text(content);
		if (typeof refusal === "string" && refusal !== "") {
			this.#refusal += refusal;
			text += this.#text(refusal);
		}
		if (Array.isArray(calls)) {
			for (const [at, call] of calls.entries()) text += this.#call(objectIn(call) ?? {}, at);
		}
		if (choice["finish_reason"]) this.#stop = stopOf(choice, this.#calls.count > 0, this.#refusal !== "");
		return text;
	}

	#text(said: string): string {
		return this.#delta("text", `"type":"text_delta","text":${JSON.stringify(said)}`);
	}

	/** A piece of text or of a thought; begins its block where another one is open. */
	#delta(type: "text" | "thinking", delta: string): string {
		let text = "";
		if (this.#block !== type) {
			const block = type === "text" ? '{"type":"text","text":""}' : '{"type":"thinking","thinking":"","signature":""}';
			text = this.#calls.end() + this.#open(type, block);
		}
		return text + this.#deltaEvent(delta);
	}

	#call(call: Json, at: number): string {
		const index = typeof call["index"] === "number" ? call["index"] : at;
		const { name, arguments: args } = objectIn(call["function"]) ?? {};
		const said = typeof args === "string" ? args : "";
		const text = this.#calls.add(index, call["id"], typeof name === "string" ? name : "", said);
		if (text !== undefined) return text;
		throw new RouterError("upstream_error", "The upstream went on with a tool call behind its end.");
	}

	#deltaEvent(delta: string): string {
		const data = `{"type":"content_block_delta","index":${this.#index},"delta":{${delta}}}`;
		return namedEvent("content_block_delta", data);
	}

	#open(block: "text" | "thinking" | "tool_use", start: string): string {
		const closed = this.#close();
		this.#block = block;
		this.#index++;
		const data = `{"type":"content_block_start","index":${this.#index},"content_block":${start}}`;
		return closed + namedEvent("content_block_start", data);
	}

	#close(): string {
		if (!this.#block) return "";
		this.#block = undefined;
		return namedEvent("content_block_stop", `{"type":"content_block_stop","index":${this.#index}}`);
	}
}
