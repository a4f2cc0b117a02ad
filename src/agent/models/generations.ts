/** The generations of the agent's models: what their replicas are made from, rolls under way, and what their canaries are compared by. Stored, so that another start of the agent goes on with them. */
import { steadyTime } from "../../steady-time.ts";
import type { AgentFile } from "./agent-file.ts";
import { CallCounter } from "./call-counts.ts";
import { analyseCanary, type CanaryResult } from "./canary-analysis.ts";
import type { RegisteredModel } from "./model-registry.ts";
import { modelOfKey, replicaKey } from "./replica-state.ts";
import {
	firstGenerations,
	type Generation,
	type ModelGenerations,
	nextGenerations,
	type Roll,
	type RollEnd,
	type RollInputs,
	type Room,
} from "./roll.ts";

/** One replica that is to be, or to go. */
export interface PlannedReplica {
	readonly replica: number;
	readonly key: string;
	/** What it is made from. */
	readonly generation: Generation;
	readonly is: "current" | "new" | "leaving";
}

/** What an API call asks for. */
export interface RollOrder {
	/** Instead of the configuration's image. */
	readonly image?: string | undefined;
	/** 0 to 1. */
	readonly share?: number | undefined;
}

/** What a tick has seen of one model; the rest is known here. */
export interface SeenModel
	extends Pick<RollInputs, "count" | "isUp" | "isReady" | "isThere" | "isPulled" | "problem" | "isReadingLog"> {
	readonly wanted: Generation;
	/** The configuration's share of calls for a canary. */
	readonly share: number;
	/** Unix time, ms. */
	readonly now: number;
}

/** Counts of both generations, since the canary takes calls. */
interface Counters {
	readonly old: CallCounter;
	readonly canary: CallCounter;
	/** `steadyTime`. */
	readonly from: number;
}

/** How a model's generations changed. */
export type RollNews =
	| { readonly what: "begun" | "canary" | "replacing"; readonly roll: Roll }
	| { readonly what: "ended"; readonly end: RollEnd };

/** All of them. */
export class Generations {
	readonly #models = new Map<string, ModelGenerations>();
	readonly #orders = new Map<string, RollOrder>();
	readonly #rooms = new Map<string, Room>();
	readonly #counters = new Map<string, Counters>();

	constructor(
		private readonly file: AgentFile,
		/** `agent.roll`, ms. */
		private readonly times: { readonly watch: number; readonly limit: number },
	) {
		for (const [name, stored] of Object.entries(file.content.generations ?? {})) {
			if (isModelGenerations(stored)) this.#models.set(name, stored);
		}
	}

	of(model: string): ModelGenerations | undefined {
		return this.#models.get(model);
	}

	/** What a replica is made from; undefined for one that no tick has seen. */
	at(key: string): Generation | undefined {
		const model = modelOfKey(key);
		return this.#models.has(model) ? this.#planned(model).find((each) => each.key === key)?.generation : undefined;
	}

	/** The replicas of a model. Before the first tick: those that its configuration asks for. */
	replicas({ spec }: RegisteredModel): readonly Omit<PlannedReplica, "generation">[] {
		if (this.#models.has(spec.name)) return this.#planned(spec.name);
		return Array.from({ length: spec.replicas ?? 1 }, (_, replica) => ({
			replica,
			key: replicaKey(spec.name, replica),
			is: "current" as const,
		}));
	}

	/** The replicas of a model that a tick has seen. */
	#planned(model: string): readonly PlannedReplica[] {
		const { current, replicas, leaving, roll } = this.#models.get(model)!;
		const planned = (is: PlannedReplica["is"], numbers: readonly number[], generation: Generation) =>
			numbers.map((replica): PlannedReplica => ({ replica, key: replicaKey(model, replica), generation, is }));
		return [
			...planned("current", replicas, current),
			...planned("new", roll?.replicas ?? [], roll?.to ?? current),
			...planned("leaving", leaving, current),
		];
	}

	/** The share of calls of a replica on trial; undefined for any other. */
	shareOf(model: string, replica: number): number | undefined {
		const roll = this.#models.get(model)?.roll;
		return roll?.phase === "canary" && roll.replicas.includes(replica) ? roll.share : undefined;
	}

	/** Counts the calls of a replica; undefined where nobody asks. */
	counterOf(model: string, replica: number): CallCounter | undefined {
		const counters = this.#counters.get(model);
		return this.shareOf(model, replica) === undefined ? counters?.old : counters?.canary;
	}

	/** An API call asks for a roll; the next tick begins it. */
	order(model: string, order: RollOrder): void {
		this.#orders.set(model, order);
	}

	/** Whether one asked for a roll that no tick has decided on yet. */
	isOrdered(model: string): boolean {
		return this.#orders.has(model);
	}

	/** The configuration's model with the image that an order named, where it did. */
	ordered({ spec, ...entry }: RegisteredModel): RegisteredModel {
		const image = this.#orders.get(spec.name)?.image ?? this.#orderedImage(spec.name, spec.image);
		return { ...entry, spec: image === undefined ? spec : { ...spec, image } };
	}

	#orderedImage(model: string, configured: string | undefined): string | undefined {
		const ordered = this.#models.get(model)?.ordered;
		return ordered && ordered.over === configured ? ordered.image : undefined;
	}

	/** The first tick that sees the containers. */
	begin(model: string, wanted: Generation, count: number, running: Parameters<typeof firstGenerations>[2]): void {
		if (!this.#models.has(model)) this.#set(model, firstGenerations(wanted, count, running));
	}

	/** What becomes of a model's generations at a tick. @param configured the image that its configuration names */
	step(model: string, seen: SeenModel, configured: string | undefined): RollNews | undefined {
		const before = this.#models.get(model);
		if (!before) return undefined;
		const order = this.#orders.get(model);
		this.#orders.delete(model);
		const asked: ModelGenerations =
			order?.image === undefined ? before : { ...before, ordered: { image: order.image, over: configured } };
		const next = nextGenerations(asked, {
			...seen,
			share: order?.share ?? before.roll?.share ?? seen.share,
			isOrdered: order !== undefined,
			room: this.#rooms.get(model) ?? "unknown",
			analysis: () => this.#analysis(model),
		});
		if (next === before) return undefined;
		this.#set(model, next);
		return this.#news(model, before, next);
	}

	/** Whether the newest replica of a roll finds its memory, as the placer said. */
	setRoom(model: string, room: Room): void {
		this.#rooms.set(model, room);
	}

	/** A replica failed, to start or later. */
	failed(key: string): void {
		const name = modelOfKey(key);
		const model = this.#models.get(name);
		const isNew = model?.roll && this.#planned(name).some((each) => each.key === key && each.is === "new");
		if (isNew) this.#set(name, { ...model, roll: { ...model.roll!, failures: model.roll!.failures + 1 } });
	}

	/** Forgets all models but these. */
	retain(models: ReadonlySet<string>): void {
		const gone = [...this.#models.keys()].filter((name) => !models.has(name));
		for (const name of gone) this.#models.delete(name);
		if (gone.length > 0) this.#store();
	}

	#analysis(model: string): CanaryResult {
		const counters = this.#counters.get(model) ?? this.#count(model);
		const { watch, limit } = this.times;
		return analyseCanary(counters.old, counters.canary, steadyTime() - counters.from, {
			leastMs: watch,
			mostMs: limit,
		});
	}

	#count(model: string): Counters {
		const counters = { old: new CallCounter(), canary: new CallCounter(), from: steadyTime() };
		this.#counters.set(model, counters);
		return counters;
	}

	#news(model: string, before: ModelGenerations, next: ModelGenerations): RollNews | undefined {
		const { roll, last } = next;
		if (roll?.startedAt !== before.roll?.startedAt) this.#rooms.delete(model);
		if (roll?.phase !== "canary") this.#counters.delete(model);
		if (last && last !== before.last) return { what: "ended", end: last };
		if (!roll) return undefined;
		if (roll.startedAt !== before.roll?.startedAt) return { what: "begun", roll };
		if (roll.phase === before.roll.phase || roll.phase === "starting") return undefined;
		if (roll.phase === "canary") this.#count(model);
		return { what: roll.phase, roll };
	}

	#set(model: string, generations: ModelGenerations): void {
		this.#models.set(model, generations);
		this.#store();
	}

	#store(): void {
		this.file.update({ generations: Object.fromEntries(this.#models) });
	}
}

/** A file of another version, or that somebody edited, may hold anything: what is none is made anew. */
function isModelGenerations(value: unknown): value is ModelGenerations {
	const { current, replicas, leaving, roll } = (value ?? {}) as Partial<ModelGenerations>;
	return isGeneration(current) && isNumbers(replicas) && isNumbers(leaving) && (roll === undefined || isRoll(roll));
}

function isGeneration(value: unknown): value is Generation {
	const { hash, image, spec } = (value ?? {}) as Partial<Generation>;
	return typeof hash === "string" && typeof image === "string" && typeof spec?.name === "string";
}

function isRoll(value: Partial<Roll>): value is Roll {
	const { to, replicas, phase, share, startedAt, failures } = value;
	const isPhase = phase === "starting" || phase === "canary" || phase === "replacing";
	return isGeneration(to) && isNumbers(replicas) && isPhase && [share, startedAt, failures].every(Number.isFinite);
}

const isNumbers = (value: unknown): value is number[] =>
	Array.isArray(value) && value.every((each) => Number.isInteger(each) && each >= 0);
