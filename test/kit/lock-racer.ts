/** A worker that takes the lock of one directory after another at the same moment as its siblings, and answers what became of each. */
import { join } from "node:path";
import { lockDirectory } from "../../src/store/directory-lock.ts";

declare const self: Worker;

/** What it is told. */
interface Race {
	/** One number, 0: how many have come to a barrier. */
	readonly barrier: SharedArrayBuffer;
	/** Workers. */
	readonly starts: number;
	readonly rounds: number;
	readonly directory: string;
}

self.onmessage = ({ data }: MessageEvent<Race>) => {
	const arrived = new Int32Array(data.barrier);
	let barriers = 0;
	const meet = () => {
		const all = ++barriers * data.starts;
		if (Atomics.add(arrived, 0, 1) + 1 === all) Atomics.notify(arrived, 0);
		for (let now = Atomics.load(arrived, 0); now < all; now = Atomics.load(arrived, 0)) Atomics.wait(arrived, 0, now);
	};
	const results = Array.from({ length: data.rounds }, (_, round) => {
		meet();
		let release = () => {};
		let result = "held";
		try {
			({ release } = lockDirectory(join(data.directory, String(round)), "router"));
		} catch (error) {
			result = (error as Error).message;
		}
		// The holder holds it until all have tried.
		meet();
		release();
		return result;
	});
	self.postMessage(results);
};
