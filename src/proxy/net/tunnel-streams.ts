/** Calls to an agent over its tunnel: HTTP/1.1 as over a socket, each connection a stream of the tunnel. */
import { FRAME, frame, MOST_STREAMS, parseFrame } from "../../protocol/tunnel.ts";
import { type StreamReader, TunnelStream } from "../../protocol/tunnel-stream.ts";
import type { CancelSignal, Transport, UpstreamAnswer, UpstreamRequest } from "../../providers/provider.ts";
import { http1Transport } from "./http1.ts";
import { ConnectionLost, TunnelLost } from "./http1-exchange.ts";
import type { ConnectionSocket, SocketListener } from "./http1-origin.ts";

/** The streams of one tunnel that one thread has opened. */
export class TunnelStreams implements Transport {
	readonly #streams = new Map<number, TunnelStream>();
	isLost = false;
	readonly #http = http1Transport({ open: async (connection) => this.open(connection) });

	/**
	 * @param nextNumber of a stream: see `streamNumber`
	 * @param origin what its addresses begin with, such as `tunnel://gpu-1`
	 * @param transmit sends a frame to the agent; what can't be sent is lost, and `lost` told
	 */
	constructor(
		private readonly nextNumber: () => number,
		private readonly origin: string,
		private readonly transmit: (frame: Buffer) => void,
	) {}

	send(request: UpstreamRequest, signal: CancelSignal, connectMs?: number): Promise<UpstreamAnswer> {
		// The agent is its own host: what it connects to is its own port.
		const url = `http://localhost${request.url.slice(this.origin.length)}`;
		return this.#http.send({ ...request, url }, signal, connectMs);
	}

	/** Opens a stream. The agent resets one that it can't connect. Throws ConnectionLost where there are too many, and once the tunnel is gone. */
	open(connection: SocketListener): ConnectionSocket {
		if (this.isLost) throw new TunnelLost();
		if (this.#streams.size >= MOST_STREAMS) throw new ConnectionLost("ECONNREFUSED");
		let number: number;
		do number = this.nextNumber();
		while (this.#streams.has(number));
		const socket = new TunnelSocket(connection, this, () => this.#streams.delete(number));
		const stream = new TunnelStream(number, this.transmit, socket);
		socket.stream = stream;
		this.#streams.set(number, stream);
		this.transmit(frame(FRAME.open, number));
		return socket;
	}

	/** Takes a frame of the agent's. Throws TunnelFault. */
	take(message: Buffer): void {
		const read = parseFrame(message);
		this.#streams.get(read.stream)?.take(read);
	}

	/** The tunnel is gone, and its streams with it: another one's are none of these. What that has taken for theirs is ended there. */
	lost(): void {
		this.isLost = true;
		const streams = [...this.#streams.values()];
		this.#streams.clear();
		for (const stream of streams) {
			if (stream.isOpen) this.transmit(frame(FRAME.reset, stream.number));
			stream.lost();
		}
	}
}

/** A stream, as a socket. */
class TunnelSocket implements ConnectionSocket, StreamReader {
	stream!: TunnelStream;
	#isHeld = false;
	/** What came while it was held. */
	#held: Buffer[] = [];
	/** How the other side has ended it, while what came before is held. */
	#end: { readonly isClean: boolean } | undefined;
	#timer: ReturnType<typeof setTimeout> | undefined;

	/** @param over called once it is */
	constructor(
		private readonly connection: SocketListener,
		private readonly tunnel: { readonly isLost: boolean },
		private readonly over: () => void,
	) {}

	write(data: string | Uint8Array, offset = 0, length = data.length - offset): number {
		if (!this.stream.isOpen) return -1;
		const bytes = typeof data === "string" ? Buffer.from(data, "latin1") : data;
		return this.stream.write(bytes.subarray(offset, offset + length));
	}

	end(): void {
		this.#close(true);
	}

	terminate(): void {
		this.#close(false);
	}

	pause(): void {
		this.#isHeld = true;
	}

	resume(): void {
		this.#isHeld = false;
		while (!this.#isHeld && this.#held.length > 0) this.#deliver(this.#held.shift()!);
		if (this.#end && this.#held.length === 0) this.closed(this.#end.isClean);
	}

	/** A tunnel keeps no process running: its agent does. */
	ref(): void {}
	unref(): void {}
	setNoDelay(): void {}
	setKeepAlive(): void {}

	timeout(seconds: number): void {
		clearTimeout(this.#timer);
		// It may be over before its connection has it: each time would set the next one, for ever.
		if (!this.stream.isOpen) return;
		this.#timer = setTimeout(() => this.connection.check(), seconds * 1000);
		this.#timer.unref();
	}

	received(bytes: Buffer): void {
		if (this.#isHeld) this.#held.push(bytes);
		else this.#deliver(bytes);
	}

	writable(): void {
		this.connection.written();
	}

	closed(isClean: boolean): void {
		if (this.#isHeld && this.#held.length > 0) {
			this.#end = { isClean };
			return;
		}
		clearTimeout(this.#timer);
		this.over();
		if (isClean) this.connection.ended();
		const error = () => (this.tunnel.isLost ? new TunnelLost() : new ConnectionLost("ECONNRESET"));
		this.connection.lost(isClean ? undefined : error());
	}

	#deliver(bytes: Buffer): void {
		this.connection.received(bytes);
		this.stream.consumed(bytes.length);
	}

	#close(isClean: boolean): void {
		clearTimeout(this.#timer);
		this.#held = [];
		this.#end = undefined;
		this.stream.close(isClean);
		this.over();
	}
}
