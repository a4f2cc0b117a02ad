/**
 * Calls and attempts of a worker thread, written to memory that the main thread reads: what has happened is there when the worker dies,
 * whatever it has not told by then.
 */
import { QueueWriter } from "../memory/record-queue.ts";
import type { Tokens } from "../openai/usage.ts";
import {
	AS_MODEL,
	CELL,
	type EventListener,
	FLAG,
	type MoreOfCall,
	NO_TEXT,
	NUMBER,
	RECORD,
	TEXT,
} from "./event-records.ts";
import type { AttemptClosed, CallSettled, Sink } from "./events.ts";
import { cutContents } from "./otel/span-context.ts";
import { type Shared, type SharedFields, sharedOfAttempts, sharedOfCalls } from "./shared-fields.ts";
import type { UnsettledCalls } from "./unsettled-calls.ts";

/** Records after which the main thread is told that there are some, as it is where the memory is half full: else it looks by itself. */
const MANY = 500;
/** What waits in this thread's own memory while the queue is full, and how often it is tried, ms. */
const MOST_WAITING = 20_000;
const RETRY_MS = 20;
/** Numbers that are given before they begin anew. */
const MOST_SHARED = 2_000;
/** Kinds of tokens that have a place of their own. */
const PLAIN_TOKENS = new Set(["input", "output", "cached", "reasoning"]);

/** What it works with. */
export interface EventQueueOptions {
	readonly memory: SharedArrayBuffer;
	/** Calls are known there until they are written here. */
	readonly unsettled: Pick<UnsettledCalls, "close">;
	/** Hears of each as soon as it is written, which is before `position`. */
	readonly written?: EventListener;
	/** The main thread is to look soon. */
	readonly onMany: () => void;
	/** There was no room for one, for so long that it is lost. */
	readonly onLost: () => void;
	/** Unix time, ms. */
	readonly wall?: () => number;
}

/** What there was no room for. */
type WaitingEvent = { readonly call: CallSettled; readonly at: number } | { readonly attempt: AttemptClosed };

/** The queue, as the worker has it. */
export class EventQueue implements Pick<Sink, "attemptClosed" | "callSettled" | "shadowSettled"> {
	readonly #queue: QueueWriter;
	readonly #ofCalls = sharedOfCalls();
	readonly #ofAttempts = sharedOfAttempts();
	#given = 0;
	#untold = 0;
	/** The main thread was told that the memory is half full, and it has been so since. */
	#isHalfFull = false;
	/** For want of room, the oldest first. */
	#waiting: WaitingEvent[] = [];
	#timer: ReturnType<typeof setTimeout> | undefined;
	readonly #wall: () => number;

	constructor(private readonly options: EventQueueOptions) {
		this.#queue = new QueueWriter(options.memory);
		this.#wall = options.wall ?? Date.now;
	}

	/** Where the next record will begin. */
	get position(): number {
		return this.#queue.position;
	}

	/**
	 * Sends what calls come to, as `read` gives it, with the position up to which they are in it. It is read once more where calls have gone on
	 * meanwhile, and not sent while some of them wait for room: with the reader both would be counted twice.
	 */
	async report(read: () => Promise<string>, send: (values: string, position: number) => void): Promise<void> {
		while (this.#waiting.length === 0) {
			const { position } = this;
			const values = await read();
			if (this.#waiting.length > 0 || this.position !== position) continue;
			send(values, position);
			return;
		}
	}

	/** The main thread looks for another reason. */
	looked(): void {
		this.#untold = 0;
	}

	/** What waits for room. */
	get waiting(): number {
		return this.#waiting.length;
	}

	attemptClosed(attempt: AttemptClosed): void {
		if (this.#waiting.length > 0 || !this.#putAttempt(attempt)) this.#wait({ attempt });
		this.#count();
	}

	callSettled(call: CallSettled): void {
		const at = this.#wall();
		if (this.#waiting.length > 0 || !this.#putCall(call, at)) this.#wait({ call, at });
		this.#count();
	}

	shadowSettled(call: CallSettled): void {
		this.callSettled(call);
	}

	/** Resolves when nothing waits for room any more, or the main thread has not looked for so many ms. */
	async emptied(ms: number): Promise<void> {
		for (let waited = 0; this.#waiting.length > 0 && waited < ms; waited += RETRY_MS) {
			this.options.onMany();
			await Bun.sleep(RETRY_MS);
			this.retry();
		}
	}

	#count(): void {
		const wasHalfFull = this.#isHalfFull;
		this.#isHalfFull = this.#queue.isHalfFull;
		if (++this.#untold < MANY && (wasHalfFull || !this.#isHalfFull)) return;
		this.#untold = 0;
		this.options.onMany();
	}

	#wait(what: WaitingEvent): void {
		if (this.#waiting.length >= MOST_WAITING) {
			this.options.onLost();
			if ("call" in what) this.options.unsettled.close(what.call.id);
			return;
		}
		// Many may wait.
		if ("call" in what) cutContents(what.call.trace?.span);
		this.#waiting.push(what);
		if (this.#timer !== undefined) return;
		this.options.onMany();
		this.#timer = setTimeout(() => this.retry(), RETRY_MS);
	}

	/** Writes what waits, as far as there is room. */
	retry(): void {
		clearTimeout(this.#timer);
		this.#timer = undefined;
		const stuck = this.#waiting.findIndex(
			(what) => !("call" in what ? this.#putCall(what.call, what.at) : this.#putAttempt(what.attempt)),
		);
		this.#waiting = stuck === -1 ? [] : this.#waiting.slice(stuck);
		if (stuck === -1) return;
		this.options.onMany();
		this.#timer = setTimeout(() => this.retry(), RETRY_MS);
	}

	/** Whether there was room. */
	#putCall(call: CallSettled, at: number): boolean {
		const shared = this.#ofCalls.find(call) ?? this.#give(this.#ofCalls, call);
		if (!shared) return false;
		const { id, user, requested, tokens } = call;
		const isAsModel = requested === call.model;
		let text = (user ?? "") + (isAsModel ? "" : (requested ?? ""));
		let more = moreOf(call);
		if (text.length > 0 || more) {
			let json = more ? JSON.stringify(more) : "";
			// What it asks and is answered goes first, where it is more than the queue takes.
			if (this.#isTooLong(json) && cutContents(more?.trace?.span)) json = JSON.stringify(more);
			// Why its targets were chosen is what may be long, too.
			if (this.#isTooLong(json)) more = undefined;
			else text += json;
		}
		const begin = this.#begin(id, text, shared.number, call.attempts, call.status);
		if (begin === 0) return false;
		const { numbers, cells } = this.#queue;
		const number = begin / 8;
		const cell = begin / 4;
		let flags = this.#putTokens(number, tokens) | (more ? FLAG.MORE : 0);
		numbers[number + NUMBER.AT] = at;
		numbers[number + NUMBER.MS] = call.ms;
		if (call.firstTokenMs !== undefined) {
			numbers[number + NUMBER.FIRST_TOKEN] = call.firstTokenMs;
			flags |= FLAG.FIRST_TOKEN;
		}
		if (call.cost !== undefined) {
			numbers[number + NUMBER.COST] = call.cost;
			flags |= FLAG.COST;
		}
		cells[cell + CELL.FLAGS] = flags;
		cells[cell + CELL.USER] = user === undefined ? NO_TEXT : user.length;
		cells[cell + CELL.REQUESTED] = isAsModel ? AS_MODEL : requested === undefined ? NO_TEXT : requested.length;
		this.#queue.commit(RECORD.CALL, TEXT + id.length + cells[cell + CELL.BYTES]!);
		this.options.unsettled.close(id);
		this.options.written?.callSettled(call, at);
		return true;
	}

	#isTooLong(json: string): boolean {
		return json.length * 3 > this.#queue.largest / 2;
	}

	#putAttempt(attempt: AttemptClosed): boolean {
		const { callId, number: count = 0, status, tokens, span } = attempt;
		const shared = this.#ofAttempts.find(attempt) ?? this.#give(this.#ofAttempts, attempt);
		if (!shared) return false;
		const others = tokens && hasOtherKinds(tokens) ? tokens : undefined;
		const text = others || span ? JSON.stringify({ tokens: others, span }) : "";
		const begin = this.#begin(callId, text, shared.number, count, status ?? 0);
		if (begin === 0) return false;
		const { numbers, cells } = this.#queue;
		const number = begin / 8;
		const cell = begin / 4;
		let flags = this.#putTokens(number, tokens) | (text === "" ? 0 : FLAG.MORE);
		numbers[number + NUMBER.MS] = attempt.ms;
		numbers[number + NUMBER.AT] = attempt.beganMs ?? Number.NaN;
		if (status !== undefined) flags |= FLAG.STATUS;
		if (attempt.cost !== undefined) {
			numbers[number + NUMBER.COST] = attempt.cost;
			flags |= FLAG.COST;
		}
		cells[cell + CELL.FLAGS] = flags;
		this.#queue.commit(RECORD.ATTEMPT, TEXT + callId.length + cells[cell + CELL.BYTES]!);
		this.options.written?.attemptClosed(attempt);
		return true;
	}

	/** Begins a record with its id, its text and its whole numbers. Where it begins, bytes; 0 where there is no room. */
	#begin(id: string, text: string, shared: number, count: number, status: number): number {
		const begin = this.#queue.reserve(TEXT + id.length + 3 * text.length);
		if (begin === 0) return 0;
		const { bytes, cells } = this.#queue;
		bytes.write(id, begin + TEXT, id.length, "latin1");
		const cell = begin / 4;
		cells[cell + CELL.SHARED] = shared;
		cells[cell + CELL.COUNT] = count;
		cells[cell + CELL.STATUS] = status;
		cells[cell + CELL.ID] = id.length;
		cells[cell + CELL.BYTES] = text === "" ? 0 : bytes.write(text, begin + TEXT + id.length, 3 * text.length);
		return begin;
	}

	/** Which of them there are, as flags. */
	#putTokens(number: number, tokens: Tokens | undefined): number {
		if (!tokens) return 0;
		const { numbers } = this.#queue;
		let flags: number = FLAG.TOKENS;
		numbers[number + NUMBER.INPUT] = tokens.input;
		numbers[number + NUMBER.OUTPUT] = tokens.output;
		if (tokens.cached !== undefined) {
			numbers[number + NUMBER.CACHED] = tokens.cached;
			flags |= FLAG.CACHED;
		}
		if (tokens.reasoning !== undefined) {
			numbers[number + NUMBER.REASONING] = tokens.reasoning;
			flags |= FLAG.REASONING;
		}
		return flags;
	}

	/** Gives what this has in common with others a number, and sends it. Undefined where there is no room. */
	#give<T>(of: SharedFields<T>, event: T): Shared<T> | undefined {
		if (this.#given >= MOST_SHARED) {
			if (this.#queue.reserve(0) === 0) return undefined;
			this.#queue.commit(RECORD.FORGET, 0);
			this.#given = 0;
			this.#ofCalls.clear();
			this.#ofAttempts.clear();
		}
		const fields = of.pick(event);
		const json = JSON.stringify(fields);
		const begin = this.#queue.reserve(8 + 3 * json.length);
		if (begin === 0) return undefined;
		const { bytes, cells } = this.#queue;
		const length = bytes.write(json, begin + 8, 3 * json.length);
		cells[begin / 4] = this.#given;
		cells[begin / 4 + 1] = length;
		this.#queue.commit(RECORD.SHARED, 8 + length);
		return of.add({ number: this.#given++, fields });
	}
}

function moreOf(call: CallSettled): MoreOfCall | undefined {
	const { decision, snapshot, dropped, droppedFields, skipped, tokens, energyJ, shadow } = call;
	const others = tokens && hasOtherKinds(tokens) ? tokens : undefined;
	// The ids of a trace that is not sent mean something to the log alone, which has them.
	const trace = call.trace?.span && call.trace;
	const has = decision || dropped || droppedFields || skipped || others || trace || shadow;
	if (!has && energyJ === undefined) return undefined;
	const more = { decision, snapshot, dropped, droppedFields, skipped, energyJ, trace, shadow };
	return others ? { ...more, tokens: others } : more;
}

/** Some tokens are of a kind that has no number of its own. */
function hasOtherKinds(tokens: Tokens): boolean {
	for (const kind in tokens) if (!PLAIN_TOKENS.has(kind) && tokens[kind as keyof Tokens] !== undefined) return true;
	return false;
}
