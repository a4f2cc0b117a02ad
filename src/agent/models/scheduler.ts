/**
 * Which models hold GPU memory: pure. Calls for a model that is not loaded wait; this decides when their model replaces
 * another. The rules, and why, are in design.md (src/agent).
 */
import type { Fit, LoadMode, ModelGoal, ModelState } from "../../protocol/agent.ts";

/** One model, with its calls. Times are ms of one clock. */
export interface ModelDemand {
	readonly name: string;
	readonly load: LoadMode;
	/** The last order of an API call; it wins over `load`. */
	readonly order?: "load" | "unload" | undefined;
	readonly state: ModelState;
	/** A container of its runs, or somebody has paused one: it holds its memory, and where it has failed no load of it has. */
	readonly isThere?: boolean | undefined;
	/** Calls that wait, and since when the first of them. */
	readonly waiting: number;
	readonly oldestAt?: number | undefined;
	/** Calls in flight. */
	readonly running: number;
	/** When a call last began or ended. */
	readonly usedAt: number;
	/** Since when it has been ready, and how long it took to get there. */
	readonly readyAt?: number | undefined;
	readonly loadMs?: number | undefined;
	/** Idle ms until it is unloaded. */
	readonly ttl?: number | undefined;
	/** After a failure: not loaded before then. */
	readonly retryAt?: number | undefined;
	/** What its router wants of it, where it is `on-demand`. */
	readonly goal?: Omit<ModelGoal, "model"> | undefined;
}

/** What fits into memory. */
export interface Capacity {
	/** Whether `name` fits, with all of its replicas, beside `awake`, which hold all of their memory, and `asleep`, which hold a little. */
	fits(name: string, awake: ReadonlySet<string>, asleep: ReadonlySet<string>): boolean;
	/** How many of its replicas fit there. Without it: all or none. */
	replicasThatFit?(name: string, awake: ReadonlySet<string>, asleep: ReadonlySet<string>): number;
	/** Whether host memory takes `name` asleep beside those. */
	canSleep(name: string, asleep: ReadonlySet<string>): boolean;
}

/** Settings. */
export interface SchedulerRules {
	/** How long calls wait before a busy model in their way takes no further ones, ms. */
	readonly switchAfterMs: number;
}

/** Models that hold memory; the next decision starts from them. */
export interface Residents {
	readonly awake: ReadonlySet<string>;
	readonly asleep: ReadonlySet<string>;
	/** Those of `awake` that did not fit with all of their replicas: the others have precedence over what is missing. */
	readonly partial?: ReadonlySet<string>;
}

/** Models that hold memory from now on, and those that lose it. */
export interface Decision extends Residents {
	/** Residents whose calls wait from now on: they are evicted once those in flight have ended. */
	readonly closed: ReadonlySet<string>;
	/** Models that would not fit if every model that may be evicted were. */
	readonly misfits: ReadonlySet<string>;
	/** Models that this decision evicts. */
	readonly evicted: readonly string[];
}

/**
 * How long a model must have been idle to be evicted at once, ms: a tenth of what its load takes, within bounds. The next call of
 * a client in a loop comes sooner, and a person who changes models hardly notices the wait.
 */
export function idleBeforeEviction({ loadMs = 0 }: Pick<ModelDemand, "loadMs">): number {
	return Math.min(10_000, Math.max(500, loadMs / 10));
}

/** What would become of `name`'s memory if it were loaded now, beside what the last decision left. Nothing is decided. */
export function fitOf(
	name: string,
	models: readonly ModelDemand[],
	{ awake, asleep }: Residents,
	capacity: Capacity,
	now: number,
): Fit {
	const others = without(asleep, [name]);
	if (awake.has(name) || capacity.fits(name, awake, others)) return "now";
	const mayGo = models.filter((each) => each.name !== name && !isPinned(each) && awake.has(each.name));
	const idle = mayGo.filter((each) => evictionCost(each, now, false, 0) === IDLE);
	const fitsWithout = (gone: readonly ModelDemand[]) =>
		capacity.fits(
			name,
			without(
				awake,
				gone.map((each) => each.name),
			),
			NONE,
		);
	if (fitsWithout(idle)) return "evicting";
	return fitsWithout(mayGo) ? "busy" : "no";
}

const NONE: ReadonlySet<string> = new Set();

/** A decision in the making. */
interface Draft extends Decision {
	readonly awake: Set<string>;
	readonly asleep: Set<string>;
	readonly partial: Set<string>;
	readonly closed: Set<string>;
	readonly misfits: Set<string>;
	readonly evicted: string[];
}

/** What a decision is made from. */
interface Inputs {
	readonly byName: ReadonlyMap<string, ModelDemand>;
	readonly capacity: Capacity;
	readonly switchAfterMs: number;
	readonly now: number;
}

/** Decides. The same answer for the same arguments. */
export function schedule(
	models: readonly ModelDemand[],
	residents: Residents,
	capacity: Capacity,
	{ switchAfterMs }: SchedulerRules,
	now: number,
): Decision {
	const byName = new Map(models.map((model) => [model.name, model]));
	const kept = (names: ReadonlySet<string>) => {
		const models = [...names].flatMap((name) => byName.get(name) ?? []);
		return new Set(models.filter((model) => staysLoaded(model, now)).map(({ name }) => name));
	};
	const draft: Draft = {
		awake: kept(residents.awake),
		asleep: kept(residents.asleep),
		partial: kept(residents.partial ?? new Set()),
		closed: new Set(),
		misfits: new Set(),
		evicted: [],
	};
	const inputs: Inputs = { byName, capacity, switchAfterMs, now };
	for (const model of models.filter((each) => needsMemory(each, draft.awake, now)).sort(byUrgency)) {
		giveMemory(model, draft, inputs);
	}
	for (const name of draft.partial) if (!draft.awake.has(name)) draft.partial.delete(name);
	return draft;
}

/**
 * Loads or wakes `model` where its memory is free or can be made free; else closes the busy models in its way, or finds it a misfit. Where
 * not all of its replicas would fit if every model that may be evicted were, as many as would are enough.
 */
function giveMemory(model: ModelDemand, draft: Draft, { byName, capacity, switchAfterMs, now }: Inputs): void {
	const { name } = model;
	const { awake, asleep } = draft;
	const others = without(asleep, [name]);
	draft.partial.delete(name);
	if (capacity.fits(name, awake, others)) {
		awake.add(name);
		asleep.delete(name);
		return;
	}
	const mayDisturb = isPinned(model) || now - (model.oldestAt ?? now) >= switchAfterMs;
	const candidates = [...awake, ...others]
		.map((each) => byName.get(each)!)
		.filter((each) => !isPinned(each) && each.name !== name)
		.map((each) => ({ each, cost: asleep.has(each.name) ? 1 : evictionCost(each, now, mayDisturb, switchAfterMs) }))
		.sort((a, b) => a.cost - b.cost || a.each.usedAt - b.each.usedAt);
	const all = candidates.map(({ each }) => each.name);
	const most = replicasOnceGone(name, draft, capacity, all);
	if (most === 0) {
		draft.misfits.add(name);
		return;
	}
	const isEnough = (gone: readonly string[]) =>
		most === ALL
			? capacity.fits(name, without(awake, gone), without(others, gone))
			: replicasOnceGone(name, draft, capacity, gone) >= most;
	if (most !== ALL) draft.partial.add(name);
	const victims = isEnough([])
		? []
		: fewestVictims(
				candidates.filter(({ cost }) => cost <= BUSY).map(({ each }) => each),
				isEnough,
			);
	if (!victims) return;
	if (victims.some(({ running }) => running > 0)) {
		for (const victim of victims) if (awake.has(victim.name)) draft.closed.add(victim.name);
		return;
	}
	asleep.delete(name);
	for (const victim of victims) {
		draft.evicted.push(victim.name);
		const maySleep = awake.delete(victim.name) && capacity.canSleep(victim.name, asleep);
		asleep.delete(victim.name);
		if (maySleep && most === ALL && capacity.fits(name, awake, new Set([...others, victim.name])))
			asleep.add(victim.name);
	}
	awake.add(name);
}

/** More replicas than any model has. */
const ALL = Number.POSITIVE_INFINITY;

/** How many replicas of `name` fit once these models are gone. */
function replicasOnceGone(
	name: string,
	{ awake, asleep }: Residents,
	capacity: Capacity,
	gone: readonly string[],
): number {
	const rest = [name, without(awake, gone), without(asleep, [name, ...gone])] as const;
	return capacity.fits(...rest) ? ALL : (capacity.replicasThatFit?.(...rest) ?? 0);
}

/** Costs of an eviction; a sleeping model costs 1. Above BUSY a model can't be evicted now. */
const IDLE = 0;
const BUSY = 2;
const NOT_NOW = 3;

/** What the eviction of a resident costs: IDLE, BUSY or NOT_NOW. */
function evictionCost(model: ModelDemand, now: number, mayDisturb: boolean, switchAfterMs: number): number {
	// A load is finished even where the clients that caused it have left.
	if (model.state === "starting" || model.state === "pulling") return NOT_NOW;
	const isIdle = model.running === 0 && model.waiting === 0;
	const lastUse = Math.max(model.usedAt, model.readyAt ?? Number.NEGATIVE_INFINITY);
	if (isIdle && (now - lastUse >= idleBeforeEviction(model) || model.state !== "ready")) return IDLE;
	// It stays at least as long as its load took: else two models would spend their time loading.
	const minimumStay = Math.max(switchAfterMs, model.loadMs ?? 0);
	return mayDisturb && now - (model.readyAt ?? now) >= minimumStay ? BUSY : NOT_NOW;
}

/** The first candidates that are enough, without those that are not needed; undefined where all are too few. */
function fewestVictims(
	candidates: readonly ModelDemand[],
	isEnough: (gone: readonly string[]) => boolean,
): ModelDemand[] | undefined {
	let victims: ModelDemand[] = [];
	const enough = (some: readonly ModelDemand[]) => isEnough(some.map(({ name }) => name));
	for (const candidate of candidates) {
		victims.push(candidate);
		if (!enough(victims)) continue;
		for (const each of [...victims].reverse()) {
			const fewer = victims.filter((victim) => victim !== each);
			if (fewer.length > 0 && enough(fewer)) victims = fewer;
		}
		return victims;
	}
	return undefined;
}

/** It holds its memory whether or not calls come. */
function isPinned({ load, order, goal }: ModelDemand): boolean {
	if (order !== undefined) return order === "load";
	return load === "always" || (load === "on-demand" && goal?.goal === "keep");
}

function staysLoaded(model: ModelDemand, now: number): boolean {
	if (isPinned(model)) return true;
	const { goal } = model;
	if (model.order === "unload" || model.load !== "on-demand") return false;
	const isIdle = model.running === 0 && model.waiting === 0;
	if (!isIdle || model.state === "starting" || model.state === "pulling") return true;
	// After a failed load the next call begins another one.
	if (model.state === "failed" && !model.isThere) return false;
	if (goal?.goal === "load") return true;
	const lastUse = Math.max(model.usedAt, model.readyAt ?? Number.NEGATIVE_INFINITY);
	const ownTtl = model.ttl ?? Number.POSITIVE_INFINITY;
	const ttl = goal?.goal === "unload" ? Math.min(goal.idle_ms ?? 0, ownTtl) : ownTtl;
	return ttl === Number.POSITIVE_INFINITY || now - lastUse < ttl;
}

function needsMemory(model: ModelDemand, awake: ReadonlySet<string>, now: number): boolean {
	if (awake.has(model.name)) return false;
	if (isPinned(model)) return true;
	const mayLoad = model.load === "on-demand" && model.order !== "unload";
	const isWanted = model.waiting > 0 || model.goal?.goal === "load";
	return mayLoad && isWanted && (model.retryAt ?? 0) <= now;
}

function byUrgency(a: ModelDemand, b: ModelDemand): number {
	return Number(isPinned(b)) - Number(isPinned(a)) || waitsSince(a) - waitsSince(b);
}

/** What no call waits for, but its router, comes last. */
const waitsSince = ({ oldestAt, goal }: ModelDemand): number =>
	oldestAt ?? (goal?.goal === "load" ? Number.MAX_SAFE_INTEGER : 0);

function without(names: ReadonlySet<string>, gone: readonly string[]): Set<string> {
	return new Set([...names].filter((name) => !gone.includes(name)));
}
