/** What the GPUs of each replica draw. Pure. */
import type { Gpu } from "./gpu.ts";

/** A replica that has a container. */
export interface PoweredReplica {
	readonly key: string;
	/** Their indexes. */
	readonly gpus: readonly number[];
	/** It works on calls. */
	readonly isBusy: boolean;
}

/**
 * By replica, W: the sum over its GPUs. What a GPU draws that several replicas are on, those of them share equally that work on calls; all of them
 * where none does. A replica of whose GPUs no driver reports the power is left out.
 */
export function replicaPowers(
	replicas: readonly PoweredReplica[],
	gpus: readonly Pick<Gpu, "index" | "power">[],
): Map<string, number> {
	const powers = new Map<string, number>();
	for (const { index, power } of gpus) {
		if (power <= 0) continue;
		const here = replicas.filter((replica) => replica.gpus.includes(index));
		const busy = here.filter(({ isBusy }) => isBusy);
		const drawing = busy.length > 0 ? busy : here;
		for (const { key } of drawing) powers.set(key, (powers.get(key) ?? 0) + power / drawing.length);
		for (const { key } of here) if (!powers.has(key)) powers.set(key, 0);
	}
	return powers;
}
