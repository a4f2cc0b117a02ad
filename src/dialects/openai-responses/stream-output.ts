/** The output of a response as it comes: which items are open, and the events that open, fill and close them. */
import { NumberedFrame } from "../../openai/text-chunks.ts";
import { addDetail, googlesDetails, isGooglesOwn } from "../../openai/thought-details.ts";
import { objectIn } from "../../openai/usage.ts";
import { literalText } from "../content-template.ts";
import { asksEncrypted, type ItemStatus, imageItem, type ResponseIds, reasoningItem } from "./output-items.ts";
import type { ResponsesRequest } from "./request.ts";
import { type CallPiece, StreamedCall } from "./streamed-call.ts";
import { EVENT_END, eventHead, type OpenText, placeOf, StreamedMessage, type WriteEvent } from "./streamed-message.ts";
import type { UpstreamResponse } from "./upstream-events.ts";

const SUMMARY_DELTA = "response.reasoning_summary_text.delta";

/** What the model thinks. */
class Thoughts implements OpenText {
	text = "";
	/** The beginning of each event of its words. */
	readonly place: string;
	#frame: NumberedFrame | undefined;

	constructor(
		readonly id: string,
		readonly index: number,
	) {
		this.place = `${placeOf(id, index)},"summary_index":0`;
	}

	take(json: string): void {
		this.text += literalText(`"${json}"`);
	}

	get frame(): NumberedFrame {
		this.#frame ??= new NumberedFrame(eventHead(SUMMARY_DELTA), `,${this.place},"delta":"`, `"${EVENT_END}`);
		return this.#frame;
	}
}

/** The items of one response. Thoughts and messages follow one another; calls may come side by side, and beside either until they are whole. */
export class StreamOutput {
	/** Items that are closed, each as JSON, by their places. */
	readonly items: string[] = [];
	#thoughts: Thoughts | undefined;
	#message: StreamedMessage | undefined;
	/** Open calls in their order, and by the index that their upstream gives them. */
	#calls: StreamedCall[] = [];
	readonly #callsByIndex = new Map<number, StreamedCall>();
	/** Items that were opened. */
	#count = 0;
	/** What the vendor signed of the thoughts, which may come behind all else. */
	readonly #details: unknown[] = [];
	/** How many of these a closed item carries. */
	#carried = 0;
	/** The place of the first item of thoughts, once it is closed. */
	#thoughtAt: number | undefined;

	constructor(
		private readonly request: ResponsesRequest,
		private readonly ids: ResponseIds,
		private readonly event: WriteEvent,
	) {}

	/** Goes on with the items that an upstream has told of in its own events. Thoughts are over: others are another item. */
	goOnFrom({ closed, open, count }: Pick<UpstreamResponse, "closed" | "open" | "count">): string {
		let events = "";
		for (const [at, item] of closed.entries()) if (item !== undefined) this.items[at] = item;
		this.#count = count;
		for (const item of open) {
			const { type } = item.item;
			if (type === "message") this.#message = StreamedMessage.of(item, this.event);
			else if (type === "function_call") {
				const call = StreamedCall.of(item, this.request, this.event);
				this.#callsByIndex.set(this.#calls.length, call);
				this.#calls.push(call);
			} else if (type === "reasoning") {
				const thoughts = new Thoughts(String(item.item["id"]), item.index);
				thoughts.text = item.summary;
				events += this.#closeSummary(thoughts) + this.#done(item.index, JSON.stringify(this.#thoughtsItem(thoughts)));
			}
		}
		return events;
	}

	/** What words go to that nobody has read; undefined where what they mean depends on more than the message that is open. */
	get openWords(): OpenText | undefined {
		return this.#message?.isSaying ? this.#message : undefined;
	}

	/** The same of what the model thinks. */
	get openThoughts(): OpenText | undefined {
		return this.#thoughts?.text ? this.#thoughts : undefined;
	}

	/** The same of a piece of the arguments of the call that its upstream gives this index. */
	openArguments(index: number): OpenText | undefined {
		const call = this.#callsByIndex.get(index);
		return call?.isTold ? call : undefined;
	}

	/** The events of words without anything else, JSON. */
	say(literal: string): string {
		const message = this.#message;
		if (literal === '""') return "";
		return message?.isSaying ? message.sayPlain(literal) : this.push({ content: literalText(literal) }, undefined);
	}

	/** The same of what the model thinks alone. */
	sayThoughts(literal: string): string {
		return literal === '""' ? "" : this.#think(literalText(literal));
	}

	/** The same of a piece of the arguments of the call that its upstream gives this index. */
	sayArguments(index: number, literal: string): string {
		const call = this.#callsByIndex.get(index);
		if (call && call.index !== -1) return call.more(literal);
		return this.#call({ index, function: { arguments: literalText(literal) } });
	}

	/** The events of a piece of the answer. */
	push(delta: Readonly<Record<string, unknown>>, logprobs: unknown): string {
		const { content, refusal, annotations, tool_calls: calls, images, reasoning_details: details } = delta;
		const thought = delta["reasoning_content"] ?? delta["reasoning"];
		let events = "";
		if (typeof thought === "string" && thought !== "") events += this.#think(thought);
		if (Array.isArray(details)) for (const detail of details) addDetail(this.#details, detail);
		for (const detail of googlesDetails(delta)) this.#details.push(detail);
		if (typeof content === "string" && content !== "") {
			// Words of refusal are the last of their message.
			if (this.#message?.isRefusal) events += this.#close("completed");
			events += this.#toMessage((message) => message.say(content, logprobs));
		}
		if (Array.isArray(annotations) && annotations.length > 0) {
			events += this.#toMessage((message) => message.annotate(annotations));
		}
		if (typeof refusal === "string" && refusal !== "") {
			events += this.#toMessage((message) => message.refuse(refusal));
		}
		if (this.#message && delta["extra_content"] !== undefined) this.#message.extra = delta["extra_content"];
		if (Array.isArray(images)) for (const image of images) events += this.#show(image);
		if (Array.isArray(calls)) for (const call of calls) events += this.#call(objectIn(call) ?? {});
		return events;
	}

	/** Closes what is open, the last item with the response's own status. */
	end(status: ItemStatus): string {
		let events = this.#close(status, this.#calls);
		if (this.#details.length > 0) events += this.#sign();
		if (this.#count > 0) return events;
		// An answer that says nothing is a message that says nothing.
		events += this.#toMessage(() => "");
		return events + this.#close(status);
	}

	/** The items of a response that broke off. Calls that are not whole are left out: nobody may run them. */
	soFar(): readonly string[] {
		const open =
			this.#message?.item("incomplete") ?? (this.#thoughts && JSON.stringify(this.#thoughtsItem(this.#thoughts)));
		// Places of open calls are empty.
		const closed = this.items.filter((item) => item !== undefined);
		return open === undefined ? closed : [...closed, open];
	}

	#think(text: string): string {
		let events = this.#openThoughts();
		const thoughts = this.#thoughts!;
		const { place } = thoughts;
		if (thoughts.text === "") {
			events += this.event(
				"response.reasoning_summary_part.added",
				`${place},"part":{"type":"summary_text","text":""}`,
			);
		}
		thoughts.text += text;
		return events + this.event(SUMMARY_DELTA, `${place},"delta":${JSON.stringify(text)}`);
	}

	#openThoughts(): string {
		if (this.#thoughts) return "";
		const closed = this.#close("completed");
		this.#thoughts = new Thoughts(this.ids.item("reasoning"), this.#count++);
		return closed + this.#added(this.#thoughts.index, JSON.stringify(reasoningItem(this.#thoughts.id, "", [], [])));
	}

	/** What was signed before what comes next, in an item of its own where no words of thoughts are open. */
	#carry(): string {
		if (this.#thoughts || this.#carried === this.#details.length || !asksEncrypted(this.request)) return "";
		return this.#openThoughts() + this.#close("completed", []);
	}

	/** Puts what was signed to the thoughts, in the response that is complete; where none were told they get an item of their own. */
	#sign(): string {
		let events = "";
		const isNone = this.#thoughtAt === undefined;
		// Google's stand with their calls as well.
		if (isNone && this.#details.every(isGooglesOwn)) return "";
		const left = asksEncrypted(this.request) ? this.#details.slice(this.#carried) : [];
		if (isNone || !left.every(isGooglesOwn)) events = this.#openThoughts() + this.#close("completed");
		const at = this.#thoughtAt!;
		this.items[at] = JSON.stringify({ ...JSON.parse(this.items[at]!), reasoning_details: this.#details });
		return events;
	}

	#toMessage(write: (message: StreamedMessage) => string): string {
		let events = "";
		if (!this.#message) {
			events = this.#carry() + this.#close("completed");
			this.#message = new StreamedMessage(this.ids.item("message"), this.#count++, this.event);
			events += this.#added(this.#message.index, this.#message.item("in_progress"));
		}
		return events + write(this.#message);
	}

	#show(image: unknown): string {
		const closed = this.#close("completed");
		const item = imageItem(this.ids.item("image"), image);
		if (!item) return closed;
		const index = this.#count++;
		const begun = JSON.stringify({ ...item, status: "in_progress", result: null });
		return closed + this.#added(index, begun) + this.#done(index, JSON.stringify(item));
	}

	#call(piece: CallPiece): string {
		const at = typeof piece["index"] === "number" ? piece["index"] : 0;
		let call = this.#callsByIndex.get(at);
		let events = "";
		if (!call || call.isEndedBy(piece)) {
			events = this.#carry();
			if (this.#message || this.#thoughts) events += this.#close("completed");
			call = new StreamedCall(this.request, this.event);
			this.#callsByIndex.set(at, call);
			this.#calls.push(call);
		}
		const isNew = call.index === -1;
		events += call.push(piece, this.ids, this.#count);
		if (isNew && call.index !== -1) this.#count++;
		return events;
	}

	/** Closes what is open, and the calls that are whole: of others more may come behind words of the model's. */
	#close(status: ItemStatus, calls = this.#calls.filter(({ isWhole }) => isWhole)): string {
		let events = "";
		const [thoughts, message] = [this.#thoughts, this.#message];
		this.#thoughts = undefined;
		this.#message = undefined;
		if (thoughts) {
			this.#thoughtAt ??= thoughts.index;
			const item = JSON.stringify(this.#thoughtsItem(thoughts));
			events += this.#closeSummary(thoughts) + this.#done(thoughts.index, item);
			this.#carried = this.#details.length;
		}
		if (message) events += message.close() + this.#done(message.index, message.item(status));
		if (calls.length === 0) return events;
		const closed = new Set(calls);
		this.#calls = this.#calls.filter((call) => !closed.has(call));
		for (const [at, call] of this.#callsByIndex) if (closed.has(call)) this.#callsByIndex.delete(at);
		// Only what is the last of an answer that was cut off is itself cut off.
		const opened = calls.filter(({ index }) => index !== -1);
		for (const [at, call] of opened.entries()) {
			const item = JSON.stringify(call.item(at === opened.length - 1 ? status : "completed"));
			events += call.close() + this.#done(call.index, item);
		}
		return events;
	}

	#thoughtsItem({ id, text }: Thoughts): object {
		return reasoningItem(id, text, [], asksEncrypted(this.request) ? this.#details.slice(this.#carried) : []);
	}

	#closeSummary({ place, text }: Thoughts): string {
		if (text === "") return "";
		const json = JSON.stringify(text);
		return (
			this.event("response.reasoning_summary_text.done", `${place},"text":${json}`) +
			this.event("response.reasoning_summary_part.done", `${place},"part":{"type":"summary_text","text":${json}}`)
		);
	}

	/** @param item JSON */
	#added(index: number, item: string): string {
		return this.event("response.output_item.added", `"output_index":${index},"item":${item}`);
	}

	#done(index: number, item: string): string {
		this.items[index] = item;
		return this.event("response.output_item.done", `"output_index":${index},"item":${item}`);
	}
}
