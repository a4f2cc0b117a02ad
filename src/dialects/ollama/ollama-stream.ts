/** OpenAI's streams as Ollama's: an object a line, the last of which is `done`. */
import type { RouterError } from "../../errors.ts";
import { type AnswerPiece, chunksOf, type StreamPiece } from "../../openai/sse.ts";
import { type EventFrame, eventFrame } from "../../openai/text-chunks.ts";
import { googlesDetails } from "../../openai/thought-details.ts";
import { objectIn, tokensOf } from "../../openai/usage.ts";
import { contentText, reasoningIn } from "../chat-message.ts";
import { ContentTemplate, eventsAt, type WordsWriter, wordsAlone } from "../content-template.ts";
import type { DialectCall, StreamEnd, StreamWriter } from "../dialect.ts";
import { onOneLine } from "../line-ends.ts";
import { streamFacts } from "../openai-chat.ts";
import {
	doneReason,
	durations,
	evalCounts,
	fieldsText,
	headText,
	logprobsIn,
	type OllamaForm,
	type OllamaSaid,
	saidText,
	toolCallText,
} from "./ollama-answer.ts";
import { ollamaError } from "./ollama-error.ts";
import { wholeToolName } from "./ollama-facts.ts";

type Json = Readonly<Record<string, unknown>>;

/** An object as a line of its own. */
export function ndjsonLine(json: string): string {
	return `${onOneLine(json)}\n`;
}

/** Where words stand in a line that has none: no other text in one is empty, or the last. */
const NO_WORDS = '""';

/** Fields of a piece that lines have no place for. */
const UNSAID = ["annotations", "audio", "extra_content", "function_call", "images"] as const;

/** A call of a tool, as much of it as has come. */
interface GrowingCall {
	id: string;
	name: string;
	args: string;
}

/** Writes the lines of one answer. */
export class OllamaStream implements StreamWriter {
	/** A line that says nothing: clients read each as an object, so that an empty one would be an error. */
	readonly keepAlive: string;
	readonly #head: string;
	/** What stands before and behind words in their line. */
	readonly #before: string;
	readonly #after: string;
	readonly #template = new ContentTemplate();
	readonly #frame: EventFrame;
	readonly #words: WordsWriter = {
		takesWords: () => true,
		frame: () => this.#frame,
		write: (events) => this.#events(events),
		escaped: onOneLine,
	};
	/** In the order of their coming: Ollama's calls come whole. */
	readonly #calls: GrowingCall[] = [];
	/** The last one of each index. */
	readonly #lastCalls = new Map<number, GrowingCall>();
	#finish: unknown;
	#isRefusal = false;
	/** What the upstream has said that has no place in a line. */
	readonly #leftOut = new Set<string>();
	/** The counts, where they came in a chunk. */
	#usage: unknown;

	constructor(
		private readonly call: Pick<DialectCall, "facts" | "startedAt">,
		private readonly form: OllamaForm,
	) {
		this.#head = headText(call);
		this.keepAlive = this.#line();
		const words = this.keepAlive.lastIndexOf(NO_WORDS) + 1;
		this.#before = this.keepAlive.slice(0, words);
		this.#after = this.keepAlive.slice(words);
		this.#frame = eventFrame([this.#before, this.#after]);
	}

	push(piece: AnswerPiece): StreamPiece {
		const chunks = chunksOf(piece);
		return typeof chunks === "string" ? this.#events(chunks) : this.#template.rewritten(chunks, this.#words);
	}

	#events(sent: string): string {
		let text = "";
		for (let at = 0; at < sent.length; ) {
			if (this.#template.matches(sent, at)) {
				const { literal, end } = this.#template;
				if (literal !== '""') text += this.#before + onOneLine(literal.slice(1, -1)) + this.#after;
				at = end;
				continue;
			}
			const { events, end } = eventsAt(sent, at);
			// Comments say that the upstream is still there.
			for (const { data, raw } of events) text += data === undefined ? this.keepAlive : this.#read(data, raw);
			at = end;
		}
		return text;
	}

	end(end: StreamEnd): string {
		const { tokens = tokensOf(this.#usage), isEstimated, times } = end;
		const last = {
			done: true,
			done_reason: doneReason(this.#finish, this.#isRefusal),
			...durations(times),
			...evalCounts(tokens),
			...(isEstimated ? { estimated: true } : {}),
			...(this.#leftOut.size > 0 ? { left_out: [...this.#leftOut] } : {}),
			router: streamFacts(end),
		};
		return this.#endCalls() + ndjsonLine(`{${this.#head},${saidText(this.form)}${fieldsText(last)}}`);
	}

	error(error: RouterError): string {
		return ndjsonLine(JSON.stringify(ollamaError(error, this.call)));
	}

	/** The lines of a chunk. @param event the text of its event */
	#read(data: string, event: string): string {
		const chunk = data === "[DONE]" ? undefined : chunkIn(data);
		if (!chunk) return "";
		const { usage, choices } = chunk;
		const isOne = !usage && Array.isArray(choices) && choices.length === 1 && !objectIn(choices[0])?.["logprobs"];
		const words = isOne ? wordsAlone(choices[0]) : undefined;
		if (words) this.#template.learn(event, words);
		if (usage) this.#usage = usage;
		const choice = objectIn(Array.isArray(choices) ? choices[0] : undefined);
		return choice && (choice["index"] ?? 0) === 0 ? this.#choice(choice) : "";
	}

	#choice(choice: Json): string {
		const delta = objectIn(choice["delta"]) ?? {};
		const { content, refusal, tool_calls: calls, reasoning_details: details } = delta;
		const said = contentText(content) || contentText(refusal) || contentText(choice["text"]);
		const thinking = reasoningIn(delta);
		if (contentText(refusal) !== "") this.#isRefusal = true;
		for (const name of UNSAID) if (delta[name] != null) this.#leftOut.add(name);
		const logprobs = logprobsIn(choice);
		let text = "";
		// A thought comes before what is said.
		if (thinking !== "" && said !== "") text += this.#line({ thinking });
		const all = [...(Array.isArray(details) ? details : []), ...googlesDetails(delta)];
		const signed = all.length > 0 ? all : undefined;
		if (said !== "") text += this.#line({ content: said, details: signed }, logprobs);
		else if (thinking !== "" || signed) text += this.#line({ thinking, details: signed }, logprobs);
		if (Array.isArray(calls)) for (const [at, call] of calls.entries()) this.#call(objectIn(call) ?? {}, at);
		this.#finish = choice["finish_reason"] ?? this.#finish;
		return text;
	}

	#call(sent: Json, at: number): void {
		const index = typeof sent["index"] === "number" ? sent["index"] : at;
		const { name: named, arguments: args } = objectIn(sent["function"]) ?? {};
		const [id, name] = [contentText(sent["id"]), contentText(named)];
		if (sent["extra_content"] != null) this.#leftOut.add("extra_content");
		let call = this.#lastCalls.get(index);
		// Some servers have one index for all, or none.
		if (!call || (name !== "" && id !== "" && call.id !== "" && call.id !== id)) {
			call = { id, name: "", args: "" };
			this.#calls.push(call);
			this.#lastCalls.set(index, call);
		}
		call.id ||= id;
		call.name ||= name;
		call.args += contentText(args);
	}

	/** The calls, once all is there. */
	#endCalls(): string {
		const lines = this.#calls.map(({ id, name, args }, index) =>
			this.#line({ calls: [toolCallText(id, index, wholeToolName(this.call, name), args)] }),
		);
		return lines.join("");
	}

	#line(said: Partial<OllamaSaid> = {}, more: Json = {}): string {
		const whole = { content: "", thinking: "", calls: [], ...said };
		return ndjsonLine(`{${this.#head},${saidText(this.form, whole)},"done":false${fieldsText(more)}}`);
	}
}

function chunkIn(data: string): Json | undefined {
	try {
		return objectIn(JSON.parse(data));
	} catch {
		return undefined;
	}
}
