/** A thread that opens databases in the moment in which others do. */
import { openDatabase } from "../../src/store/open-database.ts";

/** What it is told. */
export interface Opening {
	readonly file: string;
	/** How many threads are there, counted by all of them. */
	readonly arrived: Int32Array<SharedArrayBuffer>;
	/** It opens once so many are. */
	readonly all: number;
}

declare const self: Worker;

self.onmessage = ({ data: { file, arrived, all } }: MessageEvent<Opening>) => {
	Atomics.add(arrived, 0, 1);
	while (Atomics.load(arrived, 0) < all);
	try {
		openDatabase(file).close();
		self.postMessage("opened");
	} catch (error) {
		self.postMessage(String(error));
	}
};
self.postMessage("ready");
