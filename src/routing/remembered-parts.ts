/** What a router remembers of targets for one that knows nothing yet: cached prompts, sessions, conversations. Pure. */
import {
	decodeBlocks,
	decodeConversation,
	encodeBlocks,
	encodeConversation,
	type RoutingMessage,
} from "./routing-message.ts";
import { MESSAGE_BLOCKS, MESSAGE_SESSIONS } from "./routing-notes.ts";
import type { ExchangedState } from "./target-state.ts";

/** Most blocks that a router tells one that asks. */
const MOST_BLOCKS_TOLD = 262_144;
/** Most conversations, those that are kept for longest. */
const MOST_TOLD = 10_000;

/** A part of what is remembered. */
export type RememberedPart = Required<Pick<RoutingMessage, "prompts" | "sessions" | "conversations">>;

/** What is read of a holder. */
export type RememberedState = Pick<ExchangedState, "prompts" | "sessions"> & {
	readonly conversations: Pick<ExchangedState["conversations"], "all">;
};

/** What a holder remembers, in parts of a message each, the first of them even where it is nothing. */
export function* rememberedParts(state: RememberedState): Generator<RememberedPart, undefined> {
	const sessions = [...state.sessions()];
	for (let at = 0; at === 0 || at < sessions.length; at += MESSAGE_SESSIONS) {
		yield { prompts: [], sessions: sessions.slice(at, at + MESSAGE_SESSIONS), conversations: [] };
	}
	const conversations = [...state.conversations.all()].sort(([, one], [, other]) => other - one).slice(0, MOST_TOLD);
	for (let at = 0; at < conversations.length; at += MESSAGE_SESSIONS) {
		const some = conversations.slice(at, at + MESSAGE_SESSIONS);
		yield {
			prompts: [],
			sessions: [],
			conversations: some.map(([key, ms]) => [encodeConversation(key), Math.round(ms)] as const),
		};
	}
	let prompts: (readonly [target: string, blocks: string])[] = [];
	let count = 0;
	for (const [target, blocks] of toldBlocks(state)) {
		// The oldest first: those that are told last are forgotten last.
		for (let end = blocks.length; end > 0; end -= MESSAGE_BLOCKS) {
			const some = blocks.subarray(Math.max(0, end - MESSAGE_BLOCKS), end);
			prompts.push([target, encodeBlocks(some)]);
			count += some.length;
			if (count < MESSAGE_BLOCKS) continue;
			yield { prompts, sessions: [], conversations: [] };
			prompts = [];
			count = 0;
		}
	}
	if (prompts.length > 0) yield { prompts, sessions: [], conversations: [] };
	return undefined;
}

/** Of the targets that were used last, that one last: whoever has room for fewer forgets the others. */
function toldBlocks(state: RememberedState): (readonly [target: string, blocks: Int32Array])[] {
	const told: (readonly [target: string, blocks: Int32Array])[] = [];
	let count = 0;
	for (const [target, recent] of [...state.prompts()]) {
		const blocks = recent();
		told.push([target, blocks]);
		count += blocks.length;
		if (count >= MOST_BLOCKS_TOLD) break;
	}
	return told.reverse();
}

/** Takes over what a part says of prompts and conversations; sessions are the caller's, who may have newer ones. */
export function learnPart(
	state: Pick<ExchangedState, "learnPrompt" | "conversations">,
	{ prompts, conversations }: Pick<RememberedPart, "prompts" | "conversations">,
): void {
	for (const [target, blocks] of prompts) state.learnPrompt(target, decodeBlocks(blocks));
	for (const [key, ms] of conversations) state.conversations.learn(decodeConversation(key), ms);
}
