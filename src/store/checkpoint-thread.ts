/** The thread in which checkpoints are made: `checkpoints.ts` starts it, and sends it the name of a database. */
import { makeCheckpoint } from "./open-database.ts";

declare const self: Worker;

self.onmessage = ({ data: file }: MessageEvent<string>) => {
	makeCheckpoint(file);
	self.postMessage("done");
};
