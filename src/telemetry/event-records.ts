/**
 * Calls and attempts as records between threads: how they are laid out, and how they are read. What neighbours mostly have in common is
 * sent once, as JSON, and has a number from then on; the rest are numbers, the call's id, and texts.
 */
import { forEachRecord, isFrom, type RecordChunk } from "../memory/record-queue.ts";
import type { Tokens } from "../openai/usage.ts";
import type { AttemptClosed, CallSettled } from "./events.ts";

/** Kinds of records. `SHARED`: JSON of what has the number; `FORGET`: numbers begin anew. */
export const RECORD = { CALL: 1, ATTEMPT: 2, SHARED: 3, FORGET: 4 } as const;

/** Numbers of 8 bytes at the beginning of a record. `AT`: Unix time, ms; of an attempt when it began, from when its call came in, or NaN. Which of them mean something the flags say. */
export const NUMBER = { AT: 0, MS: 1, FIRST_TOKEN: 2, COST: 3, INPUT: 4, OUTPUT: 5, CACHED: 6, REASONING: 7 } as const;
/** Cells of 4 bytes, counted from the beginning, too. Lengths in UTF-16 units; `BYTES` of all text behind the id. */
export const CELL = {
	SHARED: 16,
	STATUS: 17,
	COUNT: 18,
	FLAGS: 19,
	ID: 20,
	BYTES: 21,
	USER: 22,
	REQUESTED: 23,
} as const;
/** Where the id begins, bytes. */
export const TEXT = 96;
/** Flags. `MORE`: behind the texts stands JSON of the fields that few have. */
export const FLAG = { FIRST_TOKEN: 1, COST: 2, TOKENS: 4, CACHED: 8, REASONING: 16, STATUS: 32, MORE: 64 } as const;
/** Lengths of a text that is not there, and of one that is the model's name. */
export const NO_TEXT = -1;
export const AS_MODEL = -2;

/** What neighbours have in common. */
export type SharedOfCall = Pick<
	CallSettled,
	| "operation"
	| "stream"
	| "model"
	| "provider"
	| "agent"
	| "bill"
	| "key"
	| "keyId"
	| "team"
	| "target"
	| "cache"
	| "reason"
	| "error"
>;
export type SharedOfAttempt = Omit<
	AttemptClosed,
	"callId" | "number" | "status" | "ms" | "beganMs" | "tokens" | "cost" | "span"
>;

/** Fields that few calls have; the tokens only where there are kinds that have no number of their own. */
export type MoreOfCall = Pick<
	CallSettled,
	"decision" | "snapshot" | "dropped" | "droppedFields" | "skipped" | "energyJ" | "trace" | "shadow"
> & {
	readonly tokens?: Tokens | undefined;
};

/** Hears of what is read. */
export interface EventListener {
	attemptClosed(attempt: AttemptClosed): void;
	/** @param at when it settled, Unix time, ms */
	callSettled(call: CallSettled, at: number): void;
	/** Of which records it hears none without a field that few have, such as a span: no objects are made of those. */
	readonly omitsPlain?: "attempts" | "all" | undefined;
}

/** A chunk of records, and what had a number when it began. */
export interface EventChunk extends RecordChunk {
	readonly shared: ReadonlyMap<number, object>;
}

/** Reads chunks, one after the other. */
export class CallEventReader {
	#shared = new Map<number, object>();

	/** What has a number now. */
	get shared(): ReadonlyMap<number, object> {
		return this.#shared;
	}

	/** Reads a chunk that follows those before. Without a listener only what has a number, which those behind it need. */
	read(chunk: RecordChunk, listener: EventListener | undefined): void {
		this.#shared = readEvents(chunk, this.#shared, listener);
	}
}

/** Reads a chunk again. @param from records before this position are left out @param to and those from this one on */
export function readAgain({ shared, ...chunk }: EventChunk, listener: EventListener, from?: number, to?: number): void {
	readEvents(chunk, new Map(shared), listener, from, to);
}

function readEvents(
	chunk: RecordChunk,
	before: Map<number, object>,
	listener: EventListener | undefined,
	from = chunk.position,
	to?: number,
): Map<number, object> {
	const { bytes } = chunk;
	const numbers = new Float64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8);
	const cells = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
	let shared = before;
	forEachRecord(chunk, (kind, at, position) => {
		const cell = at / 4;
		if (kind === RECORD.FORGET) shared = new Map();
		else if (kind === RECORD.SHARED) {
			const text = bytes.toString("utf8", at + 8, at + 8 + cells[cell + 1]!);
			shared.set(cells[cell]!, JSON.parse(text));
		} else if (listener && isFrom(position, from) && !(to !== undefined && isFrom(position, to))) {
			if (!(cells[cell + CELL.FLAGS]! & FLAG.MORE) && omits(listener, kind)) return;
			const fields = shared.get(cells[cell + CELL.SHARED]!);
			const record = { bytes, numbers, cells, at, number: at / 8, cell };
			if (kind === RECORD.CALL) {
				listener.callSettled(callOf(record, fields as SharedOfCall), numbers[record.number + NUMBER.AT]!);
			} else listener.attemptClosed(attemptOf(record, fields as SharedOfAttempt));
		}
	});
	return shared;
}

const omits = ({ omitsPlain }: EventListener, kind: number): boolean =>
	omitsPlain === "all" || (omitsPlain === "attempts" && kind === RECORD.ATTEMPT);

/** A record where it lies: in bytes, in numbers, in cells. */
interface RecordPlace {
	readonly bytes: Buffer;
	readonly numbers: Float64Array;
	readonly cells: Int32Array;
	readonly at: number;
	readonly number: number;
	readonly cell: number;
}

function callOf(record: RecordPlace, shared: SharedOfCall): CallSettled {
	const { bytes, numbers, cells, at, number, cell } = record;
	const flags = cells[cell + CELL.FLAGS]!;
	const begin = at + TEXT + cells[cell + CELL.ID]!;
	const length = cells[cell + CELL.BYTES]!;
	const text = length === 0 ? "" : bytes.toString("utf8", begin, begin + length);
	const userLength = cells[cell + CELL.USER]!;
	const requestedLength = cells[cell + CELL.REQUESTED]!;
	const userEnd = Math.max(0, userLength);
	const end = userEnd + Math.max(0, requestedLength);
	const more = flags & FLAG.MORE ? (JSON.parse(text.slice(end)) as MoreOfCall) : undefined;
	const requested = requestedLength === AS_MODEL ? shared.model : text.slice(userEnd, end);
	const settled: CallSettled = {
		...shared,
		id: idOf(record),
		requested: requestedLength === NO_TEXT ? undefined : requested,
		user: userLength === NO_TEXT ? undefined : text.slice(0, userEnd),
		status: cells[cell + CELL.STATUS]!,
		attempts: cells[cell + CELL.COUNT]!,
		firstTokenMs: flags & FLAG.FIRST_TOKEN ? numbers[number + NUMBER.FIRST_TOKEN] : undefined,
		ms: numbers[number + NUMBER.MS]!,
		cost: flags & FLAG.COST ? numbers[number + NUMBER.COST] : undefined,
		tokens: tokensOf(record, flags),
	};
	return more ? { ...settled, ...more } : settled;
}

function attemptOf(record: RecordPlace, shared: SharedOfAttempt): AttemptClosed {
	const { bytes, numbers, cells, at, number, cell } = record;
	const flags = cells[cell + CELL.FLAGS]!;
	const begin = at + TEXT + cells[cell + CELL.ID]!;
	const count = cells[cell + CELL.COUNT]!;
	const began = numbers[number + NUMBER.AT]!;
	const closed: AttemptClosed = {
		...shared,
		callId: idOf(record),
		number: count === 0 ? undefined : count,
		status: flags & FLAG.STATUS ? cells[cell + CELL.STATUS] : undefined,
		ms: numbers[number + NUMBER.MS]!,
		beganMs: Number.isNaN(began) ? undefined : began,
		cost: flags & FLAG.COST ? numbers[number + NUMBER.COST] : undefined,
		tokens: tokensOf(record, flags),
	};
	if (!(flags & FLAG.MORE)) return closed;
	return { ...closed, ...JSON.parse(bytes.toString("utf8", begin, begin + cells[cell + CELL.BYTES]!)) };
}

function idOf({ bytes, cells, at, cell }: RecordPlace): string {
	return bytes.toString("latin1", at + TEXT, at + TEXT + cells[cell + CELL.ID]!);
}

function tokensOf({ numbers, number }: RecordPlace, flags: number): Tokens | undefined {
	if (!(flags & FLAG.TOKENS)) return undefined;
	const tokens: Tokens = { input: numbers[number + NUMBER.INPUT]!, output: numbers[number + NUMBER.OUTPUT]! };
	if (flags & FLAG.CACHED) tokens.cached = numbers[number + NUMBER.CACHED];
	if (flags & FLAG.REASONING) tokens.reasoning = numbers[number + NUMBER.REASONING];
	return tokens;
}
