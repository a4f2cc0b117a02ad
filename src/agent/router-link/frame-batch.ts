/**
 * The frames that an agent sends over its tunnel, those of one turn of the event loop in one message: with many streams at once a turn reads some twenty
 * pieces, and a message each would be a system call each, at both ends.
 */
import { batchFrame, MOST_BATCHED } from "../../protocol/tunnel.ts";

/** One tunnel's. */
export class FrameBatch {
	/** The router reads batches; else each frame is a message. */
	isTaken = false;
	#frames: Buffer[] = [];
	#size = 0;
	#turn: ReturnType<typeof setImmediate> | undefined;

	/** @param transmit sends a message */
	constructor(private readonly transmit: (message: Buffer) => void) {}

	/** Sends a frame, after those before it. */
	send(frame: Buffer): void {
		if (!this.isTaken && this.#frames.length === 0) {
			this.transmit(frame);
			return;
		}
		if (this.#size + frame.length > MOST_BATCHED) this.flush();
		if (frame.length > MOST_BATCHED) {
			this.transmit(frame);
			return;
		}
		this.#frames.push(frame);
		this.#size += frame.length;
		this.#turn ??= setImmediate(() => this.flush());
	}

	/** The tunnel is gone, and with it what waits. */
	end(): void {
		clearImmediate(this.#turn);
		this.#turn = undefined;
		this.#frames = [];
		this.#size = 0;
	}

	/** Sends what waits. */
	flush(): void {
		const frames = this.#frames;
		this.end();
		if (frames.length > 0) this.transmit(frames.length === 1 ? frames[0]! : batchFrame(frames));
	}
}
