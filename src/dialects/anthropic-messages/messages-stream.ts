/** OpenAI's streams as Anthropic's: each piece becomes its events at once, one block after the other. */
import { RouterError } from "../../errors.ts";
import { type AnswerPiece, NativePiece, type StreamPiece } from "../../openai/sse.ts";
import { type EventFrame, eventFrame } from "../../openai/text-chunks.ts";
import { addDetail, carriedDetails, googlesDetails } from "../../openai/thought-details.ts";
import { objectIn } from "../../openai/usage.ts";
import { decimal } from "../../openai/usage-edits.ts";
import { writtenPiece } from "../../openai/written-piece.ts";
import { reasoningIn } from "../chat-message.ts";
import { ContentTemplate, eventsAt, type WordsWriter, wordsAlone } from "../content-template.ts";
import type { DialectCall, StreamEnd, StreamWriter } from "../dialect.ts";
import { streamSummary } from "../openai-chat.ts";
import { callId, foreignThought, messageId, type Stop, stopOf, stopText } from "./messages-answer.ts";
import { StreamedCalls } from "./messages-calls.ts";
import { errorObject } from "./messages-error.ts";
import { type MessagesUsage, messagesUsage, NO_COUNTS, usageOf } from "./messages-usage.ts";

type Json = Readonly<Record<string, unknown>>;

/** An event under its name, without which clients pass it over. */
export const namedEvent = (name: string, data: string): string => `event: ${name}\ndata: ${data}\n\n`;

const PING = namedEvent("ping", '{"type": "ping"}');
const MESSAGE_STOP = namedEvent("message_stop", '{"type":"message_stop"}');

/** An event with a piece of a block begins and ends so. */
const DELTA_HEAD = 'event: content_block_delta\ndata: {"type":"content_block_delta","index":';
const TEXT = '"type":"text_delta","text":';
const THOUGHT = '"type":"thinking_delta","thinking":';
const ARGUMENTS = '"type":"input_json_delta","partial_json":';
const TEXT_TAIL = "}}\n\n";

/** `own`: one of a type that is Claude's alone. */
type BlockType = "text" | "thinking" | "tool_use" | "own";

/** Whether such a piece may stand in such a block. */
const takes = (block: BlockType, piece: unknown): boolean =>
	block === "own" || (PIECES[block] ?? []).includes(String(piece));
const PIECES: { readonly [block in BlockType]?: readonly string[] } = {
	text: ["text_delta", "citations_delta"],
	thinking: ["thinking_delta", "signature_delta"],
};

/** Writes one stream. */
export class MessagesStream implements StreamWriter {
	readonly keepAlive = PING;
	/** The call's id. */
	readonly #request: string;
	readonly #model: string;
	readonly #template = new ContentTemplate();
	/** What stands before the words, the thoughts or the arguments of the block that is open; and around words. */
	#textHead = "";
	#frame: EventFrame | undefined;
	readonly #words: WordsWriter = {
		takesWords: () => this.#block === "text",
		frame: () => {
			this.#frame ??= eventFrame([`${this.#textHead}"`, `"${TEXT_TAIL}`]);
			return this.#frame;
		},
		write: (events) => this.#events(events),
	};
	/** What is being written has an event that is no comment. */
	#hasEvent = false;
	#id: string | undefined;
	/** The type of the block that is being written. */
	#block: BlockType | undefined;
	/** How Claude itself has said that the message ended. */
	#ending: Json | undefined;
	/** How it has begun the tool call that comes next. */
	#begun: Json | undefined;
	#index = -1;
	readonly #calls = new StreamedCalls({
		begin: (index, id, name) => this.#open("tool_use", this.#toolUse(callId(id, this.#id!, index), name)),
		more: (json) => this.#deltaEvent(ARGUMENTS + JSON.stringify(json)),
	});
	/** What another vendor has signed, until a block says it. */
	#foreign: unknown[] = [];
	#stop: Stop | undefined;
	#refusal = "";
	#usage: MessagesUsage | undefined;

	/** @param names whole names of tools, by those that were sent */
	constructor(
		{ id, facts }: DialectCall,
		private readonly names?: ReadonlyMap<string, string>,
	) {
		this.#request = id;
		this.#model = facts.model;
	}

	push(piece: AnswerPiece): StreamPiece {
		if (!(piece instanceof NativePiece)) return this.#written(piece);
		return writtenPiece(
			piece,
			(part) => this.#written(part),
			(own, event) => (event ? this.#native(own, event) : this.#isOpen(own) ? own : undefined),
		);
	}

	/** Whether events of Claude's are pieces of the text, of the thought, or of the call, that is open. */
	#isOpen(own: Uint8Array): boolean {
		const head = this.#textHead;
		const isCall = this.#block === "tool_use";
		if (!this.#block || this.#block === "own" || own.length < head.length) return false;
		for (let at = 0; at < head.length; at++) if (own[at] !== head.charCodeAt(at)) return false;
		return !isCall || this.#calls.pass(own, head.length + 1);
	}

	/** An event of Claude's, where it can go on as it came: it fits behind what was written. */
	#native(own: Uint8Array, event: Json): StreamPiece | undefined {
		const { type, index } = event;
		if (type === "message_delta") {
			this.#ending = event;
			return "";
		}
		if (type === "message_start") {
			const id = objectIn(event["message"])?.["id"];
			if (this.#id !== undefined || typeof id !== "string") return undefined;
			this.#id = id;
			return own;
		}
		if (type === "content_block_start") {
			if (this.#id === undefined || this.#block || index !== this.#index + 1) return undefined;
			const block = objectIn(event["content_block"])?.["type"];
			this.#enter(block === "text" || block === "thinking" ? block : "own");
			return own;
		}
		if (!this.#block || this.#block === "tool_use" || index !== this.#index) return undefined;
		if (type === "content_block_stop") this.#block = undefined;
		else if (!takes(this.#block, objectIn(event["delta"])?.["type"])) return undefined;
		return own;
	}

	#written(piece: StreamPiece): StreamPiece {
		this.#hasEvent = false;
		const written = typeof piece === "string" ? this.#events(piece) : this.#template.rewritten(piece, this.#words);
		// Clients that look for silence look at events.
		return written.length > 0 || this.#hasEvent ? written : PING;
	}

	#events(sent: string): string {
		let text = "";
		let at = 0;
		while (at < sent.length) {
			if (this.#block === "text" && this.#template.matches(sent, at)) {
				const { literal, end } = this.#template;
				if (literal !== '""') text += this.#textHead + literal + TEXT_TAIL;
				this.#hasEvent = true;
				at = end;
				continue;
			}
			const { events, end } = eventsAt(sent, at);
			for (const { data, raw } of events) {
				if (data === undefined) continue;
				this.#hasEvent = true;
				if (data !== "[DONE]") text += this.#chunk(JSON.parse(data) as Json, raw);
			}
			at = end;
		}
		return text;
	}

	end(end: StreamEnd): string {
		const last = this.#begin({}) + this.#calls.end() + this.#close() + streamSummary(end);
		return last + namedEvent("message_delta", this.#endingOf(end)) + MESSAGE_STOP;
	}

	/** How the message ended, as Claude itself has said it where it has. */
	#endingOf({ tokens, isEstimated, tellsCost, cost }: StreamEnd): string {
		const own = this.#ending;
		const counted = tokens ? messagesUsage(tokens, isEstimated) : (this.#usage ?? NO_COUNTS);
		const counts = JSON.stringify({ ...counted, ...objectIn(own?.["usage"]) });
		const usage = tellsCost && cost !== undefined ? `${counts.slice(0, -1)},"cost":${decimal(cost)}}` : counts;
		if (own) {
			const { usage: _, ...rest } = own;
			return `${JSON.stringify(rest).slice(0, -1)},"usage":${usage}}`;
		}
		const stop = this.#stop ?? { stop_reason: "end_turn", stop_sequence: null };
		return `{"type":"message_delta","delta":{${stopText(stop, this.#refusal)}},"usage":${usage}}`;
	}

	error(error: RouterError): string {
		return namedEvent("error", JSON.stringify({ type: "error", error: errorObject(error), request_id: this.#request }));
	}

	#chunk(chunk: Json, event: string): string {
		const { choices, usage } = chunk;
		if (usage != null) this.#usage = usageOf(usage);
		const first = objectIn(Array.isArray(choices) ? choices[0] : undefined);
		let text = this.#begin(chunk, objectIn(objectIn(first?.["anthropic"])?.["message"]));
		const content =
			usage == null && Array.isArray(choices) && choices.length === 1 ? wordsAlone(choices[0]) : undefined;
		if (content) this.#template.learn(event, content);
		for (const each of Array.isArray(choices) ? choices : []) {
			const choice = objectIn(each);
			// There is but one: nobody can ask for more.
			if (choice && (choice["index"] ?? 0) === 0) text += this.#choice(choice);
		}
		return text;
	}

	/** @param own the message as Claude itself has begun it */
	#begin({ model }: Json, own?: Json): string {
		if (this.#id !== undefined) return "";
		this.#id = typeof own?.["id"] === "string" ? own["id"] : messageId(this.#request);
		const message = own ?? {
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
		let text = this.#beside(objectIn(choice["anthropic"]));
		const reasoning = reasoningIn(delta);
		if (reasoning !== "") text += this.#delta("thinking", THOUGHT + JSON.stringify(reasoning));
		const { content, refusal, tool_calls: calls, reasoning_details: details, anthropic: own } = delta;
		if (Array.isArray(details)) for (const detail of details) text += this.#signed(objectIn(detail) ?? {});
		for (const detail of googlesDetails(delta)) this.#foreign.push(detail);
		if (objectIn(own)) text += this.#asItCame(own as Json);
		if (typeof content === "string" && content !== "") text += this.#text(content);
		if (typeof refusal === "string" && refusal !== "" && !this.#ending) {
			this.#refusal += refusal;
			text += this.#text(refusal);
		}
		if (Array.isArray(calls)) {
			for (const [at, call] of calls.entries()) text += this.#call(objectIn(call) ?? {}, at);
		}
		if (choice["finish_reason"]) this.#stop = stopOf(choice, this.#calls.count > 0, this.#refusal !== "");
		return text;
	}

	/** What Claude has said beside OpenAI's words: where blocks begin, and how the message ended. */
	#beside(own: Json | undefined): string {
		if (own?.["type"] === "message_delta") this.#ending = own;
		if (own?.["type"] !== "content_block_start") return "";
		this.#begun = objectIn(own["content_block"]);
		return this.#calls.end() + this.#close();
	}

	/** A call's block, as Claude itself has begun it where it has. */
	#toolUse(id: string, name: string): string {
		return JSON.stringify(
			this.#begun?.["id"] === id
				? this.#begun
				: { type: "tool_use", id, name: this.names?.get(name) ?? name, input: {} },
		);
	}

	/** An event of Claude's of which OpenAI's words have no form. */
	#asItCame({ type, content_block: block, delta }: Json): string {
		if (type === "content_block_stop") return this.#close();
		if (type === "content_block_start") return this.#calls.end() + this.#open("own", JSON.stringify(block));
		const written = JSON.stringify(delta).slice(1, -1);
		return objectIn(delta)?.["type"] === "citations_delta" ? this.#delta("text", written) : this.#deltaEvent(written);
	}

	/** A thought of Claude's that is whole: its signature ends its block. One that comes behind its place is left out. */
	#signed(detail: Json): string {
		const { type, format, signature, data } = detail;
		if (format !== "anthropic-claude-v1") {
			addDetail(this.#foreign, detail);
			return "";
		}
		if (type === "reasoning.encrypted" && this.#block === undefined && typeof data === "string") {
			return this.#open("own", JSON.stringify({ type: "redacted_thinking", data })) + this.#close();
		}
		if (type !== "reasoning.text" || typeof signature !== "string" || signature === "") return "";
		// One whose words Claude keeps to itself has a signature alone.
		if (this.#block !== "thinking" && this.#block !== undefined) return "";
		return this.#delta("thinking", `"type":"signature_delta","signature":${JSON.stringify(signature)}`) + this.#close();
	}

	#text(said: string): string {
		return this.#delta("text", TEXT + JSON.stringify(said));
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
		return `${DELTA_HEAD}${this.#index},"delta":{${delta}}}\n\n`;
	}

	#open(block: BlockType, start: string): string {
		const closed = this.#close() + (block === "thinking" ? "" : this.#signedApart());
		this.#enter(block);
		const data = `{"type":"content_block_start","index":${this.#index},"content_block":${start}}`;
		return closed + namedEvent("content_block_start", data);
	}

	#enter(block: BlockType): void {
		this.#block = block;
		this.#index++;
		const piece = block === "tool_use" ? ARGUMENTS : block === "thinking" ? THOUGHT : TEXT;
		this.#textHead = `${DELTA_HEAD}${this.#index},"delta":{${piece}`;
		this.#frame = undefined;
	}

	/** What another vendor has signed, in a block of its own. Behind all else there is none: clients look for words and calls there. */
	#signedApart(): string {
		if (this.#foreign.length === 0) return "";
		const block = foreignThought("", this.#foreign);
		this.#foreign = [];
		return this.#open("own", JSON.stringify(block)) + this.#close();
	}

	#close(): string {
		if (!this.#block) return "";
		let text = "";
		if (this.#block === "thinking" && this.#foreign.length > 0) {
			const signature = JSON.stringify(carriedDetails(this.#foreign));
			text = this.#deltaEvent(`"type":"signature_delta","signature":${signature}`);
			this.#foreign = [];
		}
		this.#block = undefined;
		return text + namedEvent("content_block_stop", `{"type":"content_block_stop","index":${this.#index}}`);
	}
}
