/** What is known of suspected calls as a text, for threads that share it: times in it are on the clock of all threads. Pure. */
import type { Death, SuspectedEngine, SuspectState, SuspectTurn, Suspicion } from "./suspect-step.ts";

/** A death that engines and calls name by its place in the list. */
type DeathRecord = Omit<Death, "suspects"> & { readonly suspects: readonly string[] };
type EngineRecord = Omit<SuspectedEngine, "death" | "target" | "trial"> & {
	readonly death: number | undefined;
	/** Of the turn. */
	readonly trial: string | undefined;
};
type CallRecord = Omit<Suspicion, "deaths" | "engines"> & {
	readonly deaths: readonly number[];
	readonly engines: readonly string[];
};

/** All of it. */
interface SuspectRecord {
	readonly deaths: readonly DeathRecord[];
	readonly engines: readonly (readonly [id: string, engine: EngineRecord])[];
	readonly calls: readonly (readonly [fingerprint: string, call: CallRecord])[];
	readonly turns: readonly SuspectTurn[];
}

/** @param offset how far the clock of all threads is ahead of the one that the state's times are on, ms */
export function writeSuspects({ engines, calls, turns }: SuspectState, offset: number): string {
	const places = new Map<Death, number>();
	const placeOf = (death: Death): number => {
		const known = places.get(death) ?? places.size;
		places.set(death, known);
		return known;
	};
	const record: Omit<SuspectRecord, "deaths"> = {
		engines: [...engines].map(([id, { death, trial, backAt, restartMs, reservedUntil }]) => [
			id,
			{
				death: death && placeOf(death),
				trial: trial?.id,
				backAt: backAt === undefined ? undefined : backAt + offset,
				restartMs,
				reservedUntil: reservedUntil + offset,
			},
		]),
		calls: [...calls].map(([fingerprint, call]) => [
			fingerprint,
			{
				...call,
				at: call.at + offset,
				deaths: [...call.deaths].map(placeOf),
				engines: [...call.engines],
				refusedUntil: call.refusedUntil === undefined ? undefined : call.refusedUntil + offset,
			},
		]),
		turns: turns.map((turn) => ({ ...turn, cameAt: turn.cameAt + offset })),
	};
	const deaths = [...places.keys()].map((death) => ({
		...{ at: death.at + offset, lastAt: death.lastAt + offset },
		...{ suspects: [...death.suspects], isExplained: death.isExplained },
	}));
	return JSON.stringify({ ...record, deaths } satisfies SuspectRecord);
}

/**
 * Makes a state what the text says. Turns of the state that are there, too, stay the same objects, as do the targets by which this thread has
 * reached an engine.
 * @param offset see {@link writeSuspects}
 */
export function readSuspects(text: string, { engines, calls, turns }: SuspectState, offset: number): void {
	const record = JSON.parse(text) as SuspectRecord;
	const deaths = record.deaths.map(
		({ at, lastAt, suspects, isExplained }): Death => ({
			...{ at: at - offset, lastAt: lastAt - offset },
			...{ suspects: new Set(suspects), isExplained },
		}),
	);
	const known = new Map(turns.map((turn) => [turn.id, turn]));
	turns.length = 0;
	for (const { engine, ...turn } of record.turns) {
		// A member that is undefined is no part of the text.
		const now = { ...turn, engine, cameAt: turn.cameAt - offset };
		turns.push(Object.assign(known.get(turn.id) ?? now, now));
	}
	const byId = new Map(turns.map((turn) => [turn.id, turn]));
	const targets = new Map([...engines].map(([id, { target }]) => [id, target]));
	engines.clear();
	for (const [id, { death, trial, backAt, restartMs, reservedUntil }] of record.engines) {
		engines.set(id, {
			death: death === undefined ? undefined : deaths[death],
			target: targets.get(id),
			trial: trial === undefined ? undefined : byId.get(trial),
			backAt: backAt === undefined ? undefined : backAt - offset,
			restartMs,
			reservedUntil: reservedUntil - offset,
		});
	}
	calls.clear();
	for (const [fingerprint, call] of record.calls) {
		calls.set(fingerprint, {
			...call,
			at: call.at - offset,
			deaths: new Set(call.deaths.map((place) => deaths[place]!)),
			engines: new Set(call.engines),
			refusedUntil: call.refusedUntil === undefined ? undefined : call.refusedUntil - offset,
		});
	}
}
