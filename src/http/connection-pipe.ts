/** Passes the bytes of a connection on to another one, and back: as fast as the slower side reads, and to the end that either side makes. */
import type { Socket, SocketHandler } from "bun";

/** One side of it. What the socket tells goes to its methods. */
export class PipeEnd {
	#socket: Socket<PipeEnd> | undefined;
	/** The side that gets what comes here; undefined until there is one. */
	#other: PipeEnd | undefined;
	/** What the kernel has not taken yet, and what came before there was another side. */
	#unsent: Buffer[] = [];
	#arrived: Buffer[] = [];
	#sawEnd = false;
	/** The other side has ended in good order: this one is to, once all is sent. */
	#isLast = false;
	isOpen = true;

	/** @param onClosing called once, before its port is free for others, where that can be known before */
	constructor(private onClosing: (() => void) | undefined) {}

	/** It is connected. Nothing is read before there is another side. */
	opened(socket: Socket<PipeEnd>): void {
		this.#socket = socket;
		socket.setNoDelay(true);
		socket.pause();
	}

	/** From now on what comes to either goes to the other. Both are open. */
	join(other: PipeEnd): void {
		this.#joinTo(other);
		other.#joinTo(this);
	}

	#joinTo(other: PipeEnd): void {
		this.#other = other;
		const arrived = this.#arrived;
		this.#arrived = [];
		let isTaken = true;
		for (const bytes of arrived) isTaken = other.#send(bytes);
		if (isTaken) this.#socket!.resume();
	}

	/** Ends the connection at once, which its other end sees as a reset. */
	terminate(): void {
		if (!this.isOpen) return;
		this.#leave();
		this.#socket?.terminate();
	}

	received(bytes: Buffer): void {
		const other = this.#other;
		if (!other) this.#arrived.push(bytes);
		else if (!other.#send(bytes)) this.#socket!.pause();
	}

	/** Whether all of it has left. */
	#send(bytes: Buffer): boolean {
		if (!this.isOpen) return true;
		if (this.#unsent.length > 0) {
			this.#unsent.push(bytes);
			return false;
		}
		const count = this.#socket!.write(bytes);
		if (count === bytes.length) return true;
		// -1: the socket is closed, which `closed` tells.
		this.#unsent.push(bytes.subarray(Math.max(0, count)));
		return false;
	}

	/** The kernel takes bytes again. */
	drained(): void {
		const unsent = this.#unsent;
		while (unsent[0] !== undefined) {
			const [next] = unsent;
			const count = this.#socket!.write(next);
			if (count < next.length) {
				if (count > 0) unsent[0] = next.subarray(count);
				return;
			}
			unsent.shift();
		}
		if (this.#isLast) this.#end();
		else this.#other?.resume();
	}

	resume(): void {
		if (this.isOpen) this.#socket!.resume();
	}

	/** Its other end sends nothing more. Bun closes it then: who has closed half of a connection gets no answer from `Bun.serve` either. */
	ended(): void {
		this.#sawEnd = true;
		this.#leave();
	}

	/** It is gone: in good order, or reset. */
	closed(error: Error | undefined): void {
		this.isOpen = false;
		this.#leave();
		const other = this.#other;
		if (!other?.isOpen) return;
		if (!this.#sawEnd || error) other.terminate();
		else if (other.#unsent.length === 0) other.#end();
		else other.#isLast = true;
	}

	#end(): void {
		if (!this.isOpen) return;
		this.#leave();
		this.#socket!.end();
	}

	#leave(): void {
		this.onClosing?.();
		this.onClosing = undefined;
	}
}

/** Of both sides' sockets: one set for all. */
export const PIPE_HANDLERS: SocketHandler<PipeEnd> = {
	data: (socket, bytes) => socket.data.received(bytes),
	drain: (socket) => socket.data.drained(),
	end: (socket) => socket.data.ended(),
	close: (socket, error) => socket.data.closed(error),
	// Told by the promise of Bun.connect, and by `close`.
	connectError: () => undefined,
	error: () => undefined,
};
