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

/** The part of a server that the lifecycle stops. */
export interface Stoppable {
	/** Stops listening; resolves when the last connection is closed. With `true`, closes them all at once. */
	stop(closeActiveConnections?: boolean): Promise<void>;
}

/** Time limits, ms, and the log. */
export interface LifecycleOptions {
	/** How long calls are still taken after the signal. */
	readonly drainMs: number;
	/** How long running calls may go on after that. */
	readonly shutdownMs: number;
	readonly log: Pick<Log, "logger" | "flush">;
	/** The source of signals; default: `process`. */
	readonly signals?: {
		on(name: StopSignal, listener: (name: StopSignal) => void): unknown;
		off(name: StopSignal, listener: (name: StopSignal) => void): unknown;
	};
}

/** The life of one role's server. In `--standalone` two of them hear the same signals. */
export interface Lifecycle {
	/** A plain field: every request reads it. */
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
	/**
	 * Another process takes all further connections: those that are open are answered, each a last time, for as long as that takes.
	 * @param left resolves when none is open any more; the process then stops
	 */
	replaced(left: Promise<void>): void;
	/** A stop waits for this, too, as long as for running calls: for another process whose calls end with this one. */
	stopsBehind(other: Promise<unknown>): void;
	/** Stops without a drain; running calls may finish. Resolves when all is done. Safe to call twice. */
	stop(): Promise<void>;
	/** Resolves with the exit code once all is done: 0; 143 (SIGTERM) or 130 (SIGINT) after a second signal. */
	readonly finished: Promise<number>;
}

/** A lifecycle in state `starting`. Its state table is in design.md. */
export function createLifecycle(options: LifecycleOptions): Lifecycle {
	return new ServerLifecycle(options);
}

/**
 * Has work end once another process has this one's place, which goes on with it.
 * @param end ends it, at once
 * @returns how to end it with this process, where it has not ended yet
 */
export function untilReplaced(lifecycle: Pick<Lifecycle, "state" | "onDrain">, end: () => void): () => void {
	let isOver = false;
	const endOnce = () => {
		if (!isOver) end();
		isOver = true;
	};
	lifecycle.onDrain(() => {
		if (lifecycle.state === "replaced") endOnce();
	});
	return endOnce;
}

class ServerLifecycle implements Lifecycle {
	state: State = "starting";
	readonly finished: Promise<number>;
	readonly #options: LifecycleOptions;
	readonly #signals: NonNullable<LifecycleOptions["signals"]>;
	readonly #resolve: (code: number) => void;
	readonly #stopHooks: Hook[] = [];
	readonly #drainHooks: (() => unknown)[] = [];
	readonly #timers: ReturnType<typeof setTimeout>[] = [];
	#lastSignal: StopSignal = "SIGTERM";
	#server: Stoppable | undefined;
	#cut: Promise<unknown> = Promise.resolve();
	#other: Promise<unknown> = Promise.resolve();

	constructor(options: LifecycleOptions) {
		this.#options = options;
		this.#signals = options.signals ?? process;
		const { promise, resolve } = Promise.withResolvers<number>();
		this.finished = promise;
		this.#resolve = resolve;
	}

	started(server: Stoppable): void {
		this.#server = server;
		for (const name of SIGNALS) this.#signals.on(name, this.#onSignal);
		this.#dispatch("listening");
	}

	onDrain(hook: () => unknown): void {
		this.#drainHooks.push(hook);
	}

	onStop(hook: Hook): void {
		this.#stopHooks.push(hook);
	}

	replaced(left: Promise<void>): void {
		this.#dispatch("replaced");
		void left.then(() => this.#dispatch("left"));
	}

	stopsBehind(other: Promise<unknown>): void {
		this.#other = other;
	}

	async stop(): Promise<void> {
		this.#dispatch("stop");
		await this.finished;
	}

	readonly #onSignal = (name: StopSignal): void => {
		this.#lastSignal = name;
		this.#dispatch("signal");
	};

	#dispatch(event: Event): void {
		const next = lifecycleStep(this.state, event);
		const wasReady = this.state === "ready";
		this.state = next.to;
		if (wasReady && next.to !== "ready") runAll(this.#drainHooks, this.#options.log);
		for (const effect of next.effects) this.#effects[effect]();
	}

	readonly #effects: Readonly<Record<Effect, () => void>> = {
		"wait-drain": () => {
			const { drainMs, log } = this.#options;
			const text = `${this.#lastSignal}: calls are taken a moment more; a second signal ends at once.`;
			log.logger.info({ drain_ms: drainMs }, text);
			this.#after(drainMs, "drained");
		},
		"stop-listening": () => {
			const { shutdownMs, log } = this.#options;
			log.logger.info({ shutdown_ms: shutdownMs }, "No further calls are taken; running ones may finish.");
			void this.#stopListening();
		},
		"wait-deadline": () => this.#after(this.#options.shutdownMs, "deadline"),
		cut: () => {
			const { shutdownMs, log } = this.#options;
			log.logger.warn({ shutdown_ms: shutdownMs }, "Running calls had their time: their connections are cut.");
			this.#cut = Promise.allSettled([this.#server?.stop(true)]).then(() => Bun.sleep(SETTLE_MS));
		},
		finish: () => void this.#cut.then(() => close(this.#stopHooks, this.#options.log)).then(() => this.#end(0)),
		abort: () => this.#end(128 + constants.signals[this.#lastSignal]),
	};

	async #stopListening(): Promise<void> {
		try {
			await this.#server?.stop();
		} catch (err) {
			this.#options.log.logger.error({ err }, "The server failed to stop; going on.");
		}
		await this.#other;
		this.#dispatch("idle");
	}

	#after(ms: number, event: Event): void {
		this.#timers.push(setTimeout(() => this.#dispatch(event), ms));
	}

	#end(code: number): void {
		for (const timer of this.#timers) clearTimeout(timer);
		for (const name of SIGNALS) this.#signals.off(name, this.#onSignal);
		this.#resolve(code);
	}
}

/** None of them can keep the others from running. */
function runAll(hooks: readonly (() => unknown)[], log: LifecycleOptions["log"]): void {
	for (const hook of hooks) {
		const run = async () => hook();
		run().catch((err) => log.logger.error({ err }, "A hook failed while draining; going on."));
	}
}

/** The stop hooks, one after the other, none of which can keep the others or the log from finishing. */
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
