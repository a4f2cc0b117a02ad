/** A database that is made by several threads at once: as by the main thread, its writer and workers, when a router has its first call. */
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { join } from "node:path";
import { directory } from "./kit/cli.ts";
import type { Opening } from "./kit/opening-thread.ts";

const THREADS = 3;

test("threads that open a file in the moment in which it is made all have it, and it can give free pages back", async () => {
	using home = directory();
	const threads = Array.from(
		{ length: THREADS },
		() => new Worker(new URL("./kit/opening-thread.ts", import.meta.url)),
	);
	const said = (thread: Worker) =>
		new Promise<unknown>((resolve) => thread.addEventListener("message", ({ data }) => resolve(data), { once: true }));
	await Promise.all(threads.map(said));
	const arrived = new Int32Array(new SharedArrayBuffer(4));
	for (let round = 1; round <= 60; round++) {
		const file = join(home.path, `${round}.db`);
		const answers = threads.map((thread) => {
			const answer = said(thread);
			thread.postMessage({ file, arrived, all: THREADS * round } satisfies Opening);
			return answer;
		});
		expect(await Promise.all(answers)).toEqual(Array(THREADS).fill("opened"));
		using made = new Database(file, { readonly: true });
		expect(made.query("PRAGMA auto_vacuum").get()).toEqual({ auto_vacuum: 2 });
	}
	for (const thread of threads) thread.terminate();
});
