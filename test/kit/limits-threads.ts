/** Workers that take of the same limits at once: `limits-thread.ts` is what they run. */
import { join } from "node:path";
import { makeLimits, sharedLimits } from "../../src/accounts/limits/shared-limiter.ts";
import { makeBudgets, SharedBudgets } from "../../src/proxy/shared-budgets.ts";
import type { SharedTest, ThreadJob } from "./limits-thread.ts";

/** Memory of a test, and the main thread's view of it. */
export function sharedTest(threads: number) {
	const shared: SharedTest = {
		limits: makeLimits(),
		budgets: makeBudgets(),
		cells: new SharedArrayBuffer(64),
		threads,
	};
	const ledger = { spent: () => 0, spenders: () => [] };
	const view = sharedLimits({ memory: shared.limits, thread: 0, offset: 0, ledger });
	return { shared, cells: new Int32Array(shared.cells), ...view, budgets: new SharedBudgets(shared.budgets, 0, 0) };
}

/** A worker that has begun. */
export interface LimitsThread {
	/** What its job has answered. */
	readonly answer: Promise<readonly number[]>;
	/** Ends it, whatever it does. */
	end(): Promise<void>;
}

/** Starts one. Threads are numbered from 1. */
export function startThread(
	shared: SharedTest,
	job: Pick<ThreadJob, "thread" | "what" | "rounds" | "max">,
): LimitsThread {
	const worker = new Worker(join(import.meta.dir, "limits-thread.ts"));
	const answer = Promise.withResolvers<readonly number[]>();
	const closed = Promise.withResolvers<void>();
	worker.onmessage = ({ data }) => answer.resolve(data);
	worker.onerror = ({ message }) => answer.reject(new Error(message));
	worker.addEventListener("close", () => closed.resolve());
	worker.postMessage({ ...shared, ...job } satisfies ThreadJob);
	return {
		answer: answer.promise,
		async end() {
			worker.terminate();
			await closed.promise;
		},
	};
}

/** Has as many threads as the test says do the same, and adds up what they answer. */
export async function runThreads(
	shared: SharedTest,
	job: Pick<ThreadJob, "what" | "rounds" | "max">,
): Promise<readonly number[]> {
	const threads = Array.from({ length: shared.threads }, (_, at) => startThread(shared, { ...job, thread: at + 1 }));
	try {
		const answers = await Promise.all(threads.map(({ answer }) => answer));
		return answers[0]!.map((_, at) => answers.reduce((sum, each) => sum + each[at]!, 0));
	} finally {
		await Promise.all(threads.map((thread) => thread.end()));
	}
}
