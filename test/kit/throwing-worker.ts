/** Loaded by a worker thread of the router before its own code, see `ended-workers.ts`: when it is told so it ends by an error that nobody catches. */
import { threadId } from "node:worker_threads";

const channel = new BroadcastChannel("throwing-worker");
channel.onmessage = ({ data }) => {
	if (data !== threadId) return;
	// The router survives what no call has caught.
	process.removeAllListeners("uncaughtException");
	setTimeout(() => {
		throw new TypeError("of the test");
	});
};
// Does not keep the thread.
channel.unref();
