/**
 * What targets refuse of that which the router adds to calls of its own accord (`stream_options`, a vendor's defaults, the beginning
 * of an answer): no caller is at fault for it. Such a call is made once more without it; where
 * that is answered, later ones are made so at once.
 */
import {
	type Addition,
	ANSWER_LIMIT,
	BEGINNING,
	CHAT_COMPLETIONS,
	CHAT_TOOLS,
	ENCRYPTED,
	type Failure,
	NATIVE_RESPONSES,
	OLDER_NAME,
	PARTIAL_RESPONSES,
	SENT_THOUGHTS,
} from "../providers/failure.ts";

/** How long it is remembered, ms: servers behind an address change. */
const REMEMBERED_MS = 3_600_000;
/** Targets of which it is remembered; the one that refused first is forgotten first. */
const MOST_TARGETS = 1000;

/** What models that don't think, or their servers, say of what is to be encrypted of their thoughts. */
const ENCRYPTED_WORDS = /encrypted.content|^include /i;

/** How upstreams name them, where that is not as the router does. */
const PATTERNS: Readonly<Record<Addition, RegExp>> = {
	stream_options: /stream[ _-]?options|include[ _-]?usage/i,
	continuous_usage_stats: /continuous[ _-]?usage[ _-]?stats/i,
	[ANSWER_LIMIT]: /max_(?:completion_)?tokens\b.{0,60}too large|at most \d+ completion tokens|in the completion\b/i,
	[OLDER_NAME]: /'max_tokens' is not supported\b.*\buse 'max_completion_tokens'/i,
	[ENCRYPTED]: ENCRYPTED_WORDS,
	[BEGINNING]:
		/continue_final_message|add_generation_prompt|prefill|(?:last|final) message|(?:role|message) .{0,20}assistant|assistant (?:message|role)/i,
};
/** More exact before less: `stream_options.continuous_usage_stats` is no word against `stream_options`. */
const EXACT_FIRST: readonly Addition[] = ["continuous_usage_stats", ANSWER_LIMIT, OLDER_NAME];

/** Kinds of failure whose messages may name an addition: some servers call a field that they don't know their own fault. */
const KINDS: readonly Failure["kind"][] = ["caller", "unsupported", "transport"];

/** The addition that a failure speaks of; undefined where it is about something else. */
export function refusedAddition(failure: Failure, added: readonly Addition[]): Addition | undefined {
	const ofChat = refusedChat(failure);
	if (ofChat !== undefined && added.includes(ofChat)) return ofChat;
	if (added.includes(NATIVE_RESPONSES)) return refusedResponses(failure, added);
	if (failure.isOurs || failure.status === undefined) return undefined;
	// The answer's limit may be what is too long beside a prompt; nothing else that is added is.
	const isTooLong = failure.kind === "context_length" && added.includes(ANSWER_LIMIT);
	if (!isTooLong && !KINDS.includes(failure.kind)) return undefined;
	const words = `${failure.param ?? ""} ${failure.code ?? ""} ${unquoted(failure.message)}`;
	const isNamed = (name: Addition) => (PATTERNS[name] ? PATTERNS[name].test(words) : words.includes(name));
	if (isTooLong) return isNamed(ANSWER_LIMIT) ? ANSWER_LIMIT : undefined;
	const named = added.filter(isNamed);
	return named.find((name) => EXACT_FIRST.includes(name)) ?? named[0];
}

/** What OpenAI says of calls that belong to Responses. */
const OF_RESPONSES = /\bv1\/responses\b|responses api|not a chat model/i;

/** What of a call by chat completions is to be made at Responses. */
function refusedChat({ status, message }: Failure): Addition | undefined {
	const words = unquoted(message);
	if ((status !== 400 && status !== 404) || !OF_RESPONSES.test(words)) return undefined;
	return /\btools?\b/i.test(words) ? CHAT_TOOLS : CHAT_COMPLETIONS;
}

/** What servers say of a path that they have not. */
const NO_PATH = /^not found|invalid url|page not found|unexpected endpoint|\/responses\b|responses api/i;
/** Statuses of servers that do not know a method, or a path. */
const NOWHERE: readonly number[] = [404, 405, 501];
/** Those of servers that know the path, and not what is asked there. */
const NOT_THIS: readonly number[] = [400, 422, 500];

/** What OpenAI says of thoughts that it can't read. */
const UNREADABLE = /invalid_encrypted_content|encrypted.content.*(?:could not be|was not|not issued)/i;

/** The same of a call in the client's own words: it may be one that can be made as a chat. */
function refusedResponses(failure: Failure, added: readonly Addition[]): Addition | undefined {
	const { status, kind, param, code, message, isOurs } = failure;
	if (status === undefined) return undefined;
	const words = unquoted(message);
	if (
		added.includes(ENCRYPTED) &&
		!UNREADABLE.test(`${code ?? ""} ${words}`) &&
		ENCRYPTED_WORDS.test(`${param ?? ""} ${words}`)
	)
		return ENCRYPTED;
	if (added.includes(SENT_THOUGHTS) && UNREADABLE.test(`${code ?? ""} ${words}`)) return SENT_THOUGHTS;
	const isOfModel = code === "model_not_found" || (param === "model" && !NO_PATH.test(words));
	const isNowhere = NOWHERE.includes(status) && param === undefined && !/\bmodel\b/i.test(words) && !isOfModel;
	if (isNowhere || (NO_PATH.test(words) && KINDS.includes(kind)) || (isOurs && status === 404)) return NATIVE_RESPONSES;
	const isPartial = added.includes(PARTIAL_RESPONSES) && KINDS.includes(kind) && NOT_THIS.includes(status);
	return isPartial ? PARTIAL_RESPONSES : undefined;
}

/** Where pydantic (vLLM, other Python servers) begins to quote the call that it refuses, with all that was added to it. */
const QUOTES = /['"]input\\?['"]\s*:/;

/** The words before that. */
function unquoted(message: string): string {
	const at = message.search(QUOTES);
	return at === -1 ? message : message.slice(0, at);
}

/** What others see of it, wherever it is kept. */
export type RefusedView = Pick<RefusedAdditions, "hasAny" | "of" | "add">;

/** What each target has refused. */
export class RefusedAdditions {
	#hasAny = false;

	/**
	 * @param now ms, of any clock that only goes forward
	 * @param targets by target: what, and until when that is remembered
	 */
	constructor(
		private readonly now: () => number = () => performance.now(),
		private readonly targets = new Map<string, Map<Addition, number>>(),
	) {}

	/** Some target has refused something: until then nobody need ask. */
	get hasAny(): boolean {
		return this.#hasAny;
	}

	/** What is to be left out of calls to a target; undefined where that is nothing. */
	of(target: string): ReadonlySet<Addition> | undefined {
		const refused = this.targets.get(target);
		if (!refused) return undefined;
		const now = this.now();
		for (const [name, until] of refused) if (until <= now) refused.delete(name);
		if (refused.size > 0) return new Set(refused.keys());
		this.targets.delete(target);
		return undefined;
	}

	/** It took the call without that. */
	add(target: string, name: Addition): void {
		const refused = this.targets.get(target) ?? new Map<Addition, number>();
		refused.set(name, this.now() + REMEMBERED_MS);
		this.targets.set(target, refused);
		this.#hasAny = true;
		if (this.targets.size <= MOST_TARGETS) return;
		for (const first of this.targets.keys()) {
			this.targets.delete(first);
			return;
		}
	}
}
