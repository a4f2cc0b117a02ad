/** The agent's end of a tunnel's streams: each is a connection to where the agent listens. */
import type { Socket } from "bun";
import { FRAME, frame, MOST_STREAMS, openerOf, parseFrame } from "../../protocol/tunnel.ts";
import { type StreamReader, TunnelStream } from "../../protocol/tunnel-stream.ts";

/** Where the agent listens: at a port, or at a Unix socket. */
export type AgentAddress = { readonly hostname: string; readonly port: number } | { readonly unix: string };

/** All streams of one tunnel. */
export class TunnelPipes {
	readonly #pipes = new Map<number, Pipe>();

	/** @param transmit sends a frame to the router */
	constructor(
		private readonly site: AgentAddress,
		private readonly transmit: (frame: Buffer) => void,
	) {}

	/** Takes a frame of the router's. Throws TunnelFault. */
	take(message: Buffer): void {
		const read = parseFrame(message);
		const { type, stream: number } = read;
		if (type === FRAME.open) this.#open(number);
		else if (type === FRAME.gone) this.#endAll((each) => openerOf(each) === openerOf(number));
		else this.#pipes.get(number)?.stream.take(read);
	}

	/** The tunnel is gone: calls that came over it are given up. */
	lost(): void {
		this.#endAll(() => true);
	}

	#open(number: number): void {
		if (this.#pipes.size >= MOST_STREAMS || this.#pipes.has(number)) {
			this.transmit(frame(FRAME.reset, number));
			return;
		}
		const pipe = new Pipe(number, this.transmit, () => this.#pipes.delete(number));
		this.#pipes.set(number, pipe);
		pipe.connect(this.site);
	}

	#endAll(isMeant: (number: number) => boolean): void {
		for (const [number, pipe] of [...this.#pipes]) if (isMeant(number)) pipe.stream.lost();
	}
}

/** One stream and its connection. */
class Pipe implements StreamReader {
	readonly stream: TunnelStream;
	#socket: Socket<Pipe> | undefined;
	/** What the connection has not taken yet, from the router; and the stream, from the agent. */
	#toAgent: Buffer[] = [];
	#toRouter: Buffer[] = [];
	/** The agent has closed the connection, in good order or not, while bytes wait. */
	#end: { readonly isClean: boolean } | undefined;
	/** The router has ended the stream, while bytes wait. */
	#isEnding = false;

	constructor(
		number: number,
		transmit: (frame: Buffer) => void,
		private readonly over: () => void,
	) {
		this.stream = new TunnelStream(number, transmit, this);
	}

	connect(site: AgentAddress): void {
		const own = { data: this as Pipe, socket: HANDLERS };
		const connecting = "unix" in site ? Bun.connect({ ...site, ...own }) : Bun.connect({ ...site, ...own });
		connecting.catch(() => this.disconnected(false));
	}

	connected(socket: Socket<Pipe>): void {
		this.#socket = socket;
		socket.setNoDelay(true);
		if (this.stream.isOpen) this.flush();
		else socket.terminate();
	}

	// From the router.

	received(bytes: Buffer): void {
		this.#toAgent.push(bytes);
		if (this.#toAgent.length === 1) this.flush();
	}

	/** The connection takes bytes. */
	flush(): void {
		const socket = this.#socket;
		for (let next = this.#toAgent[0]; socket && next; next = this.#toAgent[0]) {
			const count = Math.max(0, socket.write(next));
			this.stream.consumed(count);
			if (count < next.length) {
				this.#toAgent[0] = next.subarray(count);
				return;
			}
			this.#toAgent.shift();
		}
		if (socket && this.#isEnding) socket.end();
	}

	closed(isClean: boolean): void {
		this.over();
		this.#isEnding = isClean;
		if (!isClean) this.#socket?.terminate();
		else if (this.#toAgent.length === 0) this.#socket?.end();
	}

	// From the agent.

	sent(bytes: Buffer): void {
		if (this.#toRouter.length > 0) {
			this.#toRouter.push(Buffer.from(bytes));
			return;
		}
		const count = this.stream.write(bytes);
		if (count === bytes.length) return;
		this.#toRouter.push(Buffer.from(bytes.subarray(count)));
		this.#socket?.pause();
	}

	writable(): void {
		for (let next = this.#toRouter[0]; next; next = this.#toRouter[0]) {
			const count = this.stream.write(next);
			if (count < next.length) {
				this.#toRouter[0] = next.subarray(count);
				return;
			}
			this.#toRouter.shift();
		}
		if (this.#end) this.#close(this.#end.isClean);
		else this.#socket?.resume();
	}

	/** The connection is gone, or has not come about. */
	disconnected(isClean: boolean): void {
		if (this.#toRouter.length > 0 && isClean) this.#end = { isClean };
		else this.#close(isClean);
	}

	#close(isClean: boolean): void {
		this.stream.close(isClean);
		this.over();
	}
}

/** One set for all: a set a connection would be compiled anew. */
const HANDLERS = {
	open: (socket: Socket<Pipe>) => socket.data.connected(socket),
	data: (socket: Socket<Pipe>, bytes: Buffer) => socket.data.sent(bytes),
	drain: (socket: Socket<Pipe>) => socket.data.flush(),
	close: (socket: Socket<Pipe>, error?: Error) => socket.data.disconnected(error === undefined),
	// Told by the promise of Bun.connect, and by `close`.
	connectError: () => undefined,
	error: () => undefined,
};
