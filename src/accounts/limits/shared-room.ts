/**
 * Which counters go where memory that threads share is full: those that count nothing any more, the least recently used ones, and of sessions, as
 * `session-order.ts` decides for one thread, those of the key that has most. All of it needs the lock.
 */
import { BLOCK_CELLS, BLOCK_NUMBERS, FIRST_PART, type SharedBlocks } from "../../memory/shared-blocks.ts";
import {
	AGREED_AT,
	isHeld,
	isIdle,
	isSessionKind,
	isWindowKind,
	KINDS,
	LAST_KIND,
	SESSION_OWNER,
	USED_AT,
} from "./shared-counters.ts";
import { expireEntries } from "./shared-window.ts";

/** What they agree on of a budget is kept from its last use on, ms: who came later would take what was spent by then for spent before that, and add a share again. */
const AGREEMENT_MS = 86_400_000;
/** What part of all blocks is made free at once: to look for the sessions costs as much for one as for many. */
const PART_FREED = 1 / 64;

/** Drops counters that count nothing any more, except what the call of this moment has just looked at, and budgets of which threads agree on something. */
export function sweepCounters(blocks: SharedBlocks, now: number): void {
	blocks.forEach((block, kind) => {
		if (kind > LAST_KIND || blocks.numbers[block * BLOCK_NUMBERS + USED_AT] === now) return;
		if (isWindowKind(kind)) expireEntries(blocks, block, now);
		if (isIdle(blocks, block) && !isAgreedOn(blocks, block, kind, now)) blocks.remove(block);
	});
}

/** Of how many counters the least recently used one makes room. */
const COMPARED = 8;

/** Drops a counter that has long not been used, is no session's, and no call under way holds. Whether there was one. */
export function dropCounter(blocks: SharedBlocks, now: number): boolean {
	const block = blocks.oldest(COMPARED, (each, kind) => {
		if (kind > LAST_KIND || isSessionKind(kind) || isHeld(blocks, each)) return undefined;
		const age = now - usedAt(blocks, each);
		// What threads agree on goes last.
		if (age > 0 && isAgreedOn(blocks, each, kind, now)) return age - AGREEMENT_MS;
		return age > 0 ? age : undefined;
	});
	if (block === 0) return false;
	blocks.remove(block);
	return true;
}

/** The sessions of one key. */
interface Sessions {
	/** Blocks that they take, with their parts. */
	size: number;
	/** Blocks of those that no call under way holds. */
	readonly idle: number[];
	isSorted: boolean;
}

/**
 * Drops sessions of the key whose sessions take most, those first that were used least lately: no key pushes out what another one's have spent.
 * Returns how many.
 * @param now the clock of all threads, ms: what the call of this moment has looked at stays
 * @param isNeeded they go also where they take no more than half of what is in use
 */
export function dropSessions(blocks: SharedBlocks, now: number, isNeeded: boolean): number {
	const owners = new Map<number, Sessions>();
	let [all, ofSessions] = [0, 0];
	blocks.forEach((block, kind) => {
		const size = 1 + partsOf(blocks, block);
		all += size;
		if (!isSessionKind(kind)) return;
		ofSessions += size;
		const sessions = sessionsOf(owners, blocks.numbers[block * BLOCK_NUMBERS + SESSION_OWNER]!);
		sessions.size += size;
		if (!isHeld(blocks, block) && usedAt(blocks, block) < now) sessions.idle.push(block);
	});
	if (!isNeeded && ofSessions * 2 <= all) return 0;
	const order = [...owners.values()].filter(({ idle }) => idle.length > 0).sort((one, other) => other.size - one.size);
	const enough = Math.max(1, all * PART_FREED);
	let dropped = 0;
	for (let freed = 0; freed < enough && order.length > 0; dropped++) {
		const block = leastLately(blocks, order[0]!);
		const size = 1 + partsOf(blocks, block);
		blocks.remove(block);
		freed += size;
		order[0]!.size -= size;
		if (order[0]!.idle.length === 0) order.shift();
		else sink(order);
	}
	return dropped;
}

/** Takes the session that was used least lately. */
function leastLately(blocks: SharedBlocks, sessions: Sessions): number {
	if (!sessions.isSorted) {
		sessions.idle.sort((one, other) => usedAt(blocks, other) - usedAt(blocks, one));
		sessions.isSorted = true;
	}
	return sessions.idle.pop()!;
}

/** Puts the first one, which has become smaller, in its place. */
function sink(order: Sessions[]): void {
	for (let at = 0; at + 1 < order.length && order[at]!.size < order[at + 1]!.size; at++) {
		[order[at], order[at + 1]] = [order[at + 1]!, order[at]!];
	}
}

function sessionsOf(owners: Map<number, Sessions>, owner: number): Sessions {
	let sessions = owners.get(owner);
	if (!sessions) {
		sessions = { size: 0, idle: [], isSorted: false };
		owners.set(owner, sessions);
	}
	return sessions;
}

const usedAt = ({ numbers }: SharedBlocks, block: number): number => numbers[block * BLOCK_NUMBERS + USED_AT]!;

function partsOf(blocks: SharedBlocks, block: number): number {
	let count = 0;
	for (let part = blocks.cells[block * BLOCK_CELLS + FIRST_PART]!; part !== 0; part = blocks.nextPart(part)) count++;
	return count;
}

/** Whether it is a budget, of which threads have agreed on what the process may spend. */
function isAgreedOn({ numbers }: SharedBlocks, block: number, kind: number, now: number): boolean {
	const at = block * BLOCK_NUMBERS;
	return kind === KINDS.usd && numbers[at + AGREED_AT]! > 0 && now - numbers[at + USED_AT]! < AGREEMENT_MS;
}
