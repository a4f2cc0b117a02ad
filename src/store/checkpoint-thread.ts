/** The thread in which checkpoints are made: `checkpoints.ts` starts it, and sends it requests, which it gives back when it has done what they ask for. */
import type { CheckpointRequest } from "./checkpoints.ts";
import { emptyLog, makeCheckpoint } from "./open-database.ts";

declare const self: Worker;

self.onmessage = ({ data }: MessageEvent<CheckpointRequest>) => {
	makeCheckpoint(data.file);
	if (data.isLast) emptyLog(data.file);
	self.postMessage(data);
};
