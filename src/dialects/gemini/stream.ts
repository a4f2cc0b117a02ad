/** OpenAI's streams as Google's: each piece becomes a part at once, but for calls, which go out when they are whole. */
import type { RouterError } from "../../errors.ts";
import { type AnswerPiece, NativePiece, SseSplitter, type StreamPiece } from "../../openai/sse.ts";
import { type EventFrame, eventFrame } from "../../openai/text-chunks.ts";
import { addDetail } from "../../openai/thought-details.ts";
import { objectIn } from "../../openai/usage.ts";
import { writtenPiece } from "../../openai/written-piece.ts";
import { contentText, reasoningIn } from "../chat-message.ts";
import { ContentTemplate, eventsAt, type WordsWriter, wordsAlone } from "../content-template.ts";
import type { StreamEnd, StreamWriter } from "../dialect.ts";
import { onOneLine } from "../line-ends.ts";
import {
	candidateText,
	carriedText,
	finishReason,
	type GeneratedForm,
	imagePart,
	logprobsText,
	responseId,
	signatureText,
	textPart,
	thoughtPart,
} from "./answer.ts";
import { CallParts } from "./call-parts.ts";
import { errorText } from "./error.ts";
import { usageMetadata, usageOf, usageText } from "./usage-metadata.ts";

type Json = Readonly<Record<string, unknown>>;

/** How the pieces of a stream stand in it. */
export interface StreamFraming {
	/** Before a piece: the first, and each other. */
	readonly first: string;
	readonly next: string;
	/** Behind each. */
	readonly behind: string;
	/** An error stands there twice, the second time bare, as Google itself sends it: Go's client knows it by that alone, all others by the first. */
	readonly repeatsErrors: boolean;
	/** Behind the last. */
	readonly last: string;
}

/** `alt=sse`. */
export const EVENTS: StreamFraming = {
	first: "data: ",
	next: "data: ",
	behind: "\n\n",
	repeatsErrors: true,
	last: "",
};
/** Without it: one JSON list. */
export const LIST: StreamFraming = { first: "[", next: ",\n", behind: "", repeatsErrors: false, last: "\n]\n" };

/** How `native-events.ts` of the provider marks an event of Google's, and what stands behind it. */
const OWN = '"gemini":{"chunks":';
const EVENT = ',"event":';
const OWN_END = '},"logprobs":null,"finish_reason":null}]}';

/** One candidate, as far as it has come. */
interface StreamedChoice {
	readonly calls: CallParts;
	/** What another vendor has signed, until a part says it. */
	details: unknown[];
	finish: unknown;
	isRefusal: boolean;
}

/** What is to be carried of a choice, which the next part does. */
function carriedOf(choice: StreamedChoice): string {
	const { details } = choice;
	choice.details = [];
	return carriedText(details);
}

/** The calls that wait, as parts: those that are whole, or at the end all of them. */
const callsOf = (choice: StreamedChoice, isEnd = false): string[] =>
	choice.calls.waits ? choice.calls.parts(() => carriedOf(choice), isEnd) : [];

/** Whether an event of Google's has a finish reason. */
const hasFinish = ({ candidates }: Json): boolean =>
	Array.isArray(candidates) && candidates.some((candidate) => objectIn(candidate)?.["finishReason"] != null);

/** Writes one stream. */
export class GeminiStream implements StreamWriter {
	/** No comment: Google's own clients in Go and Python take one for a broken event. Between events, and in JSON, an empty line says nothing. */
	readonly keepAlive = "\n\n";
	readonly #template = new ContentTemplate();
	#frame: EventFrame | undefined;
	/** Writes words, behind the first, where nothing waits that comes before them. */
	readonly #words: WordsWriter = {
		takesWords: () => this.#toSkip === 0 && !this.#choices.get(0)?.calls.waits,
		frame: () => {
			this.#isFinished = false;
			this.#frame ??= this.#frameOf();
			return this.#frame;
		},
		write: (events) => this.#events(events),
		escaped: onOneLine,
	};
	readonly #choices = new Map<number, StreamedChoice>();
	#hasBegun = false;
	/** What all pieces end with: the model's version and the answer's id. */
	#tail: string | undefined;
	#usage: unknown;
	/** Chunks that say in OpenAI's words what has gone out as Google has said it. */
	#toSkip = 0;
	/** The last event of Google's had its finish reason. */
	#isFinished = false;

	/** @param model what the client has asked for */
	constructor(
		private readonly form: GeneratedForm,
		private readonly model: string,
		private readonly framing: StreamFraming,
	) {}

	/** What says nothing to this client is an empty line: it hears that the answer goes on. */
	push(piece: AnswerPiece): StreamPiece {
		if (!(piece instanceof NativePiece)) {
			const written = this.#written(piece);
			return written.length > 0 ? written : this.keepAlive;
		}
		return writtenPiece(
			piece,
			(part) => this.#written(part),
			(own, event) => this.#own(own, event),
		);
	}

	/** Events of Google's: some with text, of which none is the last, or the one that is given parsed, too. */
	#own(own: Uint8Array, event?: Json): StreamPiece {
		if (own.length === 0) return "";
		this.#isFinished = event !== undefined && hasFinish(event);
		if (this.framing === EVENTS) {
			this.#hasBegun = true;
			return own;
		}
		let text = "";
		for (const { data } of new SseSplitter().push(own)) {
			if (data !== undefined) text += `${this.#before()}${data}${this.framing.behind}`;
		}
		return text;
	}

	#written(piece: StreamPiece): StreamPiece {
		return typeof piece === "string" ? this.#events(piece) : this.#template.rewritten(piece, this.#words);
	}

	#events(sent: string): string {
		let text = "";
		let at = 0;
		while (at < sent.length) {
			if (this.#toSkip === 0 && this.#template.matches(sent, at)) {
				const { literal, end } = this.#template;
				if (literal !== '""') text += this.#said(literal);
				at = end;
				continue;
			}
			const { events, end } = eventsAt(sent, at);
			for (const { data, raw } of events) {
				if (data === undefined || data === "[DONE]") continue;
				if (this.#toSkip > 0) this.#toSkip--;
				else if (data.endsWith(OWN_END) && data.includes(OWN)) text += this.#asItCame(data);
				else text += this.#chunk(JSON.parse(data) as Json, raw);
			}
			at = end;
		}
		return text;
	}

	/** Words of the first choice, as JSON. */
	#said(literal: string): string {
		const choice = this.#choiceAt(0);
		this.#isFinished = false;
		return this.#piece([candidateText([...callsOf(choice), `{"text":${literal}}`], 0)]);
	}

	/** What stands around such words alone. */
	#frameOf(): EventFrame {
		const piece = this.#piece([candidateText(['{"text":""}'], 0)]);
		const at = piece.indexOf('""') + 1;
		return eventFrame([piece.slice(0, at), piece.slice(at)]);
	}

	/** An event of Google's, and so many chunks behind it that say the same. */
	#asItCame(data: string): string {
		const at = data.indexOf(OWN) + OWN.length;
		const comma = data.indexOf(",", at);
		this.#toSkip = Number(data.slice(at, comma));
		const event = data.slice(comma + EVENT.length, -OWN_END.length);
		if (event === "null") return "";
		// In a text the quotes would be escaped.
		this.#isFinished = event.includes('"finishReason"');
		return `${this.#before()}${event}${this.framing.behind}`;
	}

	end({ tokens, isEstimated, tellsCost, cost }: StreamEnd): string {
		// Google itself has said how it ended. A piece more, without a candidate, would be none of an answer for chats of Google's clients.
		if (this.#isFinished) return this.framing.last;
		const usage = tokens ? usageMetadata(tokens, isEstimated) : usageOf(this.#usage);
		const counted = `"usageMetadata":${usageText(usage, tellsCost ? cost : undefined)},`;
		const candidates: string[] = [];
		if (this.#choices.size === 0) this.#choiceAt(0);
		for (const [index, choice] of this.#choices) {
			const calls = callsOf(choice, true);
			const finish = `,"finishReason":"${finishReason(choice.finish, choice.isRefusal)}"`;
			const last =
				calls.length > 0 && choice.details.length === 0 ? calls : [...calls, textPart("", carriedOf(choice))];
			candidates.push(candidateText(last, index, finish));
		}
		return this.#piece(candidates, counted) + this.framing.last;
	}

	error(error: RouterError): string {
		const { behind, last, repeatsErrors } = this.framing;
		const text = onOneLine(errorText(error, this.form.id)) + behind;
		return this.#before() + text + (repeatsErrors ? text : "") + last;
	}

	/** @param event the text of its event */
	#chunk({ choices, usage, model }: Json, event: string): string {
		if (usage != null) this.#usage = usage;
		if (typeof model === "string" && model !== "") this.#tail ??= this.#tailOf(model);
		const all = Array.isArray(choices) ? choices : [];
		const isOne = usage == null && all.length === 1 && objectIn(all[0])?.["logprobs"] == null;
		const words = isOne ? wordsAlone(all[0]) : undefined;
		if (words) this.#template.learn(event, words);
		let text = "";
		for (const each of all) {
			const choice = objectIn(each);
			if (choice) text += this.#choice(choice);
		}
		return text;
	}

	#choice(choice: Json): string {
		this.#isFinished = false;
		const index = typeof choice["index"] === "number" ? choice["index"] : 0;
		const state = this.#choiceAt(index);
		const delta = objectIn(choice["delta"]) ?? {};
		const parts: string[] = [];
		const reasoning = this.form.showsThoughts ? reasoningIn(delta) : "";
		const { reasoning_details: details } = delta;
		if (Array.isArray(details)) for (const detail of details) addDetail(state.details, detail);
		if (reasoning !== "") parts.push(...callsOf(state), thoughtPart(reasoning));
		const { refusal, images, tool_calls: calls, finish_reason } = { ...delta, ...choice } as Json;
		const said = contentText(delta["content"]) + contentText(refusal);
		if (contentText(refusal) !== "") state.isRefusal = true;
		const signature = signatureText(delta);
		if (said !== "" || signature !== "") parts.push(...callsOf(state), textPart(said, signature));
		if (Array.isArray(images)) parts.push(...images.map(imagePart).filter((part) => part !== ""));
		if (Array.isArray(calls)) for (const [at, call] of calls.entries()) state.calls.add(objectIn(call) ?? {}, at);
		if (finish_reason) state.finish = finish_reason;
		const logprobs = logprobsText(choice["logprobs"]);
		if (parts.length === 0 && logprobs === "") return "";
		// One without a part is none for chats of Google's clients.
		if (parts.length === 0) parts.push(textPart(""));
		return this.#piece([candidateText(parts, index, logprobs)]);
	}

	#choiceAt(index: number): StreamedChoice {
		let choice = this.#choices.get(index);
		if (!choice) {
			choice = { calls: new CallParts(this.form), details: [], finish: undefined, isRefusal: false };
			this.#choices.set(index, choice);
		}
		return choice;
	}

	#piece(candidates: readonly string[], usage = ""): string {
		this.#tail ??= this.#tailOf(this.model);
		const piece = `{"candidates":[${candidates.join(",")}],${usage}${this.#tail}`;
		return this.#before() + onOneLine(piece) + this.framing.behind;
	}

	#before(): string {
		const { first, next } = this.framing;
		const before = this.#hasBegun ? next : first;
		this.#hasBegun = true;
		return before;
	}

	#tailOf(model: string): string {
		return JSON.stringify({ modelVersion: model, responseId: responseId(this.form.id) }).slice(1);
	}
}
