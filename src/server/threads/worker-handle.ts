/** One worker thread, as the main thread has it. */
import type { LimitsOwner } from "../../accounts/limits/handed-limits.ts";
import type { MadeRows } from "../../accounts/usage/row-maker.ts";
import type { ResponseStore } from "../../api/response-writer.ts";
import type { ClaimMessage } from "../../cache/thread-store.ts";
import { CLOCK_BYTES, ClockSource } from "../../memory/shared-clock.ts";
import type { SharedRow } from "../../store/shared-table.ts";
import type { TunnelExchange, TunnelPort } from "../agents/tunnels.ts";
import type { LiveListener } from "../console/live-feed.ts";
import type { WorkerMessage } from "../redis-workers.ts";
import { HANG_MS, HEARTBEAT_BYTES, START_HANG_MS, watchHeartbeat } from "./heartbeat.ts";
import type { Asking, ForwardedAnswer, ForwardedRequest, ToMain, ToWorker, WorkerStart } from "./link.ts";
import { Questions, type TunnelMessage, tunnelMessage } from "./link.ts";
import { answerResponse, changeResponse } from "./remote-responses.ts";
import { takeTunnel } from "./remote-tunnels.ts";

/** A compiled executable's workers begin where it does, see `main.ts`. */
const THREAD = Bun.isStandaloneExecutable ? Bun.main : new URL("./worker-thread.ts", import.meta.url);

/** Of how much of the log's lines a worker is told at a time, in UTF-16 units: of far less than may be on its way (`remote-log.ts`). */
const TOLD_LENGTH = 256 * 1024;

/** At which look, one each second, a worker that hangs is said to be kept by the system. */
const KEPT_LOOKS = 5;

/** Where what it sends goes. */
export interface WorkerReports {
	lines(lines: string): void;
	/** It hangs, and is being ended. */
	hung(): void;
	/** It hangs, and is not over soon after it was ended. */
	kept(): void;
	/** @param position of the records of calls that are not in it, see `worker-events.ts` */
	metrics(values: string, position: number): void;
	/** Rows of the ledger. */
	rows(rows: MadeRows): void;
	/** There are many records of calls. */
	events(): void;
	agentFailed(agent: string, failure: "auth" | "transport"): void;
	/** A call waits for an agent whose host sleeps. */
	wake(agent: string): void;
	served(names: readonly string[]): void;
	/** Resolves when all threads know of these files and batches. */
	objects(rows: readonly SharedRow[]): Promise<void>;
	/** Stored responses. */
	readonly responses: ResponseStore;
	/** @param client aborts when its client leaves */
	forward(request: ForwardedRequest, client: AbortSignal): Promise<ForwardedAnswer>;
	/** The process that counts limits instead of this one. */
	readonly limits: LimitsOwner;
	/** What its connection to Redis tells, and what other routers are to know. */
	redis(message: WorkerMessage): void;
	/** What the worker says of tunnels. */
	readonly tunnels: TunnelExchange;
	/** A call is over that another worker waits for. */
	claim(to: number, message: ClaimMessage): void;
	/** Tells the console's figures from now on. Returns how to end that. */
	live(listener: LiveListener): () => void;
}

/** Where it listens; or why it does not. `isStart`: the sentence is for people. */
type Start = { readonly url: string; readonly port: number } | { readonly problem: string; readonly isStart: boolean };

/** The worker. It is not terminated before it listens or has said why it can't, since a thread that loads may not take it; unless it hangs. */
export class WorkerThread {
	readonly thread: number;
	/** Resolves when it listens, or can't. */
	readonly listening: Promise<Start>;
	/** Resolves once all that it had to send is here, or it has ended. */
	readonly stopped: Promise<void>;
	/** Resolves with a clause when the thread is gone. */
	readonly ended: Promise<string>;
	readonly #worker: Worker;
	readonly #clock: ClockSource;
	readonly #heartbeat = new SharedArrayBuffer(HEARTBEAT_BYTES);
	#unwatch: () => void;
	/** At how many looks it hung. */
	#hangs = 0;
	readonly #questions: Questions<ToWorker, string>;
	readonly #resolve: {
		readonly listening: (start: Start) => void;
		readonly stopped: () => void;
		readonly ended: (why: string) => void;
	};
	#why: string | undefined;
	#unwatchLive: (() => void) | undefined;
	#hasStarted = false;
	#isUnwanted = false;
	#port = 0;
	/** The answer that is waited for, and the one after it. */
	#confirming: Promise<boolean> | undefined;
	#confirmingNext: Promise<boolean> | undefined;
	/** Of lines, since the worker was told. */
	#taken = 0;
	/** Clients of the requests that are being answered for it. */
	readonly #clients = new Map<number, AbortController>();

	/** Starts it. @param startHangMs how long it may be silent until then */
	constructor(
		start: Omit<WorkerStart, "type" | "clock" | "heartbeat">,
		private readonly reports: WorkerReports,
		startHangMs = START_HANG_MS,
	) {
		this.thread = start.thread;
		const listening = Promise.withResolvers<Start>();
		const stopped = Promise.withResolvers<void>();
		const ended = Promise.withResolvers<string>();
		this.listening = listening.promise;
		this.stopped = stopped.promise;
		this.ended = ended.promise;
		this.#resolve = { listening: listening.resolve, stopped: stopped.resolve, ended: ended.resolve };
		const clock = new SharedArrayBuffer(CLOCK_BYTES);
		this.#clock = new ClockSource(clock);
		this.#worker = new Worker(THREAD);
		this.#questions = new Questions((message, transfer) => this.#worker.postMessage(message, transfer));
		this.#worker.onmessage = ({ data }: MessageEvent<ToMain>) => this.#take(data);
		this.#worker.onerror = (event) => {
			event.preventDefault();
			// Its message may quote a prompt.
			this.#why ??= "an error";
		};
		this.#worker.addEventListener("close", (event) => this.#end((event as CloseEvent).code));
		this.#unwatch = this.#watch(startHangMs);
		this.send({ type: "start", ...start, clock, heartbeat: this.#heartbeat });
	}

	/** Where it listens. */
	get port(): number {
		return this.#port;
	}

	/** Resolves with whether it runs, by its own word, which it was asked for when this was called, or later. */
	confirm(): Promise<boolean> {
		// What it is asked from now on it does not answer.
		if (!this.isRunning) return Promise.resolve(false);
		if (this.#confirming) {
			this.#confirmingNext ??= this.#confirming.then(() => {
				this.#confirmingNext = undefined;
				return this.confirm();
			});
			return this.#confirmingNext;
		}
		this.#confirming = this.ask({ type: "confirm" }).then((answer) => {
			this.#confirming = undefined;
			return answer !== undefined;
		});
		return this.#confirming;
	}

	/** It takes calls. */
	get isRunning(): boolean {
		return this.#hasStarted && !this.#isUnwanted;
	}

	send(message: ToWorker): void {
		this.#worker.postMessage(message);
	}

	/** What the worker is told of tunnels. */
	readonly tunnels: TunnelPort = {
		toAgent: (agent, message) => this.#sendFrame(tunnelMessage(agent, undefined, message)),
		fromAgent: (agent, message) => this.#sendFrame(tunnelMessage(agent, this.thread, message)),
		lost: (agent, now) => this.send({ type: "tunnel-lost", agent, now }),
		replaced: (tunnel) => this.send({ type: "tunnel-replaced", tunnel }),
		end: () => this.send({ type: "tunnel-end" }),
		know: (hello) => this.send({ type: "tunnel-hello", hello }),
		ended: (thread) => this.send({ type: "tunnel-ended", thread }),
	};

	#sendFrame(message: TunnelMessage): void {
		this.#worker.postMessage(message, [message.bytes.buffer]);
	}

	/** Resolves with "" when it has done so, with a sentence where it can't; with undefined where it has ended. */
	ask(message: Asking<ToWorker>): Promise<string | undefined> {
		return this.#questions.ask(message);
	}

	/** Ends it, with its calls; as soon as it has started. */
	terminate(): void {
		this.#isUnwanted = true;
		if (this.#hasStarted) this.#worker.terminate();
	}

	#started(start: Start): void {
		this.#hasStarted = true;
		if ("port" in start) this.#port = start.port;
		this.#resolve.listening(start);
		this.#unwatch();
		if (this.#isUnwanted || "problem" in start) this.#worker.terminate();
		else this.#unwatch = this.#watch(HANG_MS);
	}

	#watch(mostMs: number): () => void {
		return watchHeartbeat(this.#heartbeat, mostMs, () => this.#hang(mostMs));
	}

	/** Called again and again while it lives on: what the system keeps, such as a disk that gives nothing, can't be ended yet. */
	#hang(mostMs: number): void {
		this.#hangs++;
		if (this.#hangs === 1) this.reports.hung();
		if (this.#hangs === KEPT_LOOKS) this.reports.kept();
		this.#why ??= `no sign of life for ${mostMs / 1000} s`;
		this.#isUnwanted = true;
		// Connections that wait for its word go to another one.
		this.#questions.end();
		this.#worker.terminate();
	}

	#end(code: number): void {
		const why = this.#why ?? `code ${code}`;
		this.#unwatch();
		this.#unwatchLive?.();
		this.#hasStarted = false;
		this.#questions.end();
		for (const client of this.#clients.values()) client.abort();
		this.#resolve.listening({ problem: `its thread has ended (${why})`, isStart: false });
		this.#resolve.stopped();
		this.#resolve.ended(why);
	}

	#take(message: ToMain): void {
		switch (message.type) {
			case "clock":
				this.#clock.answer();
				return;
			case "moved":
				this.#port = message.port;
				return;
			case "listening":
			case "failed":
				this.#started(startIn(message));
				return;
			case "lines":
				this.reports.lines(message.lines);
				this.#tookLines(message.lines.length);
				return;
			case "metrics":
			case "rows":
			case "events":
				this.#takeOfCalls(message);
				return;
			case "agent-failed":
			case "wake":
			case "served":
				this.#takeOfAgents(message);
				return;
			case "objects":
				void this.reports.objects(message.rows).finally(() => this.send({ type: "synced", id: message.id }));
				return;
			case "response":
			case "response-change":
				void this.#respond(message);
				return;
			case "forward":
				void this.#forward(message);
				return;
			case "left":
				this.#clients.get(message.id)?.abort();
				return;
			case "redis":
			case "routing":
			case "claim":
			case "limits-take":
			case "limits-end":
				this.#takeOfOthers(message);
				return;
			case "live-watch":
				this.#watchLive(message.isWatched);
				return;
			case "done":
				this.#questions.answered(message.id, message.problem ?? "");
				return;
			case "stopped":
				this.#resolve.stopped();
				return;
			default:
				takeTunnel(this.reports.tunnels, message);
		}
	}

	#takeOfCalls(message: Extract<ToMain, { type: "metrics" | "rows" | "events" }>): void {
		if (message.type === "rows") this.reports.rows(message.rows);
		else if (message.type === "metrics") this.reports.metrics(message.values, message.position);
		else this.reports.events();
	}

	/** Not said of each batch: to hear it costs the worker more than to wait for it. */
	#tookLines(length: number): void {
		this.#taken += length;
		if (this.#taken < TOLD_LENGTH) return;
		this.send({ type: "taken", length: this.#taken });
		this.#taken = 0;
	}

	#takeOfAgents(message: Extract<ToMain, { type: "agent-failed" | "wake" | "served" }>): void {
		if (message.type === "wake") this.reports.wake(message.agent);
		else if (message.type === "served") this.reports.served(message.names);
		else this.reports.agentFailed(message.agent, message.failure);
	}

	#watchLive(isWatched: boolean): void {
		this.#unwatchLive?.();
		this.#unwatchLive = isWatched ? this.reports.live((sample) => this.send({ type: "live", sample })) : undefined;
	}

	async #respond(message: Extract<ToMain, { type: `response${string}` }>): Promise<void> {
		if (message.type === "response-change") {
			changeResponse(this.reports.responses, message.change);
			return;
		}
		const { id, question } = message;
		const value = await answerResponse(this.reports.responses, question).catch(() => undefined);
		this.send({ type: "response", id, value });
	}

	/** What other threads, routers and processes are to know, or are asked. */
	#takeOfOthers(
		message: Extract<ToMain, { type: "redis" | "routing" | "claim" | "limits-take" | "limits-end" }>,
	): void {
		const { limits } = this.reports;
		if (message.type === "claim") this.reports.claim(message.to, message.message);
		else if (message.type === "limits-end") limits.end(message.end);
		else if (message.type === "limits-take") {
			const { id } = message;
			void limits.take(message.limits).then((decision) => this.send({ type: "limits-decided", id, decision }));
		} else this.reports.redis(message);
	}

	/** Answers a request for it. */
	async #forward({ id, request }: Extract<ToMain, { type: "forward" }>): Promise<void> {
		const client = new AbortController();
		this.#clients.set(id, client);
		const answer = await this.reports.forward(request, client.signal).finally(() => this.#clients.delete(id));
		this.#worker.postMessage({ type: "answered", id, answer } satisfies ToWorker, [answer.body]);
	}
}

function startIn(message: Extract<ToMain, { type: "listening" | "failed" }>): Start {
	return message.type === "listening"
		? { url: message.url, port: message.port }
		: { problem: message.message, isStart: message.isStart };
}
