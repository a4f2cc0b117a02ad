/**
 * What routers that share a Redis exchange, where the calls of each are made by several threads: the main thread reads it from the memory of
 * all, and hears of what changes by the notes that workers take.
 */
import { NamedSessions } from "./named-sessions.ts";
import { decodeBlocks, decodeConversation } from "./routing-message.ts";
import { type RoutingBatch, RoutingNotes } from "./routing-notes.ts";
import type { SharedRoutingState } from "./shared-routing-state.ts";
import type { ExchangedState, RoutingListener, TargetLoad } from "./target-state.ts";

/** The part of the shared state that it goes over. */
type ThreadsState = Pick<
	SharedRoutingState,
	| "listener"
	| "conversations"
	| "session"
	| "ownLoad"
	| "ownLoads"
	| "setOthers"
	| "learnPrompt"
	| "forgetPrompts"
	| "learnSession"
	| "prompts"
>;

/** The main thread's side. */
export class ExchangedThreads implements ExchangedState {
	/** By name, the most recent last: the memory of all threads has their hashes alone. */
	readonly #sessions = new NamedSessions();

	constructor(private readonly state: ThreadsState) {}

	get listener(): RoutingListener | undefined {
		return this.state.listener;
	}

	set listener(listener: RoutingListener | undefined) {
		this.state.listener = listener;
	}

	get conversations(): ThreadsState["conversations"] {
		return this.state.conversations;
	}

	/** Takes what a worker has noted. What has changed is in the memory of all already. */
	take({ changed, emptied, prompts, sessions, conversations }: RoutingBatch): void {
		for (const [session, target] of sessions) this.#sessions.set(session, target);
		const { listener } = this;
		if (!listener) return;
		for (const target of changed ?? this.#busy()) listener.loadChanged(target);
		for (const target of emptied) listener.promptsGone(target);
		for (const [target, blocks] of prompts) listener.promptGiven(target, decodeBlocks(blocks));
		for (const [session, target] of sessions) listener.sessionMoved(session, target);
		for (const [key, ms] of conversations) listener.conversationKept(decodeConversation(key), ms);
	}

	session(name: string): string | undefined {
		return this.state.session(name);
	}

	ownLoad(target: string): TargetLoad {
		return this.state.ownLoad(target);
	}

	ownLoads(): Iterable<readonly [string, TargetLoad]> {
		return this.state.ownLoads();
	}

	setOthers(target: string, load: TargetLoad): void {
		this.state.setOthers(target, load);
	}

	learnPrompt(target: string, blocks: Int32Array): void {
		this.state.learnPrompt(target, blocks);
	}

	forgetPrompts(target: string): void {
		this.state.forgetPrompts(target);
	}

	learnSession(session: string, target: string): void {
		this.state.learnSession(session, target);
		this.#sessions.set(session, target);
	}

	prompts(): Iterable<readonly [string, () => Int32Array]> {
		return this.state.prompts();
	}

	sessions(): Iterable<readonly [string, string]> {
		return this.#sessions.named();
	}

	/** Targets with calls under way. Of others that have changed the others hear when all that is under way is told. */
	*#busy(): Iterable<string> {
		for (const [target] of this.state.ownLoads()) yield target;
	}
}

/** How long a worker gathers notes, ms: a call is to be known elsewhere before the next one comes there. */
const GATHER_MS = 5;

/** A worker's side: what the main thread is told, in batches. */
export class NotedRouting {
	#timer: ReturnType<typeof setTimeout> | undefined;
	readonly #notes = new RoutingNotes(() => this.#schedule());

	/** @param send hands a batch to the main thread */
	constructor(private readonly send: (batch: RoutingBatch) => void) {}

	/** For the worker's view of what is known of targets. */
	get listener(): RoutingListener {
		return this.#notes;
	}

	/** Sends what was noted. */
	flush(): void {
		clearTimeout(this.#timer);
		this.#timer = undefined;
		if (!this.#notes.isEmpty) this.send(this.#notes.take());
		if (!this.#notes.isEmpty) this.#schedule();
	}

	/** On the path of calls. */
	#schedule(): void {
		this.#timer ??= setTimeout(() => this.flush(), GATHER_MS);
	}
}
