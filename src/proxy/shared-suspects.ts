/**
 * Calls that may have killed an engine, as all threads of the process know them: see `suspects.ts`. What is known is a text in memory that they
 * share, which whoever changes it writes anew under one lock: engines die seldom, and until one has nobody looks there.
 */
import { SharedCopy } from "../memory/shared-copy.ts";
import { type TextMemory, textMemory } from "../memory/shared-text.ts";
import type { RouteTarget } from "../routing/route.ts";
import { readSuspects, writeSuspects } from "./suspect-record.ts";
import type { DeathReport, SuspectEvent, SuspectRefusal, SuspectState, SuspectTurn } from "./suspect-step.ts";
import { Suspects, type SuspectsView } from "./suspects.ts";

/** The most that is kept, bytes: more than a thousand calls and their engines take. Of more the oldest calls are forgotten. */
const MOST_BYTES = 4 * 1024 * 1024;
/** How long a thread waits for a change before it looks anyway, ms. */
const LOOK_MS = 1_000;

/** Its memory: some KB until an engine dies. */
export const makeSuspects = (): TextMemory => textMemory(MOST_BYTES);

/** One thread's view of them; its times are on that thread's clock. */
export class SharedSuspects implements SuspectsView {
	/** The target of an engine's id, where this thread has not reached that engine itself. Set by whoever knows the catalog. */
	targetAt: (id: string) => RouteTarget | undefined = () => undefined;
	/** Hears of deaths and refusals that this thread finds. */
	report: (event: SuspectEvent) => void = () => undefined;
	readonly time: () => number;
	readonly #copy: SharedCopy;
	/** What the text said when this thread looked last. */
	readonly #state: SuspectState = { engines: new Map(), calls: new Map(), turns: [] };
	readonly #own: Suspects;
	#events: SuspectEvent[] = [];
	#waiting: { readonly signals: number; readonly change: Promise<void> } | undefined;

	/**
	 * @param memory of {@link makeSuspects}
	 * @param thread the number of this thread
	 * @param offset how far the clock of all threads, the main thread's, is ahead of this thread's, ms
	 * @param time this thread's clock, which never goes back, ms
	 */
	constructor(memory: TextMemory, thread: number, offset: number, time: () => number = () => performance.now()) {
		this.time = time;
		this.#own = new Suspects(time, this.#state, thread);
		const copied = {
			take: (text: string) => {
				readSuspects(text, this.#state, offset);
				const { calls, engines } = this.#state;
				this.#own.hasAny = calls.size + engines.size > 0;
			},
			write: () => writeSuspects(this.#state, offset),
			isMarked: () => this.#own.hasAny,
			shorten: () => this.#forgetOldest(),
		};
		this.#copy = new SharedCopy(memory, thread, copied, (ended) => this.freed(ended));
		this.#own.report = (event) => this.#events.push(event);
	}

	get hasAny(): boolean {
		return this.#copy.isMarked;
	}

	get refuseMs(): number {
		return this.#own.refuseMs;
	}
	set refuseMs(ms: number) {
		this.#own.refuseMs = ms;
	}

	/** Resolves when anything has changed since this thread looked that suspected calls wait for; after a second in any case. */
	get change(): Promise<void> {
		const { signals } = this.#copy;
		if (this.#waiting?.signals !== signals) {
			const waiting = { signals, change: this.#copy.signalled(signals, LOOK_MS) };
			this.#waiting = waiting;
			void waiting.change.then(() => {
				if (this.#waiting === waiting) this.#waiting = undefined;
			});
		}
		return this.#waiting!.change;
	}

	died(report: DeathReport): "bystander" | "suspect" | "refused" {
		return this.#change(() => this.#own.died(report));
	}

	diedSince(engine: string, startedAt: number): boolean {
		return this.#look().diedSince(engine, startedAt);
	}

	concerns(model: string): boolean {
		return this.#look().concerns(model);
	}

	stateOf(fingerprint: string): "clear" | "suspect" | "refused" {
		return this.#look().stateOf(fingerprint);
	}

	refusalOf(fingerprint: string): SuspectRefusal {
		return this.#look().refusalOf(fingerprint);
	}

	enginesOf(fingerprint: string): ReadonlySet<string> {
		return this.#look().enginesOf(fingerprint);
	}

	clear(fingerprint: string): void {
		if (this.#look().stateOf(fingerprint) === "suspect") this.#change(() => this.#own.clear(fingerprint));
	}

	enter(model: string, cameAt: number): SuspectTurn {
		return this.#change(() => this.#own.enter(model, cameAt));
	}

	hasTurn(turn: SuspectTurn): boolean {
		return this.#look().hasTurn(turn);
	}

	yield(turn: SuspectTurn): void {
		this.#change(() => this.#own.yield(turn));
	}

	waitFor(turn: SuspectTurn, engines: readonly string[]): void {
		this.#look();
		// Whoever waits says so again and again.
		const isSame = turn.waitsFor.length === engines.length && engines.every((id) => turn.waitsFor.includes(id));
		if (!isSame) this.#change(() => this.#own.waitFor(turn, engines));
	}

	begin(turn: SuspectTurn, id: string, isAlone: boolean): boolean {
		return this.#change(() => this.#own.begin(turn, id, isAlone));
	}

	turnLeftMs(turn: SuspectTurn, turnMs: number): number {
		return this.#look().turnLeftMs(turn, turnMs);
	}

	pass(turn: SuspectTurn): void {
		this.#change(() => this.#own.pass(turn));
	}

	passedAt(id: string): number {
		return this.#look().passedAt(id);
	}

	end(turn: SuspectTurn): void {
		this.#change(() => this.#own.end(turn));
	}

	leave(turn: SuspectTurn): void {
		this.#change(() => this.#own.leave(turn));
	}

	isReserved(id: string, turn: SuspectTurn | undefined, isQueue = false): boolean {
		return this.#look().isReserved(id, turn, isQueue);
	}

	isDead(id: string): boolean {
		return this.#look().isDead(id);
	}

	isLost(id: string): boolean {
		return this.#look().isLost(id);
	}

	cameBack(id: string): void {
		if (this.isDead(id)) this.#change(() => this.#own.cameBack(id));
	}

	reportedReady(id: string, isAgain: boolean): void {
		if (this.hasAny && this.isDead(id)) this.#change(() => this.#own.reportedReady(id, isAgain));
	}

	hasAnswered(id: string, cameAt: number): void {
		if (this.isDead(id)) this.#change(() => this.#own.hasAnswered(id, cameAt));
	}

	targetOf(id: string): RouteTarget | undefined {
		return this.#look().targetOf(id) ?? (this.lastDead(id) === undefined ? undefined : this.targetAt(id));
	}

	staysDead(id: string): void {
		if (this.lastDead(id) !== undefined) this.#change(() => this.#own.staysDead(id));
	}

	lastDead(id: string): number | undefined {
		return this.#look().lastDead(id);
	}

	backInMs(id: string): number | undefined {
		return this.#look().backInMs(id);
	}

	prune(): void {
		this.#look();
		const { calls, engines } = this.#state;
		const before = calls.size + engines.size;
		this.#own.prune();
		// What is over each thread forgets by itself; that nothing is left they have to know.
		if (calls.size + engines.size < before) this.#change(() => this.#own.prune());
	}

	/** A thread has died, and its calls with it: the line goes on without them. By the main thread. */
	freed(thread: number): void {
		this.#copy.freed(thread);
		const isIts = ({ id }: SuspectTurn) => id.startsWith(`${thread}/`);
		this.#look();
		if (!this.#state.turns.some(isIts)) return;
		this.#change(() => {
			for (const turn of this.#state.turns.filter(isIts)) this.#own.leave(turn);
		});
	}

	/** What is known now. */
	#look(): Suspects {
		this.#copy.look();
		return this.#own;
	}

	/** Changes what is known: one thread at a time. */
	#change<T>(step: () => T): T {
		const { change } = this.#own;
		const done = this.#copy.change(step);
		if (this.#own.change !== change) this.#copy.signal();
		const events = this.#events;
		this.#events = [];
		for (const event of events) this.report(event);
		return done;
	}

	/** The older half of all calls. */
	#forgetOldest(): boolean {
		const { calls } = this.#state;
		let left = Math.ceil(calls.size / 2);
		if (left === 0) return false;
		for (const fingerprint of calls.keys()) if (left-- > 0) calls.delete(fingerprint);
		return true;
	}
}
