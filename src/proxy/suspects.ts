/**
 * Calls that may have killed an engine. Nobody can tell which of an engine's calls without a token it died of, so each of them is
 * suspected; they are tried again one at a time, and the one that runs at a second death is refused from then on. That explains the
 * first death, too: the others are free. Bounded in number and time.
 */
import type { RouteTarget } from "../routing/route.ts";
import type {
	DeathReport,
	SuspectEvent,
	SuspectedEngine,
	SuspectRefusal,
	SuspectState,
	SuspectTurn,
	Suspicion,
} from "./suspect-step.ts";

/** Suspected and refused calls remembered; the oldest are forgotten first. */
const MOST_CALLS = 1_000;
/** How long a suspicion lasts, ms. */
const SUSPECTED_MS = 600_000;
/** A server whose engine is dead answers for some seconds more: calls that reach it only then have done nothing, ms. */
const LATE_MS = 15_000;
/** It answers them at once: what took longer has waited for an engine that was started since, and ran there, ms. */
const LATE_ANSWER_MS = 1_000;
/** How long other calls are kept from an engine for suspected ones, ms: an answer that takes longer is not waited for. */
const ALONE_MS = 30_000;
/** How long suspected calls wait for an engine whose restart has never been seen, ms; else twice as long as that took, if that is longer. */
const LOST_MS = 120_000;
/** What an agent says of an engine is newer than its death, of which the agent hears first, when it comes so long after it, ms. */
const REPORT_MS = 2_000;
/** How long the death of an engine that nobody waits for is remembered, ms. */
const FORGOTTEN_MS = 600_000;

/** What others see of a holder, wherever it has what is known. */
export type SuspectsView = Omit<Suspects, "hasAny"> & { readonly hasAny: boolean };

/** The holder. */
export class Suspects {
	/** An engine has died lately. Until then nobody need ask. */
	hasAny = false;
	/** How long a call is refused that an engine died of twice, ms; 0: only when it happens. */
	refuseMs = 600_000;
	/** Hears of deaths and refusals. */
	report: (event: SuspectEvent) => void = () => undefined;
	readonly #engines: SuspectState["engines"];
	readonly #calls: SuspectState["calls"];
	readonly #turns: SuspectState["turns"];
	#entered = 0;
	#change = Promise.withResolvers<void>();

	/**
	 * @param time a clock that never goes back, ms: the one of attempts
	 * @param state where it has what is known
	 * @param thread the number of the thread that it is for
	 */
	constructor(
		readonly time: () => number = () => performance.now(),
		{ engines, calls, turns }: SuspectState = { engines: new Map(), calls: new Map(), turns: [] },
		private readonly thread = 0,
	) {
		this.#engines = engines;
		this.#calls = calls;
		this.#turns = turns;
	}

	/** Resolves when anything has changed that suspected calls wait for. */
	get change(): Promise<void> {
		return this.#change.promise;
	}

	/** An engine died under an attempt: whether its call may have been the cause, or has been it twice. */
	died(report: DeathReport): "bystander" | "suspect" | "refused" {
		const { engine: id, startedAt, fingerprint, call, model, hasTokens, turn, wasWell } = report;
		const now = this.time();
		const engine = this.#engine(id);
		engine.target = report.target;
		// One that has passed its turn on is one of those beside the next that is tried there.
		const isTrial = turn?.engine === id && (engine.trial ?? turn) === turn;
		let { death } = engine;
		if (!death || startedAt >= death.at) {
			const isLate = now - startedAt < LATE_ANSWER_MS && startedAt < (engine.backAt ?? Number.POSITIVE_INFINITY);
			if (death && !isTrial && !wasWell && isLate && now - death.lastAt < LATE_MS) {
				death.lastAt = now;
				return "bystander";
			}
			death = { at: now, lastAt: now, suspects: new Set(), isExplained: false };
			// Calls that wait for longer would pile up before an engine that nobody starts again.
			const reservedUntil = now + Math.max(ALONE_MS, engine.restartMs ?? 0);
			Object.assign(engine, { death, backAt: undefined, reservedUntil });
			this.report({ what: "died", target: id, call });
		}
		death.lastAt = now;
		// What is tried there because it is suspected explains a death better than anything beside it, and so does an image on trial.
		if (hasTokens || death.isExplained || report.target?.isCanary || (engine.trial && !isTrial)) return "bystander";
		const suspicion = this.#suspicion(fingerprint, model);
		if (!suspicion.deaths.has(death)) suspicion.calls.push(call);
		suspicion.deaths.add(death);
		suspicion.engines.add(id);
		death.suspects.add(fingerprint);
		if (suspicion.deaths.size < 2) return "suspect";
		this.#convict(fingerprint, suspicion, id);
		return "refused";
	}

	/** Whether an attempt that broke without a word was at an engine that has died since it began. */
	diedSince(engine: string, startedAt: number): boolean {
		const death = this.#engines.get(engine)?.death;
		return death !== undefined && startedAt < death.at;
	}

	/** Whether a call of this model might be suspected or refused. */
	concerns(model: string): boolean {
		for (const suspicion of this.#calls.values()) if (suspicion.model === model) return true;
		return false;
	}

	stateOf(fingerprint: string): "clear" | "suspect" | "refused" {
		const suspicion = this.#calls.get(fingerprint);
		return !suspicion ? "clear" : suspicion.refusedUntil === undefined ? "suspect" : "refused";
	}

	/** What is known of a call that is refused. */
	refusalOf(fingerprint: string): SuspectRefusal {
		const { calls = [], engines, refusedUntil = 0 } = this.#calls.get(fingerprint) ?? {};
		const reason = `refused: an engine died of it twice (${[...new Set(calls)].join(", ")})`;
		return { calls, reason, engines: engines?.size ?? 0, leftMs: Math.max(0, refusedUntil - this.time()) };
	}

	/** Where it was when engines died. */
	enginesOf(fingerprint: string): ReadonlySet<string> {
		return this.#calls.get(fingerprint)?.engines ?? new Set();
	}

	/** It has its first token, or an answer: no engine died of it. */
	clear(fingerprint: string): void {
		const suspicion = this.#calls.get(fingerprint);
		if (!suspicion || suspicion.refusedUntil !== undefined) return;
		for (const { suspects } of suspicion.deaths) suspects.delete(fingerprint);
		this.#calls.delete(fingerprint);
		this.#changed();
	}

	/**
	 * A place in the line of suspected calls of a model: the last to come is tried first, since most engines die at the beginning of a call.
	 * @param cameAt when the call came, on the clock
	 */
	enter(model: string, cameAt: number): SuspectTurn {
		const nowhere = { waitsFor: [], engine: undefined, isAlone: false, wasAlone: false, hasPassed: false };
		const turn: SuspectTurn = { id: `${this.thread}/${this.#entered++}`, model, cameAt, ...nowhere };
		this.#turns.push(turn);
		return turn;
	}

	/** Whether it may run now. */
	hasTurn(turn: SuspectTurn): boolean {
		const others = this.#turns.filter((each) => each.model === turn.model && each !== turn && !each.hasPassed);
		return others.every(({ engine, cameAt }) => engine === undefined && cameAt <= turn.cameAt);
	}

	/** Whatever it is, the others need not wait for it. */
	yield(turn: SuspectTurn): void {
		turn.cameAt = Math.min(...this.#turns.map(({ cameAt }) => cameAt)) - 1;
	}

	/** It waits for one of these engines, from which other calls are kept. */
	waitFor(turn: SuspectTurn, engines: readonly string[]): void {
		for (const id of engines) {
			const engine = this.#engine(id);
			const isFirst = !this.#turns.some(({ waitsFor }) => waitsFor.includes(id));
			if (isFirst && !this.isDead(id)) engine.reservedUntil = this.time() + ALONE_MS;
		}
		turn.waitsFor = engines;
		this.hasAny = true;
	}

	/** It runs there from now on; false where another one has its turn: one of another thread may have begun since it was asked for. */
	begin(turn: SuspectTurn, id: string, isAlone: boolean): boolean {
		if (!this.hasTurn(turn)) return false;
		const engine = this.#engine(id);
		Object.assign(turn, { engine: id, isAlone, hasPassed: false });
		engine.trial = turn;
		if (isAlone && !turn.wasAlone) engine.reservedUntil = Math.max(engine.reservedUntil, this.time() + ALONE_MS);
		turn.wasAlone ||= isAlone;
		return true;
	}

	/**
	 * How long it may keep its turn, ms; 0 or less: no longer. Its time begins when its engine is back, for which its agent holds it.
	 * @param turnMs the whole of its time, ms
	 */
	turnLeftMs({ engine: id = "" }: SuspectTurn, turnMs: number): number {
		if (this.isDead(id)) return turnMs;
		return (this.#engines.get(id)?.backAt ?? Number.NEGATIVE_INFINITY) + turnMs - this.time();
	}

	/** It runs on, and the next may be tried beside it. */
	pass(turn: SuspectTurn): void {
		const engine = turn.engine === undefined ? undefined : this.#engines.get(turn.engine);
		if (engine?.trial === turn) engine.trial = undefined;
		turn.hasPassed = true;
		this.#changed();
	}

	/** Calls that run there and have passed their turn on. */
	passedAt(id: string): number {
		return this.#turns.filter(({ engine, hasPassed }) => hasPassed && engine === id).length;
	}

	/** Its attempt has ended, or has its first token. */
	end(turn: SuspectTurn): void {
		const { engine: id = "" } = turn;
		const engine = this.#engines.get(id);
		if (engine?.trial === turn) engine.trial = undefined;
		const hasNext = this.#turns.some(({ waitsFor, wasAlone }) => waitsFor.includes(id) && !wasAlone);
		if (engine && hasNext && !this.isDead(id)) engine.reservedUntil = this.time() + ALONE_MS;
		Object.assign(turn, { engine: undefined, hasPassed: false });
		this.#changed();
	}

	/** It is no longer in the line. */
	leave(turn: SuspectTurn): void {
		this.end(turn);
		const at = this.#turns.indexOf(turn);
		if (at !== -1) this.#turns.splice(at, 1);
	}

	/**
	 * Whether this call is to be kept from an engine, for a suspected one.
	 * @param isQueue it is the queue of an agent's model, which may give a call to any of its replicas
	 */
	isReserved(id: string, turn: SuspectTurn | undefined, isQueue = false): boolean {
		if (!isQueue) return this.#isKept(id, this.#engines.get(id), turn);
		return [...this.#engines].some(([each, engine]) => each.startsWith(`${id}#`) && this.#isKept(each, engine, turn));
	}

	#isKept(id: string, engine: SuspectedEngine | undefined, turn: SuspectTurn | undefined): boolean {
		if (!engine || this.time() >= engine.reservedUntil) return false;
		if (engine.trial) return engine.trial !== turn && engine.trial.isAlone;
		return turn === undefined && this.#turns.some(({ waitsFor }) => waitsFor.includes(id));
	}

	/** It has died, and nobody has found it to be back. */
	isDead(id: string): boolean {
		const engine = this.#engines.get(id);
		return engine?.death !== undefined && engine.backAt === undefined;
	}

	/** It has been dead for so long that it may never be back. */
	isLost(id: string): boolean {
		const { death, restartMs = 0 } = this.#engines.get(id) ?? {};
		return death !== undefined && this.isDead(id) && this.time() - death.at >= Math.max(LOST_MS, 2 * restartMs);
	}

	/** It serves again. */
	cameBack(id: string): void {
		const engine = this.#engines.get(id);
		if (!engine?.death || engine.backAt !== undefined) return;
		const backAt = this.time();
		Object.assign(engine, { backAt, restartMs: backAt - engine.death.at, reservedUntil: backAt + ALONE_MS });
		this.#changed();
	}

	/**
	 * Its agent says that it is ready.
	 * @param isAgain the agent's last report said that it was not
	 */
	reportedReady(id: string, isAgain: boolean): void {
		const death = this.#engines.get(id)?.death;
		if (death && (isAgain || this.time() - death.lastAt >= REPORT_MS)) this.cameBack(id);
	}

	/** It has answered a call that came at this time: after its death only one that is back does. */
	hasAnswered(id: string, cameAt: number): void {
		if (cameAt >= (this.lastDead(id) ?? Number.POSITIVE_INFINITY)) this.cameBack(id);
	}

	/** By which it was reached when it died. */
	targetOf(id: string): RouteTarget | undefined {
		return this.#engines.get(id)?.target;
	}

	/** Its server says so again. */
	staysDead(id: string): void {
		const death = this.#engines.get(id)?.death;
		if (death) death.lastAt = this.time();
	}

	/** When its server last said that it is dead, on the clock; undefined where it never did. */
	lastDead(id: string): number | undefined {
		return this.#engines.get(id)?.death?.lastAt;
	}

	/** How long it will take to be back, ms, where it has been away before. */
	backInMs(id: string): number | undefined {
		const { death, restartMs } = this.#engines.get(id) ?? {};
		return death && restartMs !== undefined ? Math.max(0, death.at + restartMs - this.time()) : undefined;
	}

	/** Forgets what is over. */
	prune(): void {
		const now = this.time();
		for (const [fingerprint, { at, refusedUntil }] of this.#calls) {
			if (now >= (refusedUntil ?? at + SUSPECTED_MS)) this.#calls.delete(fingerprint);
		}
		for (const [id, engine] of this.#engines) {
			const isNeeded = engine.trial || this.#turns.some(({ waitsFor }) => waitsFor.includes(id));
			if (!isNeeded && now - (engine.death?.lastAt ?? now) >= FORGOTTEN_MS) this.#engines.delete(id);
			if (!isNeeded && !engine.death) this.#engines.delete(id);
		}
		this.hasAny = this.#calls.size > 0 || this.#engines.size > 0;
	}

	#convict(fingerprint: string, suspicion: Suspicion, target: string): void {
		suspicion.refusedUntil = this.time() + this.refuseMs;
		for (const death of suspicion.deaths) {
			death.isExplained = true;
			for (const other of [...death.suspects]) if (other !== fingerprint) this.clear(other);
		}
		this.report({ what: "convicted", target, calls: suspicion.calls, forMs: this.refuseMs });
		this.#changed();
	}

	#engine(id: string): SuspectedEngine {
		let engine = this.#engines.get(id);
		if (!engine) {
			const unknown = { death: undefined, target: undefined, backAt: undefined, restartMs: undefined };
			engine = { ...unknown, trial: undefined, reservedUntil: 0 };
			this.#engines.set(id, engine);
		}
		this.hasAny = true;
		return engine;
	}

	#suspicion(fingerprint: string, model: string): Suspicion {
		let suspicion = this.#calls.get(fingerprint);
		if (!suspicion) {
			if (this.#calls.size >= MOST_CALLS) this.#calls.delete(this.#calls.keys().next().value!);
			const at = this.time();
			suspicion = { at, model, deaths: new Set(), engines: new Set(), calls: [], refusedUntil: undefined };
			this.#calls.set(fingerprint, suspicion);
		}
		return suspicion;
	}

	#changed(): void {
		this.#change.resolve();
		this.#change = Promise.withResolvers<void>();
	}
}
