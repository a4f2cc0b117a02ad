/** What routers of one Redis tell each other of targets: one message as JSON. Pure. */
import type { ConversationKey } from "./conversation-table.ts";
import type { TargetLoad } from "./target-state.ts";

/** Messages of another form have another number, and are passed over by this one. */
const VERSION = 1;
/** Longer ones are nobody's that sends such messages, characters. */
const LONGEST_MESSAGE = 4_000_000;
/** Longest target's id and session's name that are shared, characters. */
const LONGEST_TARGET = 500;
const LONGEST_SESSION = 200;
/** Of a conversation, characters; and for how long one is kept at most, ms: a day. */
const LONGEST_KEY = 16;
const LONGEST_KEPT_MS = 86_400_000;

/** One message. */
export interface RoutingMessage {
	/** The router that sends it: another name after a restart. */
	readonly from: string;
	/** It ends: what it had under way counts no more. */
	readonly isLeaving?: boolean;
	/** It has started, and knows nothing of what the others remember. */
	readonly isNew?: boolean;
	/** How often it has asked the others for what they remember, this time included; 0 where it does not ask. */
	readonly asks?: number;
	/** It holds what is remembered, for these routers alone. */
	readonly to?: readonly string[];
	/** `loads` is all that the router has under way; else targets that it does not name have what they had. */
	readonly isWhole?: boolean;
	/** What the router has under way, itself, at targets. */
	readonly loads?: readonly (readonly [target: string, load: TargetLoad])[];
	/** Targets whose prefix caches became empty, before they were given `prompts`. */
	readonly emptied?: readonly string[];
	/** Blocks that targets were given: see `encodeBlocks`. */
	readonly prompts?: readonly (readonly [target: string, blocks: string])[];
	/** Where calls of sessions went. */
	readonly sessions?: readonly (readonly [session: string, target: string])[];
	/** Conversations that vendors' prompt caches have, by `encodeConversation`, and for how long yet, ms. */
	readonly conversations?: readonly (readonly [key: string, ms: number])[];
}

/** A message as it was read: what it lacks is empty. */
export type ReadRoutingMessage = Required<Omit<RoutingMessage, "to">> & Pick<RoutingMessage, "to">;

/** The message as text. Targets and sessions whose names are too long are left out. */
export function encodeRoutingMessage(message: RoutingMessage): string {
	const { from, isLeaving, isNew, asks = 0, to, isWhole } = message;
	const { loads = [], emptied = [], prompts = [], sessions = [], conversations = [] } = message;
	return JSON.stringify({
		v: VERSION,
		from,
		...(isLeaving && { leaving: true }),
		...(isNew && { new: true }),
		...(asks > 0 && { asks }),
		...(to && { to }),
		...(isWhole && { whole: true }),
		...((isWhole || loads.length > 0) && {
			loads: loads
				.filter(([target]) => target.length <= LONGEST_TARGET)
				.map(([target, { inFlight, waiting, queuedCharacters }]) => [target, inFlight, waiting, queuedCharacters]),
		}),
		...(emptied.length > 0 && { emptied }),
		...(prompts.length > 0 && { prompts: prompts.filter(([target]) => target.length <= LONGEST_TARGET) }),
		...(sessions.length > 0 && { sessions: sessions.filter(([, target]) => target.length <= LONGEST_TARGET) }),
		...(conversations.length > 0 && { conversations }),
	});
}

/** Reads a message; undefined where the text is none. An entry that is not as it should be is left out. */
export function decodeRoutingMessage(text: string): ReadRoutingMessage | undefined {
	const read = text.length <= LONGEST_MESSAGE ? parsed(text) : undefined;
	if (read?.["v"] !== VERSION || !isName(read["from"], LONGEST_TARGET)) return undefined;
	const { from, asks, to } = read;
	return {
		from,
		isLeaving: read["leaving"] === true,
		isNew: read["new"] === true,
		asks: isCount(asks) ? asks : 0,
		...(Array.isArray(to) && { to: namesOf(to) }),
		isWhole: read["whole"] === true,
		loads: entriesOf(read["loads"]).flatMap(([target, inFlight, waiting, queuedCharacters]) =>
			isName(target, LONGEST_TARGET) && isCount(inFlight) && isCount(waiting) && isCount(queuedCharacters)
				? [[target, { inFlight, waiting, queuedCharacters }] as const]
				: [],
		),
		emptied: namesOf(read["emptied"]),
		prompts: entriesOf(read["prompts"]).flatMap(([target, blocks]) =>
			isName(target, LONGEST_TARGET) && typeof blocks === "string" ? [[target, blocks] as const] : [],
		),
		sessions: entriesOf(read["sessions"]).flatMap(([session, target]) =>
			isName(session, LONGEST_SESSION) && isName(target, LONGEST_TARGET) ? [[session, target] as const] : [],
		),
		conversations: entriesOf(read["conversations"]).flatMap(([key, ms]) =>
			isName(key, LONGEST_KEY) && isCount(ms) && ms <= LONGEST_KEPT_MS ? [[key, ms] as const] : [],
		),
	};
}

/** Hashes of blocks as text, in the order of a prompt: 4 bytes each, the lowest first, as base64. */
export function encodeBlocks(blocks: Int32Array): string {
	return Buffer.from(blocks.buffer, blocks.byteOffset, blocks.byteLength).toString("base64");
}

/** Reads it; what is no multiple of 4 bytes loses its end. */
export function decodeBlocks(text: string): Int32Array {
	const bytes = Buffer.from(text, "base64");
	const blocks = new Int32Array(bytes.length >> 2);
	new Uint8Array(blocks.buffer).set(bytes.subarray(0, blocks.byteLength));
	return blocks;
}

/** What is remembered of a conversation as text: 8 bytes as base64. */
export function encodeConversation({ first, second }: ConversationKey): string {
	return encodeBlocks(Int32Array.of(first, second));
}

/** Reads it; what is too short is a conversation that nobody has. */
export function decodeConversation(text: string): ConversationKey {
	const [first = 0, second = 0] = decodeBlocks(text);
	return { first, second };
}

function parsed(text: string): Record<string, unknown> | undefined {
	try {
		const value: unknown = JSON.parse(text);
		return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
	} catch {
		// Another program publishes there.
		return undefined;
	}
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const namesOf = (value: unknown): string[] => listOf(value).filter((name) => isName(name, LONGEST_TARGET)) as string[];
const entriesOf = (value: unknown): readonly unknown[][] => listOf(value).filter(Array.isArray);
const isName = (value: unknown, longest: number): value is string =>
	typeof value === "string" && value !== "" && value.length <= longest;
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
