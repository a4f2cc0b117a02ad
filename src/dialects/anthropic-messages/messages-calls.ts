/**
 * The tool calls of a stream, put in line: OpenAI's pieces may be of several calls in turn, and Anthropic's blocks stand one behind the other. The
 * first call goes out as it comes; another one waits until the arguments before it are whole.
 */

/** A call, as far as it has come. */
interface StreamedCall {
	/** Its place among the message's calls. */
	readonly index: number;
	readonly id: unknown;
	/** "" until it has come. */
	name: string;
	/** Arguments that have not gone out yet. */
	held: string;
	readonly json: JsonProgress;
	isOver: boolean;
}

/** What writes blocks. */
export interface CallBlocks {
	/** Begins the block of the message's nth call, and ends the one before. */
	begin(index: number, id: unknown, name: string): string;
	/** A piece of its arguments. */
	more(json: string): string;
}

/** The calls of one message. */
export class StreamedCalls {
	readonly #all: StreamedCall[] = [];
	/** The last call of each index. */
	readonly #calls = new Map<number, StreamedCall>();
	/** Those whose blocks have not begun, in the order of their coming. */
	readonly #waiting: StreamedCall[] = [];
	#current: StreamedCall | undefined;

	constructor(private readonly blocks: CallBlocks) {}

	get count(): number {
		return this.#all.length;
	}

	/**
	 * A piece of a call: what it has to write. Undefined for one that belongs nowhere any more: its block was ended, and something came behind it.
	 */
	add(index: number, id: unknown, name: string, args: string): string | undefined {
		const known = this.#calls.get(index);
		const isNext = known !== undefined && isOther(known, id, name);
		// Nothing more of the one before can come.
		if (isNext) known.json.isWhole = true;
		const call = known && !isNext ? known : this.#begun(index, id);
		if (call.name === "") call.name = name;
		if (call.isOver) return args.trim() === "" ? "" : undefined;
		call.json.add(args);
		call.held += args;
		return this.#write();
	}

	/**
	 * Whether events with arguments of the call whose block is open may go out as they are. They are counted as its own then.
	 * @param events each with its blank line
	 * @param head bytes that stand before the text of each
	 */
	pass(events: Uint8Array, head: number): boolean {
		const call = this.#current;
		if (!call || call.isOver || call.held !== "" || this.#waiting.length > 0) return false;
		call.json.addEvents(events, head);
		return true;
	}

	#begun(index: number, id: unknown): StreamedCall {
		const call = { index: this.#all.length, id, name: "", held: "", json: new JsonProgress(), isOver: false };
		this.#all.push(call);
		this.#calls.set(index, call);
		this.#waiting.push(call);
		return call;
	}

	/** Writes what still waits: all that comes later belongs to none of them. */
	end(): string {
		let text = this.#current ? this.#piece(this.#current) : "";
		for (const call of this.#waiting.splice(0)) text += this.#begin(call);
		for (const call of this.#all) call.isOver = true;
		this.#current = undefined;
		return text;
	}

	#write(): string {
		let text = this.#current ? this.#piece(this.#current) : "";
		while (this.#waiting.length > 0 && (!this.#current || this.#current.json.isWhole)) {
			// A block begins with its name.
			if (this.#waiting[0]!.name === "") break;
			text += this.#begin(this.#waiting.shift()!);
		}
		return text;
	}

	#begin(call: StreamedCall): string {
		if (this.#current) this.#current.isOver = true;
		this.#current = call;
		return this.blocks.begin(call.index, call.id, call.name) + this.#piece(call);
	}

	#piece(call: StreamedCall): string {
		const { held } = call;
		call.held = "";
		return held === "" ? "" : this.blocks.more(held);
	}
}

/** Whether a piece begins another call: some servers (Ollama, Gemini's in OpenAI's words) have one index for all, or none. */
const isOther = (call: StreamedCall, id: unknown, name: string): boolean =>
	name !== "" && typeof id === "string" && id !== "" && call.id !== id && !!call.id;

const QUOTE = 34;
const BACKSLASH = 92;
const SPACE = 32;
const LINE_FEED = 10;
const OPEN = [91, 123];
const CLOSE = [93, 125];

/** How far an object's text has come, read piece by piece. */
class JsonProgress {
	/** It has begun, and each of its braces is closed. */
	isWhole = false;
	#depth = 0;
	#isInText = false;
	#isEscaped = false;

	add(text: string): void {
		for (let at = 0; at < text.length; at++) this.#read(text.charCodeAt(at));
	}

	/** Adds texts that stand in events as JSON, without code points (`\u…`); see `StreamedCalls.pass`. */
	addEvents(events: Uint8Array, head: number): void {
		for (let at = head; at < events.length; at += 2 + head) {
			for (; at < events.length && events[at] !== QUOTE; at++) {
				if (events[at] !== BACKSLASH) this.#read(events[at]!);
				else {
					const escaped = events[++at]!;
					this.#read(escaped === QUOTE || escaped === BACKSLASH ? escaped : SPACE);
				}
			}
			at = events.indexOf(LINE_FEED, at);
			if (at === -1) return;
		}
	}

	#read(code: number): void {
		if (this.#isEscaped) this.#isEscaped = false;
		else if (this.#isInText) {
			if (code === BACKSLASH) this.#isEscaped = true;
			else if (code === QUOTE) this.#isInText = false;
		} else if (code === QUOTE) this.#isInText = true;
		else if (OPEN.includes(code)) this.#depth++;
		else if (CLOSE.includes(code) && --this.#depth <= 0) this.isWhole = true;
	}
}
