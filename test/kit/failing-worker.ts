/**
 * Run as a program: starts itself as a worker thread, has that fail in two ways, and prints what it hears of it, a word a line. Not in the
 * tests' own process, where the runner ends a worker that fails.
 */
import { onCrash, surviveCrashes } from "../../src/crash.ts";

declare const self: Worker;

if (Bun.isMainThread) {
	const worker = new Worker(import.meta.path);
	const heard = (word: string) => {
		console.log(word);
		if (word === "exception") worker.postMessage("reject");
		else if (word === "rejection") worker.postMessage("are you there?");
		else process.exit();
	};
	worker.onmessage = ({ data }) => heard(data);
	worker.addEventListener("close", () => heard("its end"));
	worker.postMessage("throw");
} else {
	surviveCrashes();
	onCrash((kind) => self.postMessage(kind));
	self.onmessage = ({ data }: MessageEvent<string>) => {
		if (data === "throw") {
			setTimeout(() => {
				throw new TypeError("of the test");
			});
		} else if (data === "reject") void Promise.reject(new TypeError("of the test"));
		else self.postMessage("yes");
	};
}
