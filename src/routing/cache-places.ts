/**
 * Where the prompt caches of vendors have a conversation: at which target, and with which of its keys. What is remembered is a hash with that
 * key in it, so that it says nothing to who has not the key, and the same to all routers that have.
 */
import type { PromptCacheRequest } from "../openai/call-facts.ts";
import type { Provider } from "../providers/provider.ts";
import type { ConversationKey, ConversationTable } from "./conversation-table.ts";
import type { Beginning, History } from "./history.ts";

/** One model at one account of a vendor. */
export interface CachePlace {
	readonly provider: Provider;
	/** What the vendor calls the model. */
	readonly model: string;
}

/** Whether one of a provider's keys may be used. `isSole`: no other could be, so that a limit that is used up does not matter. */
export type IsReady = (account: number, isSole?: boolean) => boolean;

/** What a cache has of a prompt. */
export interface CachedPrefix {
	/** Which of the provider's keys. */
	readonly account: number;
	/** Characters of the prompt; 0 where it is known by its session alone. */
	readonly characters: number;
}

/** What a target's cache has of a call's prompt, and what became of that. */
export interface CachedHistory {
	/** The target's id. */
	readonly target: string;
	/** Which of its provider's keys has it. */
	readonly account: number;
	/** About so many; 0 where that is not known. */
	readonly tokens: number;
	/** USD that the call costs less there than without; undefined where a price is not known. */
	readonly savesUsd: number | undefined;
	/** The call goes there for it. */
	readonly stays: boolean;
}

/** Names of models are remembered with each account up to a number: clients choose some of them. */
const MOST_MODELS = 500;
const SECRET_BYTES = 32;
/** How long a cache with a name lives, unless who made it said otherwise, ms; those that live longer are found anew. */
const NAMED_MS = 3_600_000;

/** By account and model: the secret that goes into its hashes. */
const secrets = new WeakMap<Provider, Map<string, Uint8Array>>();
/** The secret, a beginning's hash, its length. One thread's, used within one step. */
const input = new Uint8Array(SECRET_BYTES + 12);
const numbers = new DataView(input.buffer, SECRET_BYTES);
const output = new Uint8Array(32);
const halves = new DataView(output.buffer);

/** Whether calls may be kept at one of several caches of this provider. */
export function hasSeveralCaches({ promptCache, otherAccounts }: Provider): boolean {
	if (!promptCache) return false;
	return otherAccounts?.some((other) => other.promptCache?.scope !== promptCache.scope) === true;
}

/** How many caches a provider has, at most. */
export const cachesOf = ({ promptCache, otherAccounts }: Provider): number =>
	promptCache === undefined ? 0 : 1 + (otherAccounts?.length ?? 0);

/**
 * The key of a provider whose cache has most of a conversation, as far as is remembered; of several the one that keeps it for longest.
 * Undefined where none has any of it.
 * @param isReady whether a key may be used: the cache of one that is out of use is of no use
 */
export function cachedAt(
	table: ConversationTable,
	place: CachePlace,
	history: History,
	isReady: IsReady,
): CachedPrefix | undefined {
	const named = namedAt(table, place, history, isReady);
	// Of what has a name it is not known how long it is.
	if (named !== undefined) return { account: named, characters: 0 };
	for (const beginning of beginningsOf(history)) {
		const account = longestAt(table, place, beginning, isReady);
		const characters = beginning.characters < 0 ? 0 : history.before + beginning.characters;
		if (account !== undefined) return { account, characters };
	}
	return undefined;
}

/**
 * The key of a provider that has the cache which a call names, as far as is remembered, though its limit be used up: no other key can answer.
 * Undefined where none is known to have it, or the vendor has no such caches.
 */
export function namedAt(
	table: ConversationTable,
	place: CachePlace,
	{ named }: Pick<History, "named">,
	isReady: IsReady,
): number | undefined {
	if (!named || !place.provider.promptCache?.rules.hasNamedCaches) return undefined;
	return longestAt(table, place, named, (account) => isReady(account, true));
}

/** Of the keys that have it the one that keeps it for longest. */
function longestAt(
	table: ConversationTable,
	{ provider, model }: CachePlace,
	beginning: Beginning,
	isReady: (account: number) => boolean,
): number | undefined {
	const accounts = provider.otherAccounts ? [provider, ...provider.otherAccounts] : [provider];
	let best: number | undefined;
	let longest = 0;
	for (let account = 0; account < accounts.length; account++) {
		const left = table.leftMs(keyAt({ provider: accounts[account]!, model }, beginning));
		if (left <= longest || !isReady(account)) continue;
		longest = left;
		best = account;
	}
	return best;
}

/**
 * By which a conversation is looked up that has gone on: it may be asked the same once more, and a history that is another one altogether may
 * have a name. One that begins takes its turn: some clients give all of theirs one name.
 */
function* beginningsOf({ earlier, whole, session }: History): Iterable<Beginning> {
	if (earlier.length === 0) return;
	yield whole;
	yield* earlier;
	if (session) yield session;
}

/** An account has answered the prompt: its cache has it now, for as long as the vendor says, where it has such prompts at all. */
export function keepAt(
	table: ConversationTable,
	place: CachePlace,
	{ earlier, whole, before, first, session, named }: History,
	asked: PromptCacheRequest,
): void {
	const { rules } = place.provider.promptCache!;
	if (named && rules.hasNamedCaches) table.keep(keyAt(place, named), NAMED_MS);
	const ms = rules.lifetimeMs(place.model, asked);
	// A token has a character at least.
	if (ms === 0 || before + whole.characters < rules.minimumTokens(place.model)) return;
	table.keep(keyAt(place, whole), ms);
	const beginning = first === whole ? undefined : keyAt(place, first);
	// Examples that many calls begin with were never a prompt: those calls would all come to one key.
	if (beginning && table.leftMs(beginning) > 0) table.keep(beginning, ms);
	if (session) table.keep(keyAt(place, session), ms);
	const last = earlier[0];
	// The next prompt begins with this one: what came before is of no more use, but for the first, by which a history is known that was rewritten.
	if (last && last !== first) table.forget(keyAt(place, last));
}

/** What is remembered of a beginning at a place. */
export function keyAt(place: CachePlace, { hash, characters }: Beginning): ConversationKey {
	input.set(secretOf(place));
	numbers.setBigUint64(0, hash);
	numbers.setInt32(8, characters);
	Bun.SHA256.hash(input, output);
	return { first: halves.getInt32(0), second: halves.getInt32(4) };
}

function secretOf({ provider, model }: CachePlace): Uint8Array {
	let models = secrets.get(provider);
	if (!models) {
		models = new Map();
		secrets.set(provider, models);
	}
	let secret = models.get(model);
	if (!secret) {
		if (models.size >= MOST_MODELS) models.clear();
		secret = new Uint8Array(SECRET_BYTES);
		Bun.SHA256.hash(JSON.stringify([provider.promptCache!.scope, model]), secret);
		models.set(model, secret);
	}
	return secret;
}
