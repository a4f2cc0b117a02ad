/** The agent's containers on its engine: listed after each event, after the agent's own effects, and at an interval. */

import { asWall, steadyTime } from "../../steady-time.ts";
import type { Notifier } from "../notify.ts";
import type { Problem } from "../problem.ts";
import type { ContainerEnds } from "./container-ends.ts";
import type { ContainerOwner } from "./container-owner.ts";
import type { Docker } from "./docker.ts";
import { DockerError } from "./docker-error.ts";
import type { Container } from "./docker-output.ts";
import type { EngineLock } from "./engine-lock.ts";

/** Longest time between two lists, ms: an event may be lost. A list is two processes of the CLI. */
const LIST_MS = 60_000;
/** Wait before an engine that failed is tried again, ms. */
const RETRY_MS = 2000;

/** How long before its own end a daemon may have ended its containers, ms: it gives them 15 s. */
const SHUTDOWN_MS = 20_000;

/** Kinds of errors that mean the engine itself, not the container or the image. */
const ENGINE_PROBLEMS: readonly DockerError["kind"][] = ["missing", "not-running", "permission", "timeout"];

/** Whether the engine itself failed, not the command for a reason of its own. */
export function isEngineError(error: unknown): error is DockerError {
	return error instanceof DockerError && ENGINE_PROBLEMS.includes(error.kind);
}

/** The engine's view of this agent's containers. */
export class EngineWatch {
	containers: readonly Container[] = [];
	/** Why the engine can't be used; `containers` is then the last list that could be read. */
	problem: Problem | undefined;
	/** True once a list could be read: before, a missing container proves nothing. */
	hasAnswered = false;
	/** When the engine was last away, ms since the epoch; `to` is absent while it is. */
	#absence: { readonly from: number; readonly to?: number } | undefined;
	#isStale = true;
	/** There may be containers that it made under another name: looked for at first, and until they are gone. */
	#mayBeRenamed = true;
	#listedAt = 0;
	readonly #end = new AbortController();

	constructor(
		private readonly docker: Docker,
		private readonly agent: string,
		private readonly lock: EngineLock,
		private readonly owner: ContainerOwner,
		/** Notified when something happened to a container. */
		private readonly tick: Notifier,
		/** Hears each event. */
		private readonly ends?: ContainerEnds,
	) {}

	/** Begins to listen. */
	start(): void {
		void this.#listen();
	}

	end(): void {
		this.#end.abort();
		this.lock.release();
	}

	/** Lets another agent of this name take over from now on. */
	releaseLock(): void {
		this.lock.release();
	}

	/** Whether the engine was stopped or restarted at about that time, ms since the epoch. */
	wasAwayAt(time: number): boolean {
		if (!this.#absence) return false;
		const { from, to = Number.POSITIVE_INFINITY } = this.#absence;
		return time >= from - SHUTDOWN_MS && time <= to;
	}

	/** The list is out of date. */
	invalidate(): void {
		this.#isStale = true;
	}

	/** A command outside of this class failed because of the engine. */
	engineFailed({ message, fix }: DockerError): void {
		this.problem = { reason: message, fix };
		this.#isStale = true;
		this.#listedAt = steadyTime();
	}

	/** Lists where that is due; true where a new list was read. Never rejects. */
	async refresh(): Promise<boolean> {
		const now = steadyTime();
		// While the engine has never answered, that is the problem to show.
		const lockProblem = this.hasAnswered ? this.lock.acquire() : undefined;
		if (lockProblem) {
			this.problem = lockProblem;
			this.#listedAt = now;
			return false;
		}
		const isDue = this.problem ? now - this.#listedAt >= RETRY_MS : this.#isStale || now - this.#listedAt >= LIST_MS;
		if (!isDue) return false;
		this.#isStale = false;
		this.#listedAt = now;
		try {
			const instance = this.#mayBeRenamed ? this.owner.instance() : undefined;
			const { own, problem } = this.owner.divide(await this.docker.containers(this.agent, instance));
			const other = this.lock.acquire();
			// To an agent with a copy of another one's data directory that one's look like its own.
			this.containers = other && !this.lock.wasHeld ? [] : own;
			this.#mayBeRenamed = own.some(({ labels }) => labels["router.agent"] !== this.agent);
			this.hasAnswered = true;
			if (this.#absence) this.#absence = { to: asWall(steadyTime()), ...this.#absence };
			this.problem = other ?? problem;
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
				for await (const event of this.docker.events(this.agent, signal)) {
					const { action } = event;
					// `exec_…` and `top` change nothing.
					if (action.startsWith("exec") || action === "top") continue;
					this.ends?.heard(event);
					this.invalidate();
					this.tick.notify();
				}
			} catch {
				// The engine does not answer: the next list says why.
			}
			if (signal.aborted) return;
			if (!this.#absence || this.#absence.to !== undefined) this.#absence = { from: asWall(steadyTime()) };
			// Events since then are lost; the list shows what they did.
			this.invalidate();
			this.tick.notify();
			await Bun.sleep(RETRY_MS);
		}
	}
}
