/** A message of a response as it comes: words, and behind them words by which the model refuses. */
import { NumberedFrame } from "../../openai/text-chunks.ts";
import { objectIn } from "../../openai/usage.ts";
import { annotationsIn, type ItemStatus, logprobsIn, messageText, refusalPart, textPartText } from "./output-items.ts";
import type { OpenItem } from "./upstream-events.ts";

/** An event of this type with these fields, JSON without the braces around it. */
export type WriteEvent = (type: string, fields: string) => string;

/** What stands in such an event before its number, and behind it. */
export const eventHead = (type: string): string => `event: ${type}\ndata: {"type":"${type}","sequence_number":`;
export const EVENT_END = "}\n\n";

/** The item that an event is about. */
export const placeOf = (id: string, index: number): string => `"item_id":"${id}","output_index":${index}`;

/** An item that goes on with a piece of its words, or of its arguments, that nobody has read. */
export interface OpenText {
	/** What stands around a piece in its event. */
	readonly frame: NumberedFrame;
	/** Takes the pieces. @param json as JSON without its quotes */
	take(json: string): void;
}

const TEXT_DELTA = "response.output_text.delta";

/** One message. */
export class StreamedMessage implements OpenText {
	/** What its vendor wants back with it. */
	extra: unknown;
	/** Its words, JSON without its quotes. */
	#text = "";
	#hasText = false;
	#refusal = "";
	readonly #annotations: object[] = [];
	readonly #logprobs: object[] = [];
	/** The beginning of each event of its words. */
	readonly #place: string;
	#frame: NumberedFrame | undefined;

	constructor(
		readonly id: string,
		readonly index: number,
		private readonly event: WriteEvent,
	) {
		this.#place = `${placeOf(id, index)},"content_index":0`;
	}

	/** One that an upstream has begun. */
	static of({ item: { id }, index, text, refusal, hasText }: OpenItem, event: WriteEvent): StreamedMessage {
		const message = new StreamedMessage(String(id), index, event);
		message.#text = jsonOf(text);
		message.#hasText = hasText;
		message.#refusal = refusal;
		return message;
	}

	/** It refuses: no other words may follow in this message. */
	get isRefusal(): boolean {
		return this.#refusal !== "";
	}

	/** Its words have begun, and go on. */
	get isSaying(): boolean {
		return this.#hasText && !this.isRefusal;
	}

	/** Words, JSON, with no log probabilities. */
	sayPlain(literal: string): string {
		this.take(literal.slice(1, -1));
		return this.event(TEXT_DELTA, `${this.#place},"delta":${literal},"logprobs":[]`);
	}

	take(json: string): void {
		this.#text += json;
	}

	get frame(): NumberedFrame {
		this.#frame ??= new NumberedFrame(
			eventHead(TEXT_DELTA),
			`,${this.#place},"delta":"`,
			`","logprobs":[]${EVENT_END}`,
		);
		return this.#frame;
	}

	/** Words. `logprobs`: as a chat has them. */
	say(text: string, logprobs: unknown): string {
		const opened = this.#openText();
		const json = jsonOf(text);
		this.#text += json;
		const shown = logprobsIn(objectIn(logprobs)?.["content"]);
		this.#logprobs.push(...shown);
		const logs = shown.length === 0 ? "[]" : JSON.stringify(shown);
		return opened + this.event(TEXT_DELTA, `${this.#place},"delta":"${json}","logprobs":${logs}`);
	}

	/** Sources of the words, as a chat has them; a refusal alone has none. */
	annotate(sent: readonly unknown[]): string {
		if (this.isRefusal && !this.#hasText) return "";
		let events = this.#openText();
		for (const annotation of annotationsIn(sent)) {
			const nth = this.#annotations.push(annotation) - 1;
			const fields = `${this.#place},"annotation_index":${nth},"annotation":${JSON.stringify(annotation)}`;
			events += this.event("response.output_text.annotation.added", fields);
		}
		return events;
	}

	/** Words of refusal. */
	refuse(text: string): string {
		const place = this.#refusalPlace;
		let events = "";
		if (!this.isRefusal) {
			events = this.event("response.content_part.added", `${place},"part":${JSON.stringify(refusalPart(""))}`);
		}
		this.#refusal += text;
		return events + this.event("response.refusal.delta", `${place},"delta":${JSON.stringify(text)}`);
	}

	/** Closes its parts. A message that says nothing has one that says nothing. */
	close(): string {
		let events = this.isRefusal ? "" : this.#openText();
		if (this.#hasText) {
			const done = `${this.#place},"text":"${this.#text}","logprobs":${JSON.stringify(this.#logprobs)}`;
			events += this.event("response.output_text.done", done);
			events += this.event("response.content_part.done", `${this.#place},"part":${this.#textPart}`);
		}
		if (this.isRefusal) {
			const place = this.#refusalPlace;
			const part = JSON.stringify(refusalPart(this.#refusal));
			events += this.event("response.refusal.done", `${place},"refusal":${JSON.stringify(this.#refusal)}`);
			events += this.event("response.content_part.done", `${place},"part":${part}`);
		}
		return events;
	}

	/** As it is by now, JSON. */
	item(status: ItemStatus): string {
		const parts: string[] = [];
		if (this.#hasText) parts.push(this.#textPart);
		if (this.isRefusal) parts.push(JSON.stringify(refusalPart(this.#refusal)));
		return messageText(this.id, parts, status, this.extra);
	}

	get #textPart(): string {
		return textPartText(this.#text, JSON.stringify(this.#annotations), JSON.stringify(this.#logprobs));
	}

	#openText(): string {
		if (this.#hasText) return "";
		this.#hasText = true;
		return this.event("response.content_part.added", `${this.#place},"part":${textPartText("")}`);
	}

	get #refusalPlace(): string {
		return `${placeOf(this.id, this.index)},"content_index":${this.#hasText ? 1 : 0}`;
	}
}

/** A text as JSON without its quotes. */
const jsonOf = (text: string): string => JSON.stringify(text).slice(1, -1);
