/** The WebSocket of one tunnel, at the router's end. */
import { FRAME, framesIn, MOST_FRAME, SILENCE_MS, TUNNEL_CLOSE, TunnelFault } from "../../protocol/tunnel.ts";

/** The part of Bun's WebSocket that is used here. */
interface TunnelSocket {
	/** -1: the agent does not keep up, and `drain` tells when it does; 0: it was not sent. */
	sendBinary(message: Uint8Array): number;
	close(code?: number, reason?: string): void;
	terminate(): void;
}

/** What its agent is told: 123 bytes at most. */
const REASONS = {
	stopping: "This router is stopping.",
	replaced: "An agent of this name and installation has opened another tunnel.",
	duplicate: "This router has this agent's tunnel.",
} as const;

/** Who hears of it. */
interface TunnelListener {
	opened(): void;
	/** Throws TunnelFault. */
	received(message: Buffer): void;
	closed(): void;
}

/** The data of the WebSocket: its methods are called as the socket tells; none throws. */
export class AgentTunnel {
	/** Names it among all tunnels. */
	id = "";
	#socket: TunnelSocket | undefined;
	/** Frames that wait until the agent keeps up; undefined while it does. Bounded by the windows of their streams. */
	#waiting: Uint8Array[] | undefined;
	#heardAt = 0;
	#timer: ReturnType<typeof setInterval> | undefined;

	constructor(private readonly listener: TunnelListener) {}

	open(socket: TunnelSocket): void {
		this.#socket = socket;
		this.#heardAt = performance.now();
		this.#timer = setInterval(() => {
			if (performance.now() - this.#heardAt > SILENCE_MS) this.#socket?.terminate();
		}, SILENCE_MS / 3);
		this.#timer.unref();
		this.listener.opened();
	}

	message(_: TunnelSocket, message: string | Buffer): void {
		this.#heardAt = performance.now();
		try {
			if (typeof message === "string") throw new TunnelFault("a frame must be binary");
			if (message.length > MOST_FRAME) throw new TunnelFault(`a frame has more than ${MOST_FRAME} bytes`);
			if (message[0] !== FRAME.batch) this.listener.received(message);
			else for (const each of framesIn(message)) this.listener.received(each);
		} catch (thrown) {
			if (!(thrown instanceof TunnelFault)) throw thrown;
			this.#socket?.close(TUNNEL_CLOSE.fault, thrown.message);
		}
	}

	/** Sends a frame. */
	send(message: Uint8Array): void {
		if (this.#waiting) this.#waiting.push(message);
		else this.#transmit(message);
	}

	drain(): void {
		const waiting = this.#waiting ?? [];
		this.#waiting = undefined;
		for (const [at, message] of waiting.entries()) {
			this.#transmit(message);
			// It does not keep up again: what is left goes on waiting, in its order.
			if (this.#waiting) {
				this.#waiting = waiting.slice(at + 1);
				return;
			}
		}
	}

	close(): void {
		this.#socket = undefined;
		this.#waiting = undefined;
		clearInterval(this.#timer);
		this.listener.closed();
	}

	/** Closes it. The agent reads the reason. */
	end(why: keyof typeof REASONS): void {
		this.#socket?.close(TUNNEL_CLOSE[why], REASONS[why]);
	}

	#transmit(message: Uint8Array): void {
		const sent = this.#socket?.sendBinary(message);
		if (sent === -1) this.#waiting = [];
		else if (sent === 0) this.#socket?.terminate();
	}
}
