/** Start and stop of a process that serves: signals, the drain, the deadline, the last lines of the log. */
import { constants } from "node:os";
import type { Log } from "../telemetry/log.ts";
import { type Effect, type Event, lifecycleStep, type State } from "./lifecycle-state.ts";

/** The signals that stop the process. */
type StopSignal = "SIGTERM" | "SIGINT";
type Hook = () => void | Promise<void>;

const SIGNALS = ["SIGTERM", "SIGINT"] as const;
/** Longest that all hooks together may take, ms. */
const HOOKS_MS = 5000;
/** After connections were cut, how long their streams get to settle and log, ms. */
const SETTLE_MS = 100;

/** What it needs of a server. */
export interface Stoppable {
	/** Stops listening; resolves when the last connection is closed. With `true`, closes them all at once. */
	stop(closeActiveConnections?: boolean): Promise<void>;
}

/** How long things may take, ms, and where to say so. */
export interface LifecycleOptions {
	/** How long calls are still taken after the signal. */
	readonly drainMs: number;
	/** How long running calls may go on after that. */
	readonly shutdownMs: number;
	readonly log: Pick<Log, "logger" | "flush">;
	/** Where signals come from; `process` unless a test says otherwise. */
	readonly signals?: {
		on(name: StopSignal, listener: (name: StopSignal) => void): unknown;
		off(name: StopSignal, listener: (name: StopSignal) => void): unknown;
	};
}

/** The life of one role's server. In `--standalone` two of them hear the same signals. */
export interface Lifecycle {
	readonly state: State;
	/**
	 * The server listens: `/health/ready` turns on, and SIGTERM and SIGINT are handled from here on (as PID 1 of a
	 * container nothing else would). A start that fails before leaves no listener behind.
	 */
	started(server: Stoppable): void;
	/** Runs, without being waited for, as soon as the process no longer wants calls. */
	onDrain(hook: () => unknown): void;
	/** Runs before the end, in order of registration, after the last call: close files and links here. */
	onStop(hook: Hook): void;
	/** Stops without a drain; running calls may finish. Resolves when all is done. Safe to call twice. */
	stop(): Promise<void>;
	/** Resolves with the exit code once all is done: 0; 143 (SIGTERM) or 130 (SIGINT) after a second signal. */
	readonly finished: Promise<number>;
}

/** A lifecycle in state `starting`. Its state table is in design.md. */
export function createLifecycle({ drainMs, shutdownMs, log, signals = process }: LifecycleOptions): Lifecycle {
	let state: State = "starting";
	let last: StopSignal = "SIGTERM";
	let server: Stoppable | undefined;
	let cut: Promise<unknown> = Promise.resolve();
	const hooks: Hook[] = [];
	const drainHooks: (() => unknown)[] = [];
	const timers: ReturnType<typeof setTimeout>[] = [];
	const { promise: finished, resolve } = Promise.withResolvers<number>();

	const dispatch = (event: Event) => {
		const next = lifecycleStep(state, event);
		const wasReady = state === "ready";
		state = next.to;
		if (wasReady && state !== "ready") runAll(drainHooks, log);
		for (const effect of next.effects) effects[effect]();
	};
	const after = (ms: number, event: Event) => timers.push(setTimeout(() => dispatch(event), ms));
	const onSignal = (name: StopSignal) => {
		last = name;
		dispatch("signal");
	};
	const end = (code: number) => {
		for (const timer of timers) clearTimeout(timer);
		for (const name of SIGNALS) signals.off(name, onSignal);
		resolve(code);
	};

	const effects: Record<Effect, () => void> = {
		"wait-drain"() {
			log.logger.info({ drain_ms: drainMs }, `${last}: calls are taken a moment more; a second signal ends at once.`);
			after(drainMs, "drained");
		},
		"stop-listening"() {
			log.logger.info({ shutdown_ms: shutdownMs }, "No further calls are taken; running ones may finish.");
			const closed = async () => {
				try {
					await server?.stop();
				} catch (err) {
					log.logger.error({ err }, "The server failed to stop; going on.");
				}
				dispatch("idle");
			};
			void closed();
		},
		"wait-deadline": () => after(shutdownMs, "deadline"),
		cut() {
			log.logger.warn({ shutdown_ms: shutdownMs }, "Running calls had their time: their connections are cut.");
			cut = Promise.allSettled([server?.stop(true)]).then(() => Bun.sleep(SETTLE_MS));
		},
		finish() {
			void cut.then(() => close(hooks, log)).then(() => end(0));
		},
		abort: () => end(128 + constants.signals[last]),
	};

	return {
		get state() {
			return state;
		},
		started(listening) {
			server = listening;
			for (const name of SIGNALS) signals.on(name, onSignal);
			dispatch("listening");
		},
		onDrain: (hook) => void drainHooks.push(hook),
		onStop: (hook) => void hooks.push(hook),
		async stop() {
			dispatch("stop");
			await finished;
		},
		finished,
	};
}

/** None of them can keep the others from running. */
function runAll(hooks: readonly (() => unknown)[], log: LifecycleOptions["log"]): void {
	for (const hook of hooks) {
		const run = async () => hook();
		run().catch((err) => log.logger.error({ err }, "A hook failed while draining; going on."));
	}
}

/** The end of the house: hooks one after the other, none of which can keep the others or the log from finishing. */
async function close(hooks: readonly Hook[], log: LifecycleOptions["log"]): Promise<void> {
	const { promise: late, resolve } = Promise.withResolvers<void>();
	const timer = setTimeout(resolve, HOOKS_MS);
	const run = async () => {
		for (const hook of hooks) {
			try {
				await hook();
			} catch (err) {
				log.logger.error({ err }, "A hook failed while stopping; going on.");
			}
		}
	};
	await Promise.race([run(), late]);
	clearTimeout(timer);
	log.logger.info("Stopped.");
	await log.flush();
}
