/** A connection to a ZeroMQ socket of this host (`ipc://`), with its deadlines. */
import type { Socket } from "bun";
import { ZmtpClient, ZmtpFault, type ZmtpRole, zmtpGreeting, zmtpMessage, zmtpPing } from "./zmtp.ts";

/** How long connecting and the handshake may take, ms. */
const HANDSHAKE_MS = 5_000;
/** How often the peer is asked for a sign of life, and after how long without one it counts as gone, ms. */
const PING_MS = 10_000;
const SILENCE_MS = 30_000;

/** Where it leads, and what becomes of it. */
export interface ZmtpTarget {
	/** Of the Unix socket. */
	readonly path: string;
	readonly role: ZmtpRole;
	/** Of `SUB`: see ZmtpClient. */
	readonly topic?: string;
	/** The handshake is over. */
	ready?(): void;
	message(frames: readonly Buffer[]): void;
	/** It has ended, or has not come about; called once, not after `close`. One sentence's end: `refuses connections`. @param code where it has not come about */
	closed(why: string, code?: string): void;
}

/** Opens a connection. Nothing is thrown: `closed` is told. */
export function openZmtp(target: ZmtpTarget): ZmtpSocket {
	const socket = new ZmtpSocket(target);
	socket.connect();
	return socket;
}

/** One connection. */
export class ZmtpSocket {
	readonly #client: ZmtpClient;
	#socket: Socket<ZmtpSocket> | undefined;
	/** What the connection has not taken yet. */
	#unsent: Buffer = Buffer.alloc(0);
	#timer: ReturnType<typeof setTimeout>;
	#heardAt = performance.now();
	#isOver = false;

	constructor(private readonly target: ZmtpTarget) {
		const handler = {
			send: (bytes: Buffer) => this.#write(bytes),
			ready: () => this.#ready(),
			message: (frames: readonly Buffer[]) => target.message(frames),
		};
		this.#client = new ZmtpClient(target.role, handler, target.topic);
		this.#timer = setTimeout(() => this.ended("does not shake hands"), HANDSHAKE_MS);
		this.#timer.unref();
	}

	connect(): void {
		const { path } = this.target;
		Bun.connect({ unix: path, data: this as ZmtpSocket, socket: HANDLERS }).catch((thrown: unknown) => {
			const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "unknown";
			this.ended(`can't be reached (${code})`, code);
		});
	}

	/** Sends a message; not before `ready`. */
	send(frames: readonly Uint8Array[]): void {
		this.#write(zmtpMessage(frames));
	}

	/** Ends it; `closed` is not told. */
	close(): void {
		this.#isOver = true;
		clearTimeout(this.#timer);
		this.#socket?.terminate();
	}

	// By the socket's handlers.

	connected(socket: Socket<ZmtpSocket>): void {
		if (this.#isOver) {
			socket.terminate();
			return;
		}
		this.#socket = socket;
		this.#write(zmtpGreeting());
	}

	received(bytes: Buffer): void {
		if (this.#isOver) return;
		this.#heardAt = performance.now();
		try {
			this.#client.push(bytes);
		} catch (thrown) {
			if (!(thrown instanceof ZmtpFault)) throw thrown;
			this.ended(thrown.message);
		}
	}

	flush(): void {
		const bytes = this.#unsent;
		this.#unsent = Buffer.alloc(0);
		this.#write(bytes);
	}

	ended(why: string, code?: string): void {
		if (this.#isOver) return;
		this.close();
		this.target.closed(why, code);
	}

	#write(bytes: Buffer): void {
		if (this.#isOver || !this.#socket || bytes.length === 0) return;
		const all = this.#unsent.length > 0 ? Buffer.concat([this.#unsent, bytes]) : bytes;
		this.#unsent = all.subarray(Math.max(0, this.#socket.write(all)));
	}

	#ready(): void {
		clearTimeout(this.#timer);
		this.#timer = setInterval(() => this.#check(), PING_MS);
		this.#timer.unref();
		this.target.ready?.();
	}

	/** A peer of before 3.1 gives no sign of life of its own: there TCP has to find out. */
	#check(): void {
		if (!this.#client.answersPings) return;
		if (performance.now() - this.#heardAt > SILENCE_MS) this.ended("is silent");
		else this.#write(zmtpPing(SILENCE_MS));
	}
}

/** One set for all: a set a connection would be compiled anew. */
const HANDLERS = {
	open: (socket: Socket<ZmtpSocket>) => socket.data.connected(socket),
	data: (socket: Socket<ZmtpSocket>, bytes: Buffer) => socket.data.received(bytes),
	drain: (socket: Socket<ZmtpSocket>) => socket.data.flush(),
	close: (socket: Socket<ZmtpSocket>) => socket.data.ended("has closed the connection"),
	// Told by the promise of Bun.connect, and by `close`.
	connectError: () => undefined,
	error: () => undefined,
};
