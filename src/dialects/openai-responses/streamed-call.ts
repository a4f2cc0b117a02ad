/** A call of a tool as it comes. Until its name is known nothing is said of it. */
import { NumberedFrame } from "../../openai/text-chunks.ts";
import { objectIn } from "../../openai/usage.ts";
import { literalText } from "../content-template.ts";
import { callItem, type ItemStatus, type ResponseIds } from "./output-items.ts";
import type { ResponsesRequest } from "./request.ts";
import { EVENT_END, eventHead, type OpenText, placeOf, type WriteEvent } from "./streamed-message.ts";
import { customInput } from "./tools.ts";
import type { OpenItem } from "./upstream-events.ts";

/** A piece of a call in a chat's stream. */
export type CallPiece = Readonly<Record<string, unknown>>;

const ARGUMENTS_DELTA = "response.function_call_arguments.delta";

/** One call. */
export class StreamedCall implements OpenText {
	/** Its place among the items; -1 while it has none. */
	index = -1;
	#id = "";
	#callId = "";
	/** Of the function that was sent. */
	#name = "";
	#args = "";
	#extra: unknown;
	/** Its tool takes a text; undefined where nobody has asked. */
	#takesText: boolean | undefined;
	#frame: NumberedFrame | undefined;
	/** Length of the arguments that were last looked at, and whether they were whole then. */
	#lookedAt = 0;
	#wasWhole = false;

	constructor(
		private readonly request: ResponsesRequest,
		private readonly event: WriteEvent,
	) {}

	/** One that an upstream has begun. */
	static of({ item, index, args }: OpenItem, request: ResponsesRequest, event: WriteEvent): StreamedCall {
		const call = new StreamedCall(request, event);
		const { id, call_id: callId, name, namespace } = item;
		call.index = index;
		call.#id = String(id);
		call.#callId = String(callId);
		call.#name = request.tools.sentNameOf(String(name), typeof namespace === "string" ? namespace : undefined);
		call.#args = args;
		return call;
	}

	/** Whether a piece under the same index begins another call, as servers send it that give all of them one. */
	isEndedBy(piece: CallPiece): boolean {
		const { id } = piece;
		const isNamed = typeof objectIn(piece["function"])?.["name"] === "string";
		return this.index !== -1 && isNamed && typeof id === "string" && id !== "" && id !== this.#callId;
	}

	/** Whether its arguments are whole: nothing more of it can come. */
	get isWhole(): boolean {
		if (this.#lookedAt !== this.#args.length) {
			this.#lookedAt = this.#args.length;
			this.#wasWhole = this.index !== -1 && isObjectText(this.#args);
		}
		return this.#wasWhole;
	}

	/** Takes a piece. `next`: its place, where it is opened now. */
	push(piece: CallPiece, ids: ResponseIds, next: number): string {
		const fn = objectIn(piece["function"]) ?? {};
		const args = typeof fn["arguments"] === "string" ? fn["arguments"] : "";
		if (piece["extra_content"] !== undefined) this.#extra = piece["extra_content"];
		this.#args += args;
		if (this.index !== -1) return args === "" ? "" : this.#delta(args);
		if (typeof piece["id"] === "string") this.#callId = piece["id"];
		if (typeof fn["name"] === "string") this.#name = fn["name"];
		if (this.#name === "") return "";
		this.index = next;
		this.#id = ids.item("call");
		this.#callId ||= ids.callId();
		const empty = callItem(this.#id, { callId: this.#callId, name: this.#name, args: "" }, this.request, "in_progress");
		const added = this.event(
			"response.output_item.added",
			`"output_index":${this.index},"item":${JSON.stringify(empty)}`,
		);
		return this.#args === "" ? added : added + this.#delta(this.#args);
	}

	/** Takes a piece of its arguments, JSON, once it has been opened. */
	more(literal: string): string {
		if (literal === '""') return "";
		this.#args += literalText(literal);
		return this.#deltaEvent(literal);
	}

	/** Its client is sent its arguments as they come: those of a custom tool stand in JSON, which is read once it is whole. */
	get isTold(): boolean {
		this.#takesText ??= this.request.tools.identityOf(this.#name)?.isCustom === true;
		return this.index !== -1 && !this.#takesText;
	}

	take(json: string): void {
		this.#args += literalText(`"${json}"`);
	}

	get frame(): NumberedFrame {
		const place = placeOf(this.#id, this.index);
		this.#frame ??= new NumberedFrame(eventHead(ARGUMENTS_DELTA), `,${place},"delta":"`, `"${EVENT_END}`);
		return this.#frame;
	}

	/** Closes its arguments. */
	close(): string {
		const place = placeOf(this.#id, this.index);
		const identity = this.request.tools.identityOf(this.#name);
		if (!identity?.isCustom) {
			const name = JSON.stringify(identity?.name ?? this.#name);
			const fields = `${place},"name":${name},"arguments":${JSON.stringify(this.#args)}`;
			return this.event("response.function_call_arguments.done", fields);
		}
		const input = JSON.stringify(customInput(this.#args));
		return (
			this.event("response.custom_tool_call_input.delta", `${place},"delta":${input}`) +
			this.event("response.custom_tool_call_input.done", `${place},"input":${input}`)
		);
	}

	/** As it is by now. */
	item(status: ItemStatus): object {
		const soFar = { callId: this.#callId, name: this.#name, args: this.#args, extra: this.#extra };
		return callItem(this.#id, soFar, this.request, status);
	}

	#delta(args: string): string {
		return this.#deltaEvent(JSON.stringify(args));
	}

	#deltaEvent(literal: string): string {
		if (!this.isTold) return "";
		return this.event(ARGUMENTS_DELTA, `${placeOf(this.#id, this.index)},"delta":${literal}`);
	}
}

function isObjectText(text: string): boolean {
	try {
		return objectIn(JSON.parse(text)) !== undefined;
	} catch {
		return false;
	}
}
