/**
 * One stream of a tunnel, as either side has it: as many bytes are under way as the reader has room for, so that a slow reader holds its writer
 * back, and no other stream. Pure: frames go to `send`, and what arrives to `reader`.
 */
import { creditFrame, dataFrame, FRAME, type Frame, frame, MOST_DATA, STREAM_WINDOW, TunnelFault } from "./tunnel.ts";

/** Who has a stream. Its methods are called as frames come. */
export interface StreamReader {
	/** Bytes, of which `consumed` is to be told once there is room for as many others. */
	received(bytes: Buffer): void;
	/** More can be written, where `write` has taken less than it was given. */
	writable(): void;
	/** The other side has ended the stream; `isClean`: behind all that it had to send. */
	closed(isClean: boolean): void;
}

/** The stream, until one of both sides has ended it. */
export class TunnelStream {
	/** Bytes that may still be sent. */
	#credit = STREAM_WINDOW;
	/** Bytes that the other side may still send, by what it was told. */
	#room = STREAM_WINDOW;
	/** Bytes that were consumed, and not told of yet. */
	#consumed = 0;
	#isShort = false;
	isOpen = true;

	constructor(
		readonly number: number,
		private readonly send: (frame: Buffer) => void,
		private readonly reader: StreamReader,
	) {}

	/** Sends what there is room for, and returns how many bytes that is. Once there is more room `writable` tells. */
	write(bytes: Uint8Array): number {
		if (!this.isOpen) return 0;
		const count = Math.min(bytes.length, this.#credit);
		for (let at = 0; at < count; at += MOST_DATA) {
			this.send(dataFrame(this.number, bytes.subarray(at, Math.min(count, at + MOST_DATA))));
		}
		this.#credit -= count;
		this.#isShort = count < bytes.length;
		return count;
	}

	/** Bytes that were received have made room. It is told once that is worth a frame. */
	consumed(count: number): void {
		this.#consumed += count;
		if (this.#consumed < STREAM_WINDOW / 2 || !this.isOpen) return;
		this.send(creditFrame(this.number, this.#consumed));
		this.#room += this.#consumed;
		this.#consumed = 0;
	}

	/** Ends it. @param isClean behind what was written; else what was not read yet is of no interest */
	close(isClean: boolean): void {
		if (!this.isOpen) return;
		this.isOpen = false;
		this.send(frame(isClean ? FRAME.end : FRAME.reset, this.number));
	}

	/** The tunnel is gone. */
	lost(): void {
		if (!this.isOpen) return;
		this.isOpen = false;
		this.reader.closed(false);
	}

	/** Takes a frame of it. Throws TunnelFault where more comes than there is room for. */
	take({ type, bytes, credit }: Frame): void {
		if (!this.isOpen) return;
		switch (type) {
			case FRAME.data:
				this.#room -= bytes.length;
				if (this.#room < 0) throw new TunnelFault("more was sent than there is room for");
				this.reader.received(bytes);
				return;
			case FRAME.credit:
				this.#credit += credit;
				if (this.#credit > STREAM_WINDOW) throw new TunnelFault("more room was given than there is");
				if (!this.#isShort) return;
				this.#isShort = false;
				this.reader.writable();
				return;
			case FRAME.end:
			case FRAME.reset:
				this.isOpen = false;
				this.reader.closed(type === FRAME.end);
				return;
			default:
				throw new TunnelFault(`a frame of type ${type} is of no open stream`);
		}
	}
}
