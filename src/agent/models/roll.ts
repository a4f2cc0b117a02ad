/**
 * A rolling change: a new image, arguments or version of a model beside the one that serves. `(what was, what is seen) → what is to be`, pure.
 * The phases, and why, are in design.md (src/agent).
 */
import { type Problem, problemOf, problemText } from "../problem.ts";
import type { CanaryResult } from "./canary-analysis.ts";
import type { ModelSpec } from "./model-spec.ts";

/** What containers are made from. Two of one hash may differ in the image, where that is the pinned one. */
export interface Generation {
	readonly hash: string;
	readonly image: string;
	readonly spec: ModelSpec;
}

/** A roll under way. */
export interface Roll {
	readonly to: Generation;
	/** Numbers of its replicas so far. */
	readonly replicas: readonly number[];
	/** `starting`: its first replica is not ready yet. `canary`: that one gets a share of calls, and is compared with the old ones. `replacing`: it was good. */
	readonly phase: "starting" | "canary" | "replacing";
	/** Of calls, that the canary gets; 0: there is none. */
	readonly share: number;
	/** Unix time, ms. */
	readonly startedAt: number;
	/** How often its replicas have failed. */
	readonly failures: number;
	/** There is no room for a replica more: each new one takes the place of an old one. */
	readonly isInPlace?: boolean;
	/** Why it was promoted. */
	readonly reason?: string;
}

/** How a roll ended. */
export interface RollEnd {
	readonly result: "promoted" | "taken back";
	readonly hash: string;
	readonly image: string;
	/** One clause, and where its containers failed what to do about that. */
	readonly reason: string;
	/** Unix time, ms. */
	readonly at: number;
}

/** The generations of one model. Each replica has a number that no other one has, whatever its generation. */
export interface ModelGenerations {
	/** That which serves, and is started where one of its replicas is missing. */
	readonly current: Generation;
	readonly replicas: readonly number[];
	/** Replicas that finish their calls and go. */
	readonly leaving: readonly number[];
	readonly roll?: Roll;
	readonly last?: RollEnd;
	/** An image that an order named, and the configuration's of that time: it counts until that is another one. */
	readonly ordered?: { readonly image: string; readonly over: string | undefined };
}

/** Whether a replica that is to come finds its memory: a problem where it never will. */
export type Room = "yes" | "no" | "unknown" | Problem;

/** What is seen of a model. */
export interface RollInputs {
	/** What its configuration, or an order, asks for. */
	readonly wanted: Generation;
	/** How many replicas it is to have. */
	readonly count: number;
	readonly share: number;
	/** An API call asks for a roll: also where nothing but the image differs, or nothing. */
	readonly isOrdered: boolean;
	/** It is to be up. */
	readonly isUp: boolean;
	/** Unix time, ms. */
	readonly now: number;
	readonly isReady: (replica: number) => boolean;
	/** It has a container, or an effect is in flight for it. */
	readonly isThere: (replica: number) => boolean;
	/** For the newest replica of the roll, which has no container yet. */
	readonly room: Room;
	/** The new image is here. */
	readonly isPulled: boolean;
	/** Why replicas of the roll fail. */
	readonly problem?: Problem | undefined;
	/** The log of one that failed is being read: `problem` says no more than that it ended. */
	readonly isReadingLog?: boolean | undefined;
	readonly analysis: () => CanaryResult;
}

/** So many failures of its replicas, to start or while they are compared, take a roll back: one may be an accident. */
const MOST_FAILURES = 2;

/** The generations from now on. The same object where nothing changes. */
export function nextGenerations(before: ModelGenerations, inputs: RollInputs): ModelGenerations {
	const model = withoutGone(before, inputs);
	// The placer was asked while what is gone still held its memory.
	const seen: RollInputs = model === before ? inputs : { ...inputs, room: "unknown" };
	return model.roll ? rolling(model, model.roll, seen) : resting(resized(model, seen.count), seen);
}

/** The first generation of a model: numbers of containers that run already are kept. */
export function firstGenerations(
	wanted: Generation,
	count: number,
	running: readonly { readonly replica: number; readonly image: string }[],
): ModelGenerations {
	const image = running[0]?.image ?? wanted.image;
	const replicas = [...new Set(running.map(({ replica }) => replica))].sort((a, b) => a - b).slice(0, count);
	return resized({ current: { ...wanted, image }, replicas, leaving: [] }, count);
}

function withoutGone(model: ModelGenerations, { isThere }: RollInputs): ModelGenerations {
	const leaving = model.leaving.filter(isThere);
	return leaving.length === model.leaving.length ? model : { ...model, leaving };
}

/** With as many replicas of the current generation as it is to have; those with the highest numbers go first. */
function resized(model: ModelGenerations, count: number): ModelGenerations {
	const { replicas } = model;
	if (replicas.length === count) return model;
	if (replicas.length > count) return retire(model, replicas.length - count);
	let grown = model;
	while (grown.replicas.length < count)
		grown = { ...grown, replicas: [...grown.replicas, freeNumber(grown)].sort((a, b) => a - b) };
	return grown;
}

function retire(model: ModelGenerations, count: number): ModelGenerations {
	const kept = model.replicas.slice(0, model.replicas.length - count);
	const gone = model.replicas.slice(kept.length);
	return { ...model, replicas: kept, leaving: [...model.leaving, ...gone] };
}

function freeNumber({ replicas, leaving, roll }: ModelGenerations): number {
	const taken = new Set([...replicas, ...leaving, ...(roll?.replicas ?? [])]);
	let number = 0;
	while (taken.has(number)) number++;
	return number;
}

/** No roll is under way. */
function resting(model: ModelGenerations, seen: RollInputs): ModelGenerations {
	const { wanted, isOrdered, isUp, share, now } = seen;
	const { current, last } = model;
	if (wanted.hash === current.hash && !isOrdered) return withPinnedImage(model, seen);
	// First: where it took the place of the only one, that one is not ready again yet.
	if (!isOrdered && last?.result === "taken back" && last.hash === wanted.hash) return model;
	const isServing = model.replicas.some(seen.isReady);
	// Nothing is there that a roll could spare; what the last one came to is no matter of this one.
	if (!isUp || !isServing) return started(model, wanted);
	return { ...model, roll: { to: wanted, replicas: [], phase: "starting", share, startedAt: now, failures: 0 } };
}

/** Its next start is of that. */
function started({ last: _, ...model }: ModelGenerations, wanted: Generation): ModelGenerations {
	return { ...model, current: wanted };
}

/** Another pinned image replaces nothing that runs: it is used once nothing does, unless it is what was taken back. */
function withPinnedImage(model: ModelGenerations, { wanted, isThere }: RollInputs): ModelGenerations {
	const { current, replicas, last } = model;
	if (wanted.image === current.image || replicas.some(isThere)) return model;
	const isTakenBack = last?.result === "taken back" && last.hash === wanted.hash && last.image === wanted.image;
	return isTakenBack ? model : started(model, wanted);
}

function rolling(model: ModelGenerations, roll: Roll, seen: RollInputs): ModelGenerations {
	const { wanted, isUp, isOrdered, now, share } = seen;
	if (!isUp) return unloaded(model, roll, seen);
	if (wanted.hash === model.current.hash && roll.to.hash !== wanted.hash)
		return takenBack(model, roll, "its configuration was changed back", seen);
	if (wanted.hash !== roll.to.hash || isOrdered) {
		const left = withoutRoll(model, roll, seen.count);
		return { ...left, roll: { to: wanted, replicas: [], phase: "starting", share, startedAt: now, failures: 0 } };
	}
	if (roll.phase === "replacing") return replacing(model, roll, seen);
	if (roll.failures >= MOST_FAILURES) {
		if (seen.isReadingLog) return model;
		const { problem } = seen;
		const why = problem && problemText(problemOf(wanted.spec.name, problem));
		return takenBack(model, roll, why ?? `its containers failed ${roll.failures} times`, seen);
	}
	if (roll.phase === "starting") return starting(model, roll, seen);
	const { decision, reason } = seen.analysis();
	if (decision === "take back") return takenBack(model, roll, reason, seen);
	return decision === "promote" ? replacing(model, { ...roll, phase: "replacing", reason }, seen) : model;
}

/** The next start is of the new generation, unless something speaks against that, or nothing is known of it. */
function unloaded(model: ModelGenerations, roll: Roll, seen: RollInputs): ModelGenerations {
	const { phase, failures, replicas } = roll;
	if (failures > 0 && phase !== "replacing")
		return takenBack(model, roll, "it was unloaded after its new container had failed", seen);
	// As where it had been changed a moment later.
	if (phase === "starting") return started(withoutRoll(model, roll, seen.count), roll.to);
	if (phase === "canary") {
		const { decision, reason } = seen.analysis();
		if (decision === "take back") return takenBack(model, roll, reason, seen);
	}
	return settled({ ...model, leaving: [...model.leaving, ...replicas] }, roll, "it was unloaded", seen);
}

function starting(model: ModelGenerations, roll: Roll, seen: RollInputs): ModelGenerations {
	const { room, isPulled, isReady, isThere } = seen;
	const [first] = roll.replicas;
	if (first === undefined) return { ...model, roll: { ...roll, replicas: [freeNumber(model)] } };
	if (isReady(first)) return { ...model, roll: { ...roll, phase: roll.share > 0 ? "canary" : "replacing" } };
	if (isThere(first)) return model;
	if (typeof room === "object") return takenBack(model, roll, room.reason, seen);
	const mayRetire = room === "no" && isPulled && !roll.isInPlace && model.leaving.length === 0;
	return mayRetire ? retire({ ...model, roll: { ...roll, isInPlace: true } }, 1) : model;
}

/** One at a time: another new one where there is room, else in the place of an old one; an old one goes as soon as enough others are ready. */
function replacing(model: ModelGenerations, roll: Roll, seen: RollInputs): ModelGenerations {
	const { count, isReady, isThere, room } = seen;
	const old = model.replicas.length;
	const made = roll.replicas.length;
	const ready = roll.replicas.filter(isReady).length;
	if (old === 0 && ready >= count) {
		const { replicas } = roll;
		return settled({ ...model, replicas }, roll, roll.reason ?? "its replicas are ready", seen);
	}
	const isIdle = model.leaving.length === 0;
	if (old > 0 && isIdle && old + ready > count) return retire({ ...model, roll }, 1);
	if (made < count && ready === made && old + made + model.leaving.length <= count) {
		return { ...model, roll: { ...roll, replicas: [...roll.replicas, freeNumber(model)] } };
	}
	const newest = roll.replicas.at(-1);
	const waits = newest !== undefined && !isReady(newest) && !isThere(newest);
	if (old > 0 && isIdle && waits && room === "no") return retire({ ...model, roll: { ...roll, isInPlace: true } }, 1);
	return model.roll === roll ? model : { ...model, roll };
}

/** The roll's generation is the current one. */
function settled(model: ModelGenerations, roll: Roll, reason: string, { now }: RollInputs): ModelGenerations {
	const { hash, image } = roll.to;
	const { roll: _, ...rest } = model;
	return { ...rest, current: roll.to, last: { result: "promoted", hash, image, reason, at: now } };
}

function takenBack(model: ModelGenerations, roll: Roll, reason: string, { now, count }: RollInputs): ModelGenerations {
	const { hash, image } = roll.to;
	const { ordered, ...rest } = withoutRoll(model, roll, count);
	// What an order asked for is done with; another image of the configuration's is tried again by another order alone.
	const kept = ordered && ordered.image !== roll.to.spec.image ? { ordered } : {};
	return { ...rest, ...kept, last: { result: "taken back", hash, image, reason, at: now } };
}

/** Its replicas finish their calls; old ones that had made room come back. */
function withoutRoll(model: ModelGenerations, roll: Roll, count: number): ModelGenerations {
	const { roll: _, ...rest } = model;
	return resized({ ...rest, leaving: [...model.leaving, ...roll.replicas] }, count);
}
