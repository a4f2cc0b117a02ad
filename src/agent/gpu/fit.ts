/** Whether a model can ever run here, asked before anything is pulled or downloaded. Pure. */

import type { Diagnosis } from "../vllm/vllm-log.ts";
import { placeReplica } from "./allocations.ts";
import type { Gpu } from "./gpu.ts";
import { GIB, gib, type PlacementRequest } from "./memory.ts";
import type { ModelInfo } from "./model-size.ts";

/** What a model may have of this machine. */
export interface HostLimits {
	readonly gpus: readonly Gpu[];
	/** Free bytes where the model cache lies; absent where not known. */
	readonly freeDisk?: number;
	readonly cacheDir: string;
}

/** Kept free on the disk: a full one stops more than the download. */
const DISK_RESERVE = GIB;

/**
 * Why it can't, with the arithmetic; undefined where it can, or where nothing is known that speaks against it. Whether it
 * fits beside the others right now is `place`'s to say.
 */
export function misfitOf(want: PlacementRequest, info: ModelInfo, host: HostLimits): Diagnosis | undefined {
	if (info.refused) return info.refused;
	const { size } = info;
	if (size && host.freeDisk !== undefined && size.download > 0 && size.download + DISK_RESERVE > host.freeDisk) {
		return {
			reason: `${want.spec.name} downloads ${gib(size.download)} GiB into ${host.cacheDir}, and ${gib(host.freeDisk)} GiB are free there`,
			fix: "free space on that disk, or set `agent.cache_dir` to a larger one",
		};
	}
	const empty = host.gpus.map((gpu) => ({ ...gpu, memory_used: 0 }));
	const result = placeReplica({ ...want, ...(size && { size }) }, empty, []);
	if ("placement" in result) return undefined;
	return { reason: result.message, fix: result.fix };
}
