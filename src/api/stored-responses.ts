/** Responses that clients go on from by an id: those that are stored, each for its key, and the latest of a WebSocket for it alone. */
import type { Caller } from "../accounts/auth/keys.ts";
import type { AnswerReferences, AnswerStorage, DialectCall, EarlierAnswers } from "../dialects/dialect.ts";
import { requestIn } from "../dialects/openai-responses/request-facts.ts";
import {
	conversationIn,
	conversationWith,
	inputItems,
	isCompacted,
	isItemId,
	isResponseId,
	responseIdOf,
	responseOfItem,
	type StoredItem,
	type StoredResponse,
	storedResponseIn,
	storedText,
} from "../dialects/openai-responses/stored-response.ts";
import { RouterError } from "../errors.ts";
import type { ResponseStore } from "./response-writer.ts";

/** Responses of one conversation, which are read one after the other. */
const MOST_CHAINED = 10_000;

/** A response that a connection goes on from, whether or not it is stored. */
interface ConnectionResponse {
	readonly id: string;
	/** JSON, which takes less room than objects while the client is at rest; undefined where it is too long to be gone on from. */
	readonly conversation: string | undefined;
	readonly isStored: boolean;
}

/** Most streams whose latest responses a connection has. */
const MOST_STREAMS = 16;

/** The responses that a connection goes on from: the latest of each of its streams. */
export class ConnectionResponses {
	/** Those that were answered longest ago first. */
	readonly #latest = new Map<string | undefined, ConnectionResponse>();

	/** The conversation up to a response; undefined where that is no latest one. Throws `body_too_large` where it is too long. */
	find(id: string): Pick<EarlierAnswers, "conversation" | "previous"> | undefined {
		for (const { id: latest, conversation, isStored } of this.#latest.values()) {
			if (latest !== id) continue;
			if (conversation === undefined) throw tooLong();
			return { conversation: JSON.parse(conversation) as StoredItem[], previous: isStored ? id : undefined };
		}
		return undefined;
	}

	/** Takes the latest one of a stream. @param longest conversation that may be gone on from, UTF-16 units of JSON */
	save(
		stream: string | undefined,
		{ id, isStored }: Pick<ConnectionResponse, "id" | "isStored">,
		items: readonly StoredItem[],
		longest: number,
	): void {
		const conversation = JSON.stringify(items);
		this.#latest.delete(stream);
		this.#latest.set(stream, { id, conversation: conversation.length > longest ? undefined : conversation, isStored });
		for (const oldest of this.#latest.keys()) {
			if (this.#latest.size <= MOST_STREAMS) break;
			this.#latest.delete(oldest);
		}
	}

	/** A call that went on from a response has failed: only what is stored of that is gone on from any more (Open Responses 2026-04-24). */
	forget(id: string): void {
		for (const [stream, latest] of this.#latest) if (latest.id === id) this.#latest.delete(stream);
	}
}

/** A connection, as one of its calls knows it. */
interface ConnectedCall {
	readonly latest: ConnectionResponses;
	readonly stream: string | undefined;
}

/** All of them. */
export class StoredResponses {
	readonly #connections = new WeakMap<Request, ConnectedCall>();

	/**
	 * @param longest conversation that may be gone on from, UTF-16 units of JSON: as long as a request that says all of it
	 * @param writer absent where nothing is stored: only connections go on from what they were answered
	 */
	constructor(
		private readonly longest: () => number,
		private readonly writer?: ResponseStore,
	) {}

	/** Whether responses are stored for later calls. */
	get areStored(): boolean {
		return this.writer?.isOn ?? false;
	}

	/** A request comes over a connection, which goes on from its latest responses. `stream`: which of its streams the call belongs to. */
	connect(request: Request, latest: ConnectionResponses, stream: string | undefined): void {
		this.#connections.set(request, { latest, stream });
	}

	/** What was found of that which a request refers to. Another key's is not found. Throws `body_too_large` where that is too long. */
	async earlier(
		{ previous, items: ids }: AnswerReferences,
		request: Request,
		caller: Caller | undefined,
	): Promise<EarlierAnswers> {
		const { areStored } = this;
		if (previous === undefined) return { areStored, items: await this.#items(ids, [], caller) };
		const found = this.#connections.get(request)?.latest.find(previous) ?? (await this.#conversation(caller, previous));
		const items = await this.#items(ids, found?.conversation ?? [], caller);
		return { ...found, areStored, items };
	}

	/** Where the answer of a call is stored; undefined where it is not. */
	storage(call: DialectCall, request: Request, caller: Caller | undefined): AnswerStorage | undefined {
		const { body } = requestIn(call);
		const connection = this.#connections.get(request);
		const isLasting = body.store !== false && this.areStored;
		if (!isLasting && !connection) return undefined;
		return { isLasting, save: (answer, items) => this.#save({ answer, items, call, caller, isLasting, connection }) };
	}

	/** A response of a key's; undefined where it has none of this id. */
	async find(caller: Caller | undefined, id: string): Promise<StoredResponse | undefined> {
		const text = await this.#text(caller, id, true);
		return text === undefined ? undefined : storedResponseIn(text);
	}

	/** @param waits for another router: only for the first one that a request asks for */
	async #text(caller: Caller | undefined, id: string, waits: boolean): Promise<string | undefined> {
		return isResponseId(id) ? this.writer?.get({ key: keyOf(caller), id }, waits) : undefined;
	}

	/** All that was said up to a response, and that for it; where one before it is gone, or what was said is too long, only the latter. */
	async items(caller: Caller | undefined, stored: StoredResponse): Promise<readonly StoredItem[]> {
		const before = stored.previous === undefined ? undefined : await this.#chain(caller, stored.previous);
		return [...(before && before !== "too long" ? conversationIn(before) : []), ...stored.input];
	}

	/** Deletes a response of a key's. Whether it had one of this id; undefined where that can't be told, and it may still be there. */
	async remove(caller: Caller | undefined, id: string): Promise<boolean | undefined> {
		if (!this.writer || !isResponseId(id)) return false;
		return this.writer.remove({ key: keyOf(caller), id });
	}

	/** The conversation up to a stored response; undefined where a part of it is gone. Throws `body_too_large`. */
	async #conversation(
		caller: Caller | undefined,
		last: string,
	): Promise<Pick<EarlierAnswers, "conversation" | "previous"> | undefined> {
		const chain = await this.#chain(caller, last);
		if (chain === "too long") throw tooLong();
		return chain && { conversation: conversationIn(chain), previous: last };
	}

	/** The responses up to this one, the first one first, from the last compaction on: what was before is not said any more. */
	async #chain(caller: Caller | undefined, last: string): Promise<readonly StoredResponse[] | "too long" | undefined> {
		const chain: StoredResponse[] = [];
		const longest = this.longest();
		let length = 0;
		for (let id: string | undefined = last; id !== undefined; ) {
			const text: string | undefined = await this.#text(caller, id, chain.length === 0);
			if (text === undefined || chain.length === MOST_CHAINED) return undefined;
			length += text.length;
			if (length > longest) return "too long";
			this.writer?.use({ key: keyOf(caller), id });
			const stored = storedResponseIn(text);
			chain.push(stored);
			id = isCompacted(stored) ? undefined : stored.previous;
		}
		return chain.reverse();
	}

	/** Items by their ids: of the conversation, and of other responses. Throws `body_too_large`. */
	async #items(
		ids: readonly string[],
		conversation: readonly object[],
		caller: Caller | undefined,
	): Promise<ReadonlyMap<string, object>> {
		const wanted = new Set(ids);
		const found = new Map<string, object>();
		const take = (items: readonly StoredItem[]) => {
			for (const item of items) {
				const id = item["id"] as string;
				if (wanted.delete(id)) found.set(id, item);
			}
		};
		take(conversation as readonly StoredItem[]);
		const longest = this.longest();
		let length = 0;
		const looked = new Set<string>();
		// The last one first: it holds what was sent for it, to which most of the others belong.
		for (const item of ids.toReversed()) {
			const id = wanted.has(item) ? (responseOfItem(item) ?? (await this.#responseOf(caller, item))) : undefined;
			if (id === undefined || looked.has(id)) continue;
			looked.add(id);
			const text = await this.#text(caller, id, looked.size === 1);
			if (text === undefined) continue;
			length += text.length;
			if (length > longest) throw tooLong();
			this.writer?.use({ key: keyOf(caller), id });
			const stored = storedResponseIn(text);
			take([...stored.input, ...stored.response.output]);
		}
		return found;
	}

	/** The response that an item belongs to, to which its upstream gave its id. */
	async #responseOf(caller: Caller | undefined, id: string): Promise<string | undefined> {
		if (!isItemId(id)) return undefined;
		const text = await this.writer?.get({ key: keyOf(caller), id });
		if (text === undefined) return undefined;
		this.writer?.use({ key: keyOf(caller), id });
		return (JSON.parse(text) as { of: string }).of;
	}

	#save({ answer, items: foreign = [], call, caller, isLasting, connection }: AnswerToSave): void {
		const request = requestIn(call);
		const id = responseIdOf(call.id);
		const own = inputItems(request, call.id);
		const { conversation = [], previous } = request.earlier ?? {};
		const before = conversation as readonly StoredItem[];
		if (isLasting) {
			// Of what its connection alone has nobody else can go on.
			const input = previous === undefined ? [...before, ...own] : own;
			const text = storedText(previous, JSON.stringify(input), answer);
			this.writer?.put({ key: keyOf(caller), id, text });
			for (const item of foreign) this.writer?.put({ key: keyOf(caller), id: item, text: JSON.stringify({ of: id }) });
		}
		if (!connection) return;
		const { output } = JSON.parse(answer) as { output: StoredItem[] };
		const items = conversationWith([...before, ...own], output);
		connection.latest.save(connection.stream, { id, isStored: isLasting }, items, this.longest());
	}
}

function tooLong(): RouterError {
	const message =
		"The responses that this refers to are longer together than a request may be: send what is to be said of them.";
	return new RouterError("body_too_large", message);
}

/** An answer that is complete, and whose it is. */
interface AnswerToSave {
	readonly answer: string;
	readonly items: readonly string[] | undefined;
	readonly call: DialectCall;
	readonly caller: Caller | undefined;
	readonly isLasting: boolean;
	readonly connection: ConnectedCall | undefined;
}

const keyOf = (caller: Caller | undefined): string => caller?.id ?? "";
