/**
 * The worker threads, as the main thread has them: started one after the other, replaced where one ends, stopped together. To whoever stops
 * the server they are one server.
 */
import type { AnyElysia } from "elysia";
import type { ClaimMessage } from "../../cache/thread-store.ts";
import type { Config } from "../../config/schema.ts";
import { StartError } from "../../errors.ts";
import type { Stoppable } from "../../http/lifecycle.ts";
import type { Listening } from "../../http/listen.ts";
import type { TlsPair } from "../../http/tls.ts";
import { MergedMetrics } from "../../telemetry/merged-metrics.ts";
import { ForwardedRequests } from "./forwarding.ts";
import type { Asking, ToWorker } from "./link.ts";
import type { FreeThread } from "./shared-memory.ts";
import { eventMemory, WorkerEvents } from "./worker-events.ts";
import { type WorkerReports, WorkerThread } from "./worker-handle.ts";
import type { WorkerPort } from "./worker-port.ts";
import { WorkerRestarts } from "./worker-restarts.ts";
import type { WorkerThreadsOptions } from "./worker-threads-options.ts";

/** How long all workers are waited for that have been asked something, ms: one may be busy, and must not hold up an answer for longer. */
const ASK_MS = 2_000;
/** How long workers may take to end after their calls were cut, ms. */
const CUT_MS = 6_000;
/** How long threads that are terminated may take for that, ms. */
const END_MS = 1_000;
/** How often it is seen to that the rows that came are on the disk, ms. */
const READ_MS = 500;
/** Requests before whose answer all that is known of calls is wanted: lists of calls, and sums, which keys show, too. */
const READS_CALLS = /^\/admin\/(?:calls|usage|shadow|keys|runaways)(?:\/|$)/;

/** All of them. */
export class WorkerThreads implements Stoppable {
	readonly #workers = new Map<number, WorkerThread>();
	/** What their calls have come to. */
	readonly #events = new Map<WorkerThread, WorkerEvents>();
	#reading: ReturnType<typeof setInterval> | undefined;
	/** Rows have come since the ledger was saved. */
	#isUnsaved = false;
	readonly #free: FreeThread[] = [];
	/** They have not answered in time, and are not waited for until they do. */
	readonly #late = new Set<WorkerThread>();
	readonly #metrics = new MergedMetrics();
	readonly #restarts = new WorkerRestarts();
	/** How many were started. */
	#count = 0;
	#forwarded: ForwardedRequests | undefined;
	#port: WorkerPort | undefined;
	#isDraining = false;
	/** Another process has the port: a worker that listened there would take its connections. */
	#isReplaced = false;
	#isStopping = false;
	/** What changes of keys are waited for. */
	#telling: Promise<void> = Promise.resolve();

	constructor(private readonly options: WorkerThreadsOptions) {}

	/** Called with the number of each worker that has ended, before another one takes its place. */
	onEnded(free: FreeThread): void {
		this.#free.push(free);
	}

	/**
	 * Starts them.
	 * @param app of the main thread: answers what is no call
	 * @param opened where clients connect to
	 * @throws {StartError} where they can't listen; none runs then
	 */
	async listen(app: AnyElysia, opened: WorkerPort): Promise<Listening> {
		this.#forwarded = new ForwardedRequests(app);
		const { count } = this.options;
		this.#port = opened;
		try {
			for (let thread = 1; thread <= count; thread++) await this.#start(thread);
		} catch (error) {
			this.terminate();
			throw error;
		}
		this.#reading = setInterval(() => this.#saveEvents(), READ_MS);
		const { url, port } = opened.at;
		return { url, port, stop: (isCut) => this.stop(isCut) };
	}

	/** How many take calls. */
	get running(): number {
		return [...this.#workers.values()].filter(({ isRunning }) => isRunning).length;
	}

	/** What workers have counted, as they last said. */
	readonly counted = () => this.#metrics.counted;

	/** The page of all threads. */
	async metricsText(): Promise<string> {
		await this.#askAll({ type: "flush" });
		return this.#metrics.text(await this.options.metrics.values());
	}

	/** What all workers are to know: keys that have changed, or whose files there are. No answer to an administrator is given before they do. */
	tell(message: Extract<Asking<ToWorker>, { readonly type: "keys" | "objects" | "agents" }>): void {
		// What it resolves with holds nothing of what was told before: workers are told something each second, for as long as the process runs.
		this.#telling = Promise.all([this.#telling, this.#askAll(message)]).then(() => {});
	}

	/** What has changed of agents. No answer to an agent is given before all workers know. */
	tellAgents(): void {
		const news = this.options.agentNews();
		this.tell({ type: "agents", news });
	}

	/** Tells a worker, if it runs, that a call is over. */
	post(thread: number, message: ClaimMessage): void {
		this.#workers.get(thread)?.send({ type: "claim", message });
	}

	/**
	 * Another configuration is in force. A worker that can't take it is replaced by one that starts with it; where another process has the port
	 * it ends with its calls, which go on as before.
	 */
	async changeConfig(config: Config): Promise<void> {
		const asked = [...this.#workers.values()].map(async (worker) => {
			const problem = await worker.ask({ type: "config", config });
			if (problem === undefined || problem === "") return;
			this.options.log.logger.error({ worker: worker.thread, problem }, "A worker can't take the configuration.");
			if (!this.#isReplaced) worker.terminate();
		});
		await Promise.all(asked);
	}

	/**
	 * Another certificate is to be shown. One worker after the other takes it, also those that begin meanwhile: what the first can't show the
	 * others needn't try. @throws {StartError} as `BoundServer.useCertificate` does
	 */
	async changeCertificate(pair: TlsPair): Promise<void> {
		for (const worker of this.#workers.values()) {
			const problem = await Promise.race([worker.ask({ type: "certificate", pair }), Bun.sleep(ASK_MS)]);
			if (problem) throw new StartError(problem);
		}
	}

	/** They say to their clients that the process no longer wants calls. @param isReplaced another process has the port: no worker is started any more */
	drain(isReplaced: boolean): void {
		this.#isDraining = true;
		this.#isReplaced = isReplaced;
		if (isReplaced) this.#restarts.clear();
		for (const worker of this.#workers.values()) worker.send({ type: "drain" });
	}

	/** Resolves when the last call is over, and all that they had is here. */
	async stop(isCut = false): Promise<void> {
		this.#isStopping = true;
		this.options.tunnels.exchangeOf(0).drained();
		this.#restarts.clear();
		const taken = this.#port?.stop();
		if (!isCut) await taken;
		const running = [...this.#workers.values()];
		for (const worker of running) worker.send({ type: isCut ? "cut" : "stop" });
		const stops = Promise.all(running.map(({ stopped }) => stopped));
		await (isCut ? within(CUT_MS, stops) : stops);
		if (!isCut) await this.#port?.drained();
		this.terminate();
		// Of those that had not stopped by then their calls are known at their end.
		await within(END_MS, Promise.all(running.map(({ ended }) => ended)));
	}

	/** Ends them at once, with their calls. */
	terminate(): void {
		this.#isStopping = true;
		clearInterval(this.#reading);
		this.#port?.cut();
		this.#restarts.clear();
		for (const worker of this.#workers.values()) worker.terminate();
		this.#workers.clear();
	}

	/** Resolves once the worker listens. */
	async #start(thread: number): Promise<void> {
		const place = this.#port!.place();
		const events = eventMemory();
		const epoch = this.#count++;
		const start = { ...this.options.start(thread), thread, epoch, ...place, memory: this.options.memory, events };
		const workerEvents = new WorkerEvents(events, this.options);
		const worker = new WorkerThread(start, this.#reports(thread, workerEvents));
		this.#workers.set(thread, worker);
		this.#events.set(worker, workerEvents);
		this.options.tunnels.addThread(thread, worker.tunnels);
		if (this.#isDraining) worker.send({ type: "drain" });
		const listening = await worker.listening;
		if ("problem" in listening) {
			this.#workers.delete(thread);
			this.#events.delete(worker);
			this.#freeAll(thread);
			if (listening.isStart) throw new StartError(listening.problem);
			throw new Error(`worker ${thread} can't start: ${listening.problem}`);
		}
		this.#port!.took(worker, place, listening);
		const startedAt = performance.now();
		void worker.ended.then((why) => this.#replace(worker, why, performance.now() - startedAt));
		// It was about to listen when another process got the port.
		if (this.#isReplaced && !this.#isStopping) worker.send({ type: "stop" });
	}

	#reports(thread: number, events: WorkerEvents): WorkerReports {
		const { log } = this.options;
		return {
			lines(lines) {
				log.take(lines);
				events.tookLines(lines);
			},
			metrics: (values, position) => {
				this.#metrics.take(thread, values);
				events.tookMetrics(position);
			},
			rows: (rows) => {
				events.tookRows(rows);
				this.#isUnsaved ||= rows.rows > 0;
			},
			events: () => void events.read(),
			hung: () => this.options.metrics.workerHung(),
			kept: () =>
				log.logger.error(
					{ worker: thread },
					"A worker hangs and can't be ended: the system keeps its thread, perhaps for a disk. Its connections hang until then, and further ones; another one then takes its place.",
				),
			agentFailed: (agent, failure) => {
				this.options.agentFailed(agent, failure);
				this.tellAgents();
			},
			wake: (agent) => {
				this.options.wake(agent);
				this.tellAgents();
			},
			served: (names) => {
				this.options.served(names);
				this.tellAgents();
			},
			responses: this.options.responses,
			objects: (rows) => {
				this.options.tookObjects(rows);
				return this.#askAll({ type: "objects", rows });
			},
			redis: (message) => this.options.redis(thread, message),
			claim: (to, message) => this.post(to, message),
			limits: this.options.limits,
			live: this.options.live,
			tunnels: this.options.tunnels.exchangeOf(thread),
			forward: async (request, client) => {
				const { pathname } = new URL(request.url);
				if (READS_CALLS.test(pathname)) await this.#askAll({ type: "rows" });
				const answer = await this.#forwarded!.answer(request, client);
				if (request.method === "POST") this.tellAgents();
				await this.#telling;
				return answer;
			},
		};
	}

	/** Makes room for records of calls, and has the rows that came survive a loss of power. */
	#saveEvents(): void {
		for (const events of this.#events.values()) events.read();
		if (!this.#isUnsaved) return;
		this.#isUnsaved = false;
		void this.options.ledger.save();
	}

	/** A worker that ran has ended. */
	#replace(worker: WorkerThread, why: string, ranMs: number): void {
		const { thread } = worker;
		if (this.#workers.get(thread) === worker) this.#workers.delete(thread);
		this.#port!.left(worker);
		this.#metrics.end(thread);
		// Before what they held is given back, so that what they have spent is never less than known.
		this.#events.get(worker)?.end();
		this.#events.delete(worker);
		this.#freeAll(thread);
		if (this.#isStopping) return;
		this.#restarts.ended(thread, ranMs);
		this.options.metrics.workerEnded();
		const next = this.#isReplaced
			? "Another process has the port, so none takes its place."
			: "Another one takes its place.";
		this.options.log.logger.error({ worker: thread, why }, `A worker has ended, with its calls. ${next}`);
		if (!this.#isReplaced) this.#restarts.later(thread, () => void this.#startAgain(thread));
	}

	#freeAll(thread: number): void {
		this.options.tunnels.endThread(thread);
		for (const free of this.#free) free(thread);
	}

	async #startAgain(thread: number): Promise<void> {
		const { logger } = this.options.log;
		try {
			await this.#start(thread);
			logger.info({ worker: thread }, "A worker has taken the place of one that had ended.");
		} catch (err) {
			if (this.#isStopping || this.#isReplaced) return;
			logger.error({ worker: thread, err }, "A worker can't start; it is tried again.");
			this.#restarts.later(thread, () => void this.#startAgain(thread));
		}
	}

	/** Resolves when all have done it, or ended; after a while in any case. One that hangs takes one such while, not one a question. */
	async #askAll(message: Asking<ToWorker>): Promise<void> {
		const waiting = new Set<WorkerThread>();
		const asked = [...this.#workers.values()].map(async (worker) => {
			const answered = worker.ask(message).then(() => {
				waiting.delete(worker);
				this.#late.delete(worker);
			});
			if (this.#late.has(worker)) return;
			waiting.add(worker);
			await answered;
		});
		await within(ASK_MS, Promise.all(asked));
		for (const worker of waiting) this.#late.add(worker);
	}
}

/** Resolves when the work is done, after so many ms at the latest. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
	const { promise: late, resolve } = Promise.withResolvers<void>();
	const timer = setTimeout(resolve, ms);
	await Promise.race([work, late]);
	clearTimeout(timer);
}
