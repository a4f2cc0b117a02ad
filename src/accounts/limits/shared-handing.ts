/** Counters in memory that threads share, for another process: these have no ids, but the hashes of some. */
import { hashesOf } from "../../memory/block-name.ts";
import { BLOCK_NUMBERS, type SharedBlocks } from "../../memory/shared-blocks.ts";
import type { HandedCount } from "./handed-counts.ts";
import type { LimitUnit } from "./limiter.ts";
import { KINDS, sharedCounter } from "./shared-counters.ts";
import { WINDOW_LENGTH } from "./shared-window.ts";

/** What an id's counter is called where ids are hashed by such seeds. */
export const countHash = (seeds: readonly number[], unit: LimitUnit, id: string): string =>
	hashesOf(seeds, KINDS[unit], id).join(".");

/** All that is counted, for another process. Of each counter its window is as long as it was said to be. */
export function handedCounts(blocks: SharedBlocks): HandedCount[] {
	const units = new Map(Object.entries(KINDS).map(([unit, kind]) => [kind, unit as LimitUnit]));
	const counts: HandedCount[] = [];
	blocks.forEach((block, kind) => {
		const unit = units.get(kind);
		if (!unit) return;
		const counter = sharedCounter(blocks, unit, blocks.nameAt(block));
		counter.find();
		const windowMs = blocks.numbers[block * BLOCK_NUMBERS + WINDOW_LENGTH]!;
		counts.push({ unit, id: "", hash: counter.hash, windowMs, state: counter.state });
	});
	return counts;
}
