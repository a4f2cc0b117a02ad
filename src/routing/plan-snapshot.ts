/**
 * What a plan was made by, besides what its explanation says, as a short text for the ledger: so that the same decision can be made again, with
 * another policy or in another state. What it has of the prompt are hashes with a key, so that nobody who reads the ledger alone can try guesses of it. What is made is made on the path of each call with several targets; test/bench/plan-cost.ts says what it costs.
 */
import type { Price } from "../accounts/usage/price-book.ts";
import { MOST_BLOCKS } from "./affinity.ts";
import type { History } from "./history.ts";
import { HASHED_BYTES, type KeyedHash } from "./keyed-hash.ts";
import type { Plan } from "./plan.ts";
import type { Basis, Penalty } from "./score.ts";

/** The form of the text, which it begins with. A reader passes over what it does not know. */
const VERSION = "1";
/** Longest text, characters: with its name, and when the attempt began, it takes less than 300 bytes of a row. */
const LONGEST = 264;

/** A candidate of a plan. */
export interface SnapshotCandidate {
	/** See RouteTarget. */
	readonly position: number;
	readonly isReplica: boolean;
	/** Its agent said what its engine has in its prefix cache. */
	readonly isReported: boolean;
	/** Its readiness, and behind that which side of a trial it was for this call: its rank within its group's part. */
	readonly rank: number;
	readonly penalty: Penalty | undefined;
	/** Where its breaker decided. */
	readonly breaker: Extract<Basis, "probe" | "ramp"> | undefined;
	/** USD per million tokens; undefined where nobody knew. */
	readonly price: Price | undefined;
}

/** What is read of a text. */
export interface PlanSnapshot {
	/** 32 bits of a keyed hash of the session's name; undefined where the call had none. */
	readonly session: string | undefined;
	/** 32 bits of keyed hashes of the prompt and of the one before it in the conversation, where vendors' caches were compared. */
	readonly conversation: { readonly whole: string; readonly earlier: string | undefined } | undefined;
	/** A byte of the keyed hash of some beginnings of the prompt: says of two prompts how far they are the same, and nothing of what they say. Empty where no replicas were compared. */
	readonly marks: Uint8Array;
	/** In the order of the explanation's. */
	readonly candidates: readonly SnapshotCandidate[];
}

const PENALTIES: Readonly<Record<Penalty, string>> = {
	long: "g",
	busy: "b",
	loading: "d",
	late: "l",
	paused: "p",
	open: "o",
	keyless: "k",
	missing: "m",
};
const REPLICA = "r";
const REPORTED = "h";
const BREAKERS = { probe: "t", ramp: "c" } as const;
/** Ranks are whole numbers, or quarters of them, within so much. */
const RANKS = 1_000;

/**
 * The text.
 * @param most candidates that are described, the best first
 * @param history of the call, where it was looked at
 * @param hash by the same key wherever texts are compared
 */
export function snapshotOf(
	{ scored, work }: Plan,
	most: number,
	history: History | undefined,
	hash: KeyedHash,
): string {
	const { session } = work;
	const { blocks } = work.prompt;
	const hashes = hashesOf(session, history, blocks, hash);
	const whole = history ? hashes.text(Value.whole) : "";
	const earlier = history?.earlier[0] ? `.${hashes.text(Value.earlier)}` : "";
	const head = `${VERSION};${session === undefined ? "" : hashes.text(Value.session)};${whole}${earlier};`;
	let candidates = "";
	const count = Math.min(most, scored.length);
	for (let at = 0; at < count; at++) {
		const { target, view, penalty, basis, group } = scored[at]!;
		const { position = 0, isReplica, price } = target;
		let text = `;${position}`;
		if (isReplica) text += REPLICA;
		if (view.prefixes?.held !== undefined) text += REPORTED;
		if (penalty !== undefined) text += PENALTIES[penalty];
		if (basis === "probe" || basis === "ramp") text += BREAKERS[basis];
		const rank = group % RANKS;
		if (rank !== 0) text += `@${Math.round(rank * 100) / 100}`;
		if (price) text += textOfPrice(price);
		if (head.length + candidates.length + text.length > LONGEST) break;
		candidates += text;
	}
	if (blocks.length === 0) return head + candidates;
	const room = Math.floor((LONGEST - head.length - candidates.length) / 4) * 3;
	return head + hashes.marks(room) + candidates;
}

/** The text again; undefined where there is none, or it is of another form. */
export function readSnapshot(text: unknown): PlanSnapshot | undefined {
	if (typeof text !== "string") return undefined;
	const [version, session, conversation, marks, ...candidates] = text.split(";");
	if (version !== VERSION || marks === undefined) return undefined;
	const [whole = "", earlier = ""] = conversation!.split(".");
	return {
		session: session === "" ? undefined : session,
		conversation: whole === "" ? undefined : { whole, earlier: earlier === "" ? undefined : earlier },
		marks: Uint8Array.from(Buffer.from(marks, "base64")),
		candidates: candidates.map(candidateIn),
	};
}

const CANDIDATE = /^(\d+)([a-z]*)(?:@([\d.]+))?(?:\$(.*))?$/;

function candidateIn(text: string): SnapshotCandidate {
	const [, position, flags = "", rank, price] = CANDIDATE.exec(text) ?? [];
	const named = <Name extends string>(letters: Readonly<Record<Name, string>>) =>
		(Object.keys(letters) as Name[]).find((name) => flags.includes(letters[name]));
	return {
		position: Number(position ?? 0),
		isReplica: flags.includes(REPLICA),
		isReported: flags.includes(REPORTED),
		rank: Number(rank ?? 0),
		penalty: named(PENALTIES),
		breaker: named(BREAKERS),
		price: price === undefined ? undefined : priceIn(price),
	};
}

/** By price: there are few, and calls many. */
const priceTexts = new WeakMap<Price, string>();

function textOfPrice(price: Price): string {
	let text = priceTexts.get(price);
	if (text === undefined) {
		const { input, output, cached } = price;
		text = `$${[input, output, ...(cached === undefined ? [] : [cached])].map((usd) => (usd === 0 ? "" : Number(usd.toPrecision(6)))).join()}`;
		priceTexts.set(price, text);
	}
	return text;
}

function priceIn(text: string): Price {
	const [input = 0, output = 0, cached] = text.split(",").map(Number);
	return { input, output, cached };
}

/**
 * How many blocks of a prompt the marks stand behind: each of the first 32, then 16 in what doubles the length. So two prompts are seen to part with a
 * sixteenth of where they do at most, and the longest has 128.
 */
const MARKED = markedLengths();

function markedLengths(): readonly number[] {
	const lengths: number[] = [];
	for (let length = 1; length <= MOST_BLOCKS; length += Math.max(1, 2 ** (Math.floor(Math.log2(length)) - 4))) {
		lengths.push(length);
	}
	return lengths;
}

/** Values that are hashed, by their places: these, then one a mark. */
const Value = { session: 0, whole: 1, earlier: 2, marks: 3 } as const;
const values = Buffer.alloc((Value.marks + MARKED.length + 1) * HASHED_BYTES);
const markBytes = Buffer.alloc(MARKED.length + 1);

/** Hashes of what a call has, as texts. */
interface CallHashes {
	/** 32 bits of one: enough to find the call before it in one log. */
	text(value: number): string;
	/** At most so many marks, base64. */
	marks(most: number): string;
}

/** All values are hashed at once; where there are none nothing is. */
function hashesOf(
	session: string | undefined,
	history: History | undefined,
	blocks: Int32Array,
	hash: KeyedHash,
): CallHashes {
	if (session !== undefined) put(Value.session, Bun.hash.wyhash(session), Value.session);
	if (history) {
		put(Value.whole, history.whole.hash, Value.whole);
		// Of the same kind: the one before is found by it.
		put(Value.earlier, history.earlier[0]?.hash ?? 0n, Value.whole);
	}
	const count = blocks.length > 0 ? putMarks(blocks) : 0;
	const isNone = session === undefined && history === undefined && count === 0;
	const hashed = isNone ? undefined : hash(values.subarray(0, (Value.marks + count) * HASHED_BYTES));
	return {
		text(value) {
			const at = value * HASHED_BYTES;
			return (
				(hashed![at]! | (hashed![at + 1]! << 8) | (hashed![at + 2]! << 16) | (hashed![at + 3]! << 24)) >>>
				0
			).toString(36);
		},
		marks(most) {
			const some = Math.min(count, most);
			for (let mark = 0; mark < some; mark++) markBytes[mark] = hashed![(Value.marks + mark) * HASHED_BYTES]!;
			return markBytes.toString("base64", 0, some);
		},
	};
}

/** @param kind values of two kinds have nothing in common */
function put(value: number, hash: bigint, kind: number): void {
	const at = value * HASHED_BYTES;
	values.writeBigUInt64LE(hash, at);
	values[at + 8] = kind;
}

/** Puts the hashes of the blocks that are marked among the values. Returns how many there are. */
function putMarks(blocks: Int32Array): number {
	const last = blocks.length;
	let count = 0;
	for (; count < MARKED.length && MARKED[count]! <= last; count++) putMark(count, blocks[MARKED[count]! - 1]!);
	if (MARKED[count - 1] !== last) putMark(count++, blocks[last - 1]!);
	return count;
}

function putMark(mark: number, block: number): void {
	const at = (Value.marks + mark) * HASHED_BYTES;
	values.writeInt32LE(block, at);
	values[at + 8] = Value.marks;
}

/**
 * Blocks of a prompt with these marks: two prompts have as many in common, from the first on, as their marks show that they had. Where marks are
 * missing they have no more than that.
 * @param count blocks of the prompt
 * @param own a number of this prompt's own
 */
export function blocksOf(marks: Uint8Array, count: number, own: number): Int32Array {
	const blocks = new Int32Array(count);
	let chain = 0;
	let from = 0;
	for (let at = 0; at < marks.length && from < count; at++) {
		const marked = MARKED[at];
		const isEnd = marked === undefined || marked > count;
		const to = isEnd ? count : marked;
		// Of the end it is known only to those that are as long.
		chain = mixed(mixed(chain, marks[at]! + 1), isEnd ? count : 0);
		for (; from < to; from++) blocks[from] = mixed(chain, from);
	}
	for (; from < count; from++) blocks[from] = mixed(mixed(chain, own), from);
	return blocks;
}

/** A 32-bit number of two (the finalizer of MurmurHash3). */
function mixed(one: number, other: number): number {
	let hash = Math.imul(one ^ 0x9e3779b9, 0x85ebca6b) + other;
	hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
	hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
	return (hash ^ (hash >>> 16)) | 0;
}
