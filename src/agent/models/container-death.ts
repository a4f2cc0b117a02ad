/** What a call is told whose container ended under it: an engine that may have died of its calls is told from one that was stopped. */
import { sseData } from "../../openai/sse.ts";
import { ENGINE_DIED } from "../../providers/engine-errors.ts";
import type { CancelSignal } from "../../providers/provider.ts";
import type { ContainerEnds } from "../docker/container-ends.ts";
import type { ContainerLease } from "./traffic.ts";

/** What is asked of the container's end. */
export type DeathWatch = Pick<ContainerEnds, "isStopping" | "hasEnded" | "verdictOf" | "isKnownDead" | "causeOf">;

const encoder = new TextEncoder();

/** One call in one container. */
export class CallInContainer {
	readonly #wasOver: boolean;

	constructor(
		private readonly lease: Pick<ContainerLease, "id">,
		private readonly signal: CancelSignal,
		private readonly watch: DeathWatch | undefined,
	) {
		this.#wasOver = watch !== undefined && (watch.hasEnded(lease.id) || watch.isKnownDead(lease.id));
	}

	/**
	 * Whether the engine died while it ran the call, whose connection broke so. Waits for the container engine's word, 2 s at most. A call that could not
	 * connect any more was none of the engine's.
	 */
	async died(thrown: unknown): Promise<boolean> {
		if (!this.watch || this.#wasOver || this.signal.aborted || isRefused(thrown)) return false;
		return (await this.watch.verdictOf(this.lease.id)) === "died";
	}

	/** What its engine, which has died under it, died of; undefined where its log does not say so soon enough. */
	async cause(): Promise<string | undefined> {
		return this.watch?.causeOf(this.lease.id);
	}

	/** Whether these words, the server's, are about its dead engine. */
	saysDead(text: string): boolean {
		return this.watch !== undefined && ENGINE_DIED.test(text);
	}

	/** Its engine was known to be dead when it came: it has done nothing there. */
	get wasLate(): boolean {
		return this.#wasOver;
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

/** The text of an answer whose engine died under it: in vLLM's words for a dead engine, by which whoever reads it knows it. */
export function diedText(cause = "its container ended by itself"): string {
	const message = `EngineDeadError: ${cause}`;
	return JSON.stringify({ error: { message, type: "InternalServerError", param: null, code: 500 } });
}

/** The end of a stream whose engine died: behind an event that may be in pieces. */
export const diedEvent = (cause?: string): Uint8Array => encoder.encode(`\n\n${sseData(diedText(cause))}`);

/** Whether a piece of a stream begins with an error event, as vLLM writes it. */
export function isErrorEvent(chunk: Uint8Array): boolean {
	return chunk[6] === OPEN_BRACE && chunk[8] === LETTER_E && chunk[9] === LETTER_R && chunk[10] === LETTER_R;
}

/** Of `data: {"err`. */
const OPEN_BRACE = 0x7b;
const LETTER_E = 0x65;
const LETTER_R = 0x72;

function isRefused(thrown: unknown): boolean {
	const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
	return /refused/i.test(code);
}
