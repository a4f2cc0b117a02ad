/** What this router has yet to tell the others: noted on the path of calls, taken in batches. */
import type { ConversationKey } from "./conversation-table.ts";
import { decodeBlocks, encodeBlocks, encodeConversation, type RoutingMessage } from "./routing-message.ts";
import type { RoutingListener } from "./target-state.ts";

/** Most blocks, and sessions (as many conversations), of one message; a prompt more, where its blocks are the last. */
export const MESSAGE_BLOCKS = 8_192;
export const MESSAGE_SESSIONS = 500;
/** Most that waits, while Redis is away: what was noted first is left out. */
const MOST_BLOCKS_WAITING = 131_072;
const MOST_SESSIONS_WAITING = 10_000;
const MOST_CONVERSATIONS_WAITING = 10_000;
/** Targets that may change before all that is under way is told anew. */
const MOST_TARGETS_CHANGED = 2_000;

/** What one message tells. */
export interface RoutingBatch
	extends Required<Pick<RoutingMessage, "emptied" | "prompts" | "sessions" | "conversations">> {
	/** Targets whose load has changed; undefined: any may have. */
	readonly changed: readonly string[] | undefined;
}

/** A target was given these blocks; without any its prefix cache became empty. */
interface PromptNote {
	readonly target: string;
	readonly blocks: Int32Array | undefined;
}

/** The notes. Nothing in here costs a call more than an entry in a set, a map or a list. */
export class RoutingNotes implements RoutingListener {
	readonly #changed = new Set<string>();
	/** Too many have changed to name them. */
	#isAnyChanged = false;
	#prompts: PromptNote[] = [];
	/** Blocks in `#prompts`. */
	#blocks = 0;
	readonly #sessions = new Map<string, string>();
	readonly #conversations = new Map<string, number>();

	/** @param onNoted told of each note, on the path of calls */
	constructor(private readonly onNoted: () => void) {}

	get isEmpty(): boolean {
		const { size } = this.#changed;
		const notes = this.#prompts.length + this.#sessions.size + this.#conversations.size;
		return size === 0 && !this.#isAnyChanged && notes === 0;
	}

	/** Whether the others don't know yet where this session's last call went. */
	hasSession(session: string): boolean {
		return this.#sessions.has(session);
	}

	loadChanged(target: string): void {
		this.#changed.add(target);
		if (this.#changed.size > MOST_TARGETS_CHANGED) this.#changedAny();
		this.onNoted();
	}

	promptGiven(target: string, blocks: Int32Array): void {
		this.#note({ target, blocks });
		this.onNoted();
	}

	promptsGone(target: string): void {
		this.#note({ target, blocks: undefined });
		this.onNoted();
	}

	sessionMoved(session: string, target: string): void {
		this.#sessions.set(session, target);
		dropOldest(this.#sessions, MOST_SESSIONS_WAITING);
		this.onNoted();
	}

	conversationKept(key: ConversationKey, ms: number): void {
		this.#conversations.set(encodeConversation(key), Math.round(ms));
		dropOldest(this.#conversations, MOST_CONVERSATIONS_WAITING);
		this.onNoted();
	}

	/** Takes the notes, the first first, as many as one message holds. */
	take(): RoutingBatch {
		const changed = this.#isAnyChanged ? undefined : [...this.#changed];
		this.#changed.clear();
		this.#isAnyChanged = false;
		const sessions = takeSome(this.#sessions, MESSAGE_SESSIONS);
		const conversations = takeSome(this.#conversations, MESSAGE_SESSIONS);
		return { changed, sessions, conversations, ...this.#takePrompts() };
	}

	/** What the others were not told after all. What was noted since counts. */
	giveBack({ changed, emptied, prompts, sessions, conversations }: RoutingBatch): void {
		if (changed) for (const target of changed) this.#changed.add(target);
		else this.#changedAny();
		const notes: PromptNote[] = [
			...emptied.map((target) => ({ target, blocks: undefined })),
			...prompts.map(([target, blocks]) => ({ target, blocks: decodeBlocks(blocks) })),
		];
		const since = this.#prompts;
		this.#prompts = [];
		this.#blocks = 0;
		for (const note of [...notes, ...since]) this.#note(note);
		putBefore(this.#sessions, sessions);
		putBefore(this.#conversations, conversations);
		dropOldest(this.#sessions, MOST_SESSIONS_WAITING);
		dropOldest(this.#conversations, MOST_CONVERSATIONS_WAITING);
	}

	#takePrompts(): Pick<RoutingBatch, "emptied" | "prompts"> {
		const emptied = new Set<string>();
		const added = new Map<string, GivenBlocks>();
		let count = 0;
		let taken = 0;
		for (const { target, blocks } of this.#prompts) {
			if (count >= MESSAGE_BLOCKS) break;
			taken++;
			if (!blocks) {
				emptied.add(target);
				added.delete(target);
				continue;
			}
			const given = added.get(target) ?? new GivenBlocks();
			added.set(target, given);
			count += given.add(blocks);
			this.#blocks -= blocks.length;
		}
		this.#prompts = taken === this.#prompts.length ? [] : this.#prompts.slice(taken);
		const prompts = [...added].map(([target, given]) => [target, encodeBlocks(given.all())] as const);
		return { emptied: [...emptied], prompts };
	}

	#note(note: PromptNote): void {
		this.#prompts.push(note);
		this.#blocks += note.blocks?.length ?? 0;
		if (this.#blocks <= MOST_BLOCKS_WAITING && this.#prompts.length <= MOST_BLOCKS_WAITING) return;
		// Half of them at once: to move the list for each note would cost each call.
		this.#prompts = this.#prompts.slice(this.#prompts.length >> 1);
		this.#blocks = this.#prompts.reduce((sum, { blocks }) => sum + (blocks?.length ?? 0), 0);
	}

	#changedAny(): void {
		this.#changed.clear();
		this.#isAnyChanged = true;
	}
}

/** Takes so many notes, the first first. */
function takeSome<T>(notes: Map<string, T>, most: number): [name: string, value: T][] {
	const taken: [string, T][] = [];
	for (const entry of notes) {
		if (taken.length === most) break;
		taken.push(entry);
		notes.delete(entry[0]);
	}
	return taken;
}

/** Puts notes back that were taken. What was noted since counts. */
function putBefore<T>(notes: Map<string, T>, taken: readonly (readonly [name: string, value: T])[]): void {
	const later = [...notes];
	notes.clear();
	for (const [name, value] of [...taken, ...later]) notes.set(name, value);
}

/** Leaves out what was noted first, where there are more. */
function dropOldest(notes: Map<string, unknown>, most: number): void {
	for (const oldest of notes.keys()) {
		if (notes.size <= most) return;
		notes.delete(oldest);
	}
}

/** What one target was given: of prompts with a common beginning that beginning once. */
class GivenBlocks {
	readonly #parts: Int32Array[] = [];
	/** By its first block: the last prompt that begins with it. */
	readonly #last = new Map<number, Int32Array>();
	#count = 0;

	/** Adds a prompt. Returns how many blocks of it are to be told. */
	add(blocks: Int32Array): number {
		const last = this.#last.get(blocks[0]!);
		let same = 0;
		if (last) while (same < blocks.length && blocks[same] === last[same]) same++;
		this.#last.set(blocks[0]!, blocks);
		const rest = blocks.length - same;
		if (rest > 0) this.#parts.push(same > 0 ? blocks.subarray(same) : blocks);
		this.#count += rest;
		return rest;
	}

	/** All blocks to be told, in the order of their prompts. */
	all(): Int32Array {
		const all = new Int32Array(this.#count);
		let at = 0;
		for (const part of this.#parts) {
			all.set(part, at);
			at += part.length;
		}
		return all;
	}
}
