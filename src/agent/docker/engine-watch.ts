/** What the engine has of ours: listed when it says that something happened, now and then anyway, and after our own deeds. */

import { steadyTime } from "../../steady-time.ts";
import type { Notifier } from "../notify.ts";
import type { Problem } from "../problem.ts";
import type { Docker } from "./docker.ts";
import { DockerError } from "./docker-error.ts";
import type { Container } from "./docker-output.ts";
import type { EngineLock } from "./engine-lock.ts";

/** A list nobody asked for, ms: an event may be lost. Two processes of the CLI a time. */
const LIST_MS = 60_000;
/** How soon an engine that is away is asked again, ms. */
const RETRY_MS = 2000;

/** Problems that speak of the engine, not of what it was asked for. */
const ENGINE_PROBLEMS: readonly DockerError["kind"][] = ["missing", "not-running", "permission", "timeout"];

/** Whether the engine itself is at fault, not what it was asked. */
export function isEngineError(error: unknown): error is DockerError {
	return error instanceof DockerError && ENGINE_PROBLEMS.includes(error.kind);
}

/** The engine's view of this agent's containers. */
export class EngineWatch {
	containers: readonly Container[] = [];
	/** Why it can't be asked; the containers are then those that were seen last. */
	problem: Problem | undefined;
	/** True once it has answered: before, nothing may be concluded from what is not there. */
	hasAnswered = false;
	#isStale = true;
	#listedAt = 0;
	readonly #end = new AbortController();

	constructor(
		private readonly docker: Docker,
		private readonly agent: string,
		private readonly lock: EngineLock,
		/** Told when something happened to a container. */
		private readonly tick: Notifier,
	) {}

	/** Begins to listen. */
	start(): void {
		void this.#listen();
	}

	end(): void {
		this.#end.abort();
		this.lock.release();
	}

	/** From now on another agent of this name may take over. */
	releaseLock(): void {
		this.lock.release();
	}

	/** What was listed is no longer true. */
	invalidate(): void {
		this.#isStale = true;
	}

	/** Something else met a problem of the engine's. */
	engineFailed({ message, fix }: DockerError): void {
		this.problem = { reason: message, fix };
		this.#isStale = true;
		this.#listedAt = steadyTime();
	}

	/** Lists anew where that is due; whether it did. Never rejects. */
	async refresh(): Promise<boolean> {
		const now = steadyTime();
		// An engine that is not there is the first thing to tell of.
		const taken = this.hasAnswered ? this.lock.acquire() : undefined;
		if (taken) {
			this.problem = taken;
			this.#listedAt = now;
			return false;
		}
		const isDue = this.problem ? now - this.#listedAt >= RETRY_MS : this.#isStale || now - this.#listedAt >= LIST_MS;
		if (!isDue) return false;
		this.#isStale = false;
		this.#listedAt = now;
		try {
			this.containers = await this.docker.containers(this.agent);
			this.hasAnswered = true;
			this.problem = this.lock.acquire();
			return true;
		} catch (error) {
			const { message, fix = "" } = error as DockerError;
			this.problem = { reason: message, fix };
			return false;
		}
	}

	async #listen(): Promise<void> {
		const { signal } = this.#end;
		while (!signal.aborted) {
			try {
				for await (const { action } of this.docker.events(this.agent, signal)) {
					// `exec_…` and `top` change nothing.
					if (action.startsWith("exec") || action === "top") continue;
					this.invalidate();
					this.tick.notify();
				}
			} catch {
				// The engine went away, or was never there: the list says why.
			}
			if (signal.aborted) return;
			// What happened while nobody listened is in the list only.
			this.invalidate();
			this.tick.notify();
			await Bun.sleep(RETRY_MS);
		}
	}
}
