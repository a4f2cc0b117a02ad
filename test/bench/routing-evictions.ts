/**
 * What KV events save: replicas that evict, in simulated time, with a router that goes by characters alone and with one that is told what
 * the engines have. The same numbers on every machine.
 */
import { type EvictingSimulation, simulateEviction } from "../kit/evicting-replicas.ts";
import {
	conversations,
	EVICTING,
	evictedPrompts,
	sharedPrompts,
	unrelated,
	type Workload,
} from "./routing-workloads.ts";

/** One load with both. */
export interface EvictionRow {
	readonly load: string;
	/** Mean times to the first token, ms. */
	readonly characters: number;
	readonly events: number;
	/** The second in relation to the first. */
	readonly ratio: number;
	/** Of prompts' tokens, found in caches. */
	readonly hits: readonly [characters: number, events: number];
	readonly tokenized: number;
	readonly calls: number;
	/** Whether it is one of those that are to be shorter. */
	readonly isEvicting: boolean;
}

/** Promised of the loads whose prompts are evicted, in their mean, and of each other one; some per cent are chance. */
export const MOST_EVICTING_RATIO = 0.8;
export const MOST_OTHER_RATIO = 1.02;

/** All loads. @param seconds that each comes in */
export async function evictionRows(
	seconds: number,
	seeds: readonly number[] = [1, 2, 3, 4, 5],
): Promise<EvictionRow[]> {
	const rows: EvictionRow[] = [];
	const add = async (load: string, workload: Workload, isEvicting: boolean, more: Partial<EvictingSimulation> = {}) => {
		const both = (knows: EvictingSimulation["knows"]) =>
			simulateEviction({ chats: workload.chats, ...EVICTING, seed: 1, ...more, knows });
		const [characters, events] = [await both("characters"), await both("events")];
		const means = [mean(characters.times), mean(events.times)] as const;
		rows.push({
			...{ load, characters: means[0], events: means[1], ratio: means[1] / means[0], isEvicting },
			...{ hits: [characters.hitRate, events.hitRate], tokenized: events.tokenized, calls: events.times.length },
		});
	};
	for (const seed of seeds) {
		const workload = evictedPrompts(seconds, seed);
		await add(workload.name, workload, true, { seed });
	}
	const restarts = [0.2, 0.4, 0.6, 0.8].map((part) => part * seconds * 1_000);
	await add("the first of these, each replica started anew once", evictedPrompts(seconds, 1), false, { restarts });
	for (const workload of [sharedPrompts(seconds), conversations(seconds), unrelated(seconds)]) {
		await add(workload.name, workload, false, { kvTokens: 28_000 });
	}
	return rows;
}

/** The mean ratio of those that are to be shorter. */
export function evictingRatio(rows: readonly EvictionRow[]): number {
	return mean(rows.filter(({ isEvicting }) => isEvicting).map(({ ratio }) => ratio));
}

/** As text, with what was promised. */
export function evictionReport(rows: readonly EvictionRow[]): { readonly text: string; readonly isKept: boolean } {
	const lines = rows.map(({ load, characters, events, ratio, hits, tokenized, calls }) => {
		const share = hits.map((each) => `${(each * 100).toFixed(0)} %`).join(" and ");
		const times = `${characters.toFixed(0)} ms by characters, ${events.toFixed(0)} by KV events (× ${ratio.toFixed(2)})`;
		return `${load}: ${times}; cache hits ${share}; ${tokenized} of ${calls} prompts tokenized`;
	});
	const inMean = evictingRatio(rows);
	const worst = Math.max(...rows.filter(({ isEvicting }) => !isEvicting).map(({ ratio }) => ratio));
	const isKept = inMean <= MOST_EVICTING_RATIO && worst <= MOST_OTHER_RATIO;
	const promise = `evicted prompts × ${inMean.toFixed(3)} in the mean (limit ${MOST_EVICTING_RATIO}), others × ${worst.toFixed(2)} at worst (limit ${MOST_OTHER_RATIO})`;
	return { text: [...lines, `${isKept ? "ok" : "BROKEN"}: ${promise}`, ""].join("\n"), isKept };
}

const mean = (values: readonly number[]): number => values.reduce((sum, each) => sum + each, 0) / values.length;
