/** A worker thread: `worker-handle.ts` starts it. It answers calls as the router does, over what the main thread sends it first. */
import { surviveCrashes } from "../../crash.ts";
import { StartError } from "../../errors.ts";
import { beat } from "./heartbeat.ts";
import type { ToMain, ToWorker } from "./link.ts";
import { startWorker, type WorkerRouter } from "./worker-router.ts";

declare const self: Worker;

const send = (message: ToMain, transfer: ArrayBuffer[] = []) => self.postMessage(message, transfer);
let router: WorkerRouter | undefined;

surviveCrashes();
self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
	if (data.type !== "start") {
		router?.take(data);
		return;
	}
	beat(data.heartbeat);
	try {
		router = startWorker(data, send);
	} catch (error) {
		const isStart = error instanceof StartError;
		send({ type: "failed", message: isStart ? error.message : String(error), isStart });
	}
};
