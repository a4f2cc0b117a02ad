/**
 * Calls that may have killed an engine. Nobody can tell which of an engine's calls without a token it died of, so each of them is
 * suspected; they are tried again one at a time, and the one that runs at a second death is refused from then on. That explains the
 * first death, too: the others are free. Bounded in number and time.
 */
import { ALONE_MS, DeadEngines } from "./dead-engines.ts";
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
/** How long the death of an engine that nobody waits for is remembered, ms. */
const FORGOTTEN_MS = 600_000;

/** What others see of a holder, wherever it has what is known. */
export type SuspectsView = Omit<Suspects, "hasAny"> & { readonly hasAny: boolean };

/** The holder. */
export class Suspects extends DeadEngines {
	/** How long a call is refused that an engine died of twice, ms; 0: only when it happens. */
	refuseMs = 600_000;
	/** Hears of deaths and refusals. */
	report: (event: SuspectEvent) => void = () => undefined;
	readonly #calls: SuspectState["calls"];
	readonly #turns: SuspectState["turns"];
	#entered = 0;

	/**
	 * @param time a clock that never goes back, ms: the one of attempts
	 * @param state where it has what is known
	 * @param thread the number of the thread that it is for
	 */
	constructor(
		time: () => number = () => performance.now(),
		{ engines, calls, turns }: SuspectState = { engines: new Map(), calls: new Map(), turns: [] },
		private readonly thread = 0,
	) {
		super(time, engines);
		this.#calls = calls;
		this.#turns = turns;
	}

	/** An engine died under an attempt: whether its call may have been the cause, or has been it twice. */
	died(report: DeathReport): "bystander" | "suspect" | "refused" {
		const { engine: id, startedAt, fingerprint, call, model, hasTokens, turn, wasWell } = report;
		const now = this.time();
		const engine = this.engine(id);
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
		this.changed();
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
			const engine = this.engine(id);
			const isFirst = !this.#turns.some(({ waitsFor }) => waitsFor.includes(id));
			if (isFirst && !this.isDead(id)) engine.reservedUntil = this.time() + ALONE_MS;
		}
		turn.waitsFor = engines;
		this.hasAny = true;
	}

	/** It runs there from now on; false where another one has its turn: one of another thread may have begun since it was asked for. */
	begin(turn: SuspectTurn, id: string, isAlone: boolean): boolean {
		if (!this.hasTurn(turn)) return false;
		const engine = this.engine(id);
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
		return (this.engines.get(id)?.backAt ?? Number.NEGATIVE_INFINITY) + turnMs - this.time();
	}

	/** It runs on, and the next may be tried beside it. */
	pass(turn: SuspectTurn): void {
		const engine = turn.engine === undefined ? undefined : this.engines.get(turn.engine);
		if (engine?.trial === turn) engine.trial = undefined;
		turn.hasPassed = true;
		this.changed();
	}

	/** Calls that run there and have passed their turn on. */
	passedAt(id: string): number {
		return this.#turns.filter(({ engine, hasPassed }) => hasPassed && engine === id).length;
	}

	/** Its attempt has ended, or has its first token. */
	end(turn: SuspectTurn): void {
		const { engine: id = "" } = turn;
		const engine = this.engines.get(id);
		if (engine?.trial === turn) engine.trial = undefined;
		const hasNext = this.#turns.some(({ waitsFor, wasAlone }) => waitsFor.includes(id) && !wasAlone);
		if (engine && hasNext && !this.isDead(id)) engine.reservedUntil = this.time() + ALONE_MS;
		Object.assign(turn, { engine: undefined, hasPassed: false });
		this.changed();
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
		if (!isQueue) return this.#isKept(id, this.engines.get(id), turn);
		return [...this.engines].some(([each, engine]) => each.startsWith(`${id}#`) && this.#isKept(each, engine, turn));
	}

	#isKept(id: string, engine: SuspectedEngine | undefined, turn: SuspectTurn | undefined): boolean {
		if (!engine || this.time() >= engine.reservedUntil) return false;
		if (engine.trial) return engine.trial !== turn && engine.trial.isAlone;
		return turn === undefined && this.#turns.some(({ waitsFor }) => waitsFor.includes(id));
	}

	/** Forgets what is over. */
	prune(): void {
		const now = this.time();
		for (const [fingerprint, { at, refusedUntil }] of this.#calls) {
			if (now >= (refusedUntil ?? at + SUSPECTED_MS)) this.#calls.delete(fingerprint);
		}
		for (const [id, engine] of this.engines) {
			const isNeeded = engine.trial || this.#turns.some(({ waitsFor }) => waitsFor.includes(id));
			if (!isNeeded && now - (engine.death?.lastAt ?? now) >= FORGOTTEN_MS) this.engines.delete(id);
			if (!isNeeded && !engine.death) this.engines.delete(id);
		}
		this.hasAny = this.#calls.size > 0 || this.engines.size > 0;
	}

	#convict(fingerprint: string, suspicion: Suspicion, target: string): void {
		suspicion.refusedUntil = this.time() + this.refuseMs;
		for (const death of suspicion.deaths) {
			death.isExplained = true;
			for (const other of [...death.suspects]) if (other !== fingerprint) this.clear(other);
		}
		this.report({ what: "convicted", target, calls: suspicion.calls, forMs: this.refuseMs });
		this.changed();
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
}
