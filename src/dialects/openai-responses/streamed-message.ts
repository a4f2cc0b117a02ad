/** A message of a response as it comes: words, and behind them words by which the model refuses. */
import { objectIn } from "../../openai/usage.ts";
import { literalText } from "../content-template.ts";
import { annotationsIn, type ItemStatus, logprobsIn, messageItem, refusalPart, textPart } from "./output-items.ts";
import type { OpenItem } from "./upstream-events.ts";

/** An event of this type with these fields, JSON without the braces around it. */
export type WriteEvent = (type: string, fields: string) => string;

/** The item that an event is about. */
export const placeOf = (id: string, index: number): string => `"item_id":"${id}","output_index":${index}`;

/** One message. */
export class StreamedMessage {
	/** What its vendor wants back with it. */
	extra: unknown;
	#text = "";
	#hasText = false;
	#refusal = "";
	readonly #annotations: object[] = [];
	readonly #logprobs: object[] = [];
	/** The beginning of each event of its words. */
	readonly #place: string;

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
		message.#text = text;
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
		this.#text += literalText(literal);
		return this.event("response.output_text.delta", `${this.#place},"delta":${literal},"logprobs":[]`);
	}

	/** Words. `logprobs`: as a chat has them. */
	say(text: string, logprobs: unknown): string {
		const opened = this.#openText();
		this.#text += text;
		const shown = logprobsIn(objectIn(logprobs)?.["content"]);
		this.#logprobs.push(...shown);
		const logs = shown.length === 0 ? "[]" : JSON.stringify(shown);
		const fields = `${this.#place},"delta":${JSON.stringify(text)},"logprobs":${logs}`;
		return opened + this.event("response.output_text.delta", fields);
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
			const logprobs = JSON.stringify(this.#logprobs);
			const done = `${this.#place},"text":${JSON.stringify(this.#text)},"logprobs":${logprobs}`;
			events += this.event("response.output_text.done", done);
			const part = JSON.stringify(textPart(this.#text, this.#annotations, this.#logprobs));
			events += this.event("response.content_part.done", `${this.#place},"part":${part}`);
		}
		if (this.isRefusal) {
			const place = this.#refusalPlace;
			const part = JSON.stringify(refusalPart(this.#refusal));
			events += this.event("response.refusal.done", `${place},"refusal":${JSON.stringify(this.#refusal)}`);
			events += this.event("response.content_part.done", `${place},"part":${part}`);
		}
		return events;
	}

	/** As it is by now. */
	item(status: ItemStatus): object {
		const parts: object[] = [];
		if (this.#hasText) parts.push(textPart(this.#text, this.#annotations, this.#logprobs));
		if (this.isRefusal) parts.push(refusalPart(this.#refusal));
		return messageItem(this.id, parts, status, this.extra);
	}

	#openText(): string {
		if (this.#hasText) return "";
		this.#hasText = true;
		return this.event("response.content_part.added", `${this.#place},"part":${JSON.stringify(textPart(""))}`);
	}

	get #refusalPlace(): string {
		return `${placeOf(this.id, this.index)},"content_index":${this.#hasText ? 1 : 0}`;
	}
}
