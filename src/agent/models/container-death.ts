/** What a call is told whose container ended under it: an engine that may have died of its calls is told from one that was stopped. */
import { sseData } from "../../openai/sse.ts";
import { ENGINE_DIED } from "../../providers/upstream-error.ts";
import type { ContainerEnds } from "../docker/container-ends.ts";
import type { ContainerLease } from "./traffic.ts";

/** What is asked of the container's end. */
export type DeathWatch = Pick<ContainerEnds, "isStopping" | "hasEnded" | "verdictOf">;

/** In vLLM's words for a dead engine, by which whoever reads it knows it. */
const ERROR = {
	error: {
		message: "EngineDeadError: its container ended by itself under this call",
		type: "InternalServerError",
		param: null,
		code: 500,
	},
};
const encoder = new TextEncoder();

/** One call in one container. */
export class CallInContainer {
	readonly #wasOver: boolean;

	constructor(
		private readonly lease: Pick<ContainerLease, "id">,
		private readonly signal: AbortSignal,
		private readonly watch: DeathWatch | undefined,
	) {
		this.#wasOver = watch?.hasEnded(lease.id) ?? false;
	}

	/**
	 * Whether the engine died while it ran the call, whose connection broke so. Waits for the container engine's word, 2 s at most. A call that could not
	 * connect any more was none of the engine's.
	 */
	async died(thrown: unknown): Promise<boolean> {
		if (!this.watch || this.#wasOver || this.signal.aborted || isRefused(thrown)) return false;
		return (await this.watch.verdictOf(this.lease.id)) === "died";
	}

	/** Its caller wants it no more. */
	get isGivenUp(): boolean {
		return this.signal.aborted;
	}

	/** Whether vLLM says of its engine that it is dead because its container is being stopped. */
	isStopped(text: string): boolean {
		return this.isStopping && ENGINE_DIED.test(text);
	}

	/** It is being stopped: what it says of its engine has to be looked at. */
	get isStopping(): boolean {
		return this.watch?.isStopping(this.lease.id) === true;
	}
}

/** The text of an answer whose engine died under it. */
export const diedText = (): string => JSON.stringify(ERROR);

/** The end of a stream whose engine died: behind an event that may be in pieces. */
export const diedEvent = (): Uint8Array => encoder.encode(`\n\n${sseData(diedText())}`);

function isRefused(thrown: unknown): boolean {
	const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
	return /refused/i.test(code);
}
