/** One connection to an upstream, over which calls go one after the other (HTTP/1.1 without pipelining). */
import type { Socket } from "bun";
import type { ByteSource, UpstreamAnswer } from "../../providers/provider.ts";
import { AnswerParser } from "./http1-parser.ts";

/** Unread bytes of an answer from which on its upstream is held back by TCP, and those at which it may go on. */
const HIGH_WATER = 256 * 1024;
const LOW_WATER = 64 * 1024;

/** A connection that ended where none should; `code` as Node's sockets name it. */
export class ConnectionLost extends Error {
	constructor(readonly code: string) {
		super("the connection was lost");
	}
}

/** What a connection tells its owner. */
export interface ConnectionOwner {
	/** The answer is complete, and the connection may carry another call. */
	idle(connection: Http1Connection): void;
	/** It carries no more calls. */
	closed(connection: Http1Connection): void;
}

/** Where to connect to. */
export interface Origin {
	/** Without brackets. */
	readonly hostname: string;
	readonly port: number;
}

/** A connected socket and the call it carries. */
export class Http1Connection {
	#socket: Socket<Http1Connection> | undefined;
	#exchange: Exchange | undefined;
	/** What of the request the kernel has not taken yet. */
	#unsent: string | Buffer | undefined;
	/** What came within this turn of the event loop. */
	#arrived: Buffer | undefined;
	#sawEnd = false;
	isOpen = true;

	private constructor(private readonly owner: ConnectionOwner) {}

	/** Connects within `connectMs`. Rejects with the socket's error, ConnectionLost `ETIMEDOUT`, or the signal's reason. */
	static async open(
		origin: Origin,
		connectMs: number,
		signal: AbortSignal,
		owner: ConnectionOwner,
	): Promise<Http1Connection> {
		signal.throwIfAborted();
		const connection = new Http1Connection(owner);
		const { promise: givenUp, reject } = Promise.withResolvers<never>();
		const timer = setTimeout(() => reject(new ConnectionLost("ETIMEDOUT")), connectMs);
		const leave = () => reject(signal.reason);
		signal.addEventListener("abort", leave);
		const connected = Bun.connect({ ...origin, data: connection, socket: HANDLERS });
		try {
			const socket = await Promise.race([connected, givenUp]);
			socket.setNoDelay(true);
			// A host that lost its power sends nothing for ever: the kernel finds out within some minutes.
			socket.setKeepAlive(true, 30_000);
			connection.#socket = socket;
			return connection;
		} catch (error) {
			// It may connect later, when nobody waits for it any more.
			connected.then(
				(socket) => socket.terminate(),
				() => undefined,
			);
			throw error;
		} finally {
			clearTimeout(timer);
			signal.removeEventListener("abort", leave);
		}
	}

	/** Sends one request and resolves with the answer's head. Only while the connection is idle. */
	send(request: string | Buffer, signal: AbortSignal): Promise<UpstreamAnswer> {
		if (signal.aborted) {
			this.discard();
			return Promise.reject(signal.reason);
		}
		const exchange = new Exchange(this, signal);
		this.#exchange = exchange;
		this.#socket?.ref();
		this.#socket?.timeout(0);
		this.#unsent = request;
		this.written();
		return exchange.head;
	}

	/** Ends the connection at once. */
	discard(): void {
		if (!this.isOpen) return;
		this.isOpen = false;
		this.#socket?.terminate();
		this.owner.closed(this);
	}

	/** Ends the connection in good order: it carries nothing, and has been idle for long. */
	retire(): void {
		this.isOpen = false;
		this.#socket?.end();
		this.owner.closed(this);
	}

	/** Carries nothing: the process need not stay for it, and it ends by itself after so many seconds (Bun counts in steps of 4). */
	rest(seconds: number): void {
		this.#socket?.unref();
		this.#socket?.timeout(seconds);
	}

	/** Holds the upstream back, or lets it go on. */
	hold(isHeld: boolean): void {
		if (isHeld) this.#socket?.pause();
		else this.#socket?.resume();
	}

	/** The exchange has ended: what becomes of the connection. */
	release(isReusable: boolean): void {
		this.#exchange = undefined;
		if (!isReusable || this.#unsent || !this.isOpen) this.discard();
		else this.owner.idle(this);
	}

	/** The kernel takes bytes again. */
	written(): void {
		if (!this.#unsent || !this.#socket) return;
		const count = this.#socket.write(this.#unsent);
		// -1: the socket is closed, which `lost` tells.
		if (count >= Buffer.byteLength(this.#unsent)) this.#unsent = undefined;
		else if (count > 0) this.#unsent = asBuffer(this.#unsent).subarray(count);
	}

	/** Bytes arrived. They are read by `deliver`. */
	received(bytes: Buffer): void {
		const isQueued = this.#arrived !== undefined;
		// So much comes that it is not gathered.
		if (isQueued) this.deliver();
		// Bytes that nobody asked for: the next answer could be taken for another call's.
		if (!this.#exchange) {
			this.discard();
			return;
		}
		this.#arrived = bytes;
		if (isQueued) return;
		if (undelivered.length === 0) setImmediate(deliverAll);
		undelivered.push(this);
	}

	/** Hands on what has arrived. */
	deliver(): void {
		const bytes = this.#arrived;
		this.#arrived = undefined;
		if (bytes) this.#exchange?.received(bytes);
	}

	/** The upstream has closed its side in good order. */
	ended(): void {
		this.#sawEnd = true;
	}

	/** The socket is gone. */
	lost(error: Error | undefined): void {
		this.deliver();
		this.isOpen = false;
		this.#exchange?.lost(this.#sawEnd && error === undefined);
		this.owner.closed(this);
	}
}

/** Connections whose bytes are still to be delivered. */
let undelivered: Http1Connection[] = [];

/**
 * What one turn of the event loop has read from all connections is handed on together, so that what their clients are sent of it leaves in a
 * row: sent one by one between the reads, each piece would wake its reader anew, which costs the kernel more than all else of a piece.
 */
function deliverAll(): void {
	const connections = undelivered;
	undelivered = [];
	for (const connection of connections) connection.deliver();
}

const asBuffer = (bytes: string | Buffer): Buffer => (typeof bytes === "string" ? Buffer.from(bytes) : bytes);

/** One set for all connections: a set a connection would be compiled anew. */
const HANDLERS = {
	data: (socket: Socket<Http1Connection>, bytes: Buffer) => socket.data.received(bytes),
	drain: (socket: Socket<Http1Connection>) => socket.data.written(),
	end: (socket: Socket<Http1Connection>) => socket.data.ended(),
	timeout: (socket: Socket<Http1Connection>) => socket.data.retire(),
	close: (socket: Socket<Http1Connection>, error?: Error) => socket.data.lost(error),
	// Told by the promise of Bun.connect, and by `close`.
	connectError: () => undefined,
	error: () => undefined,
};

/** One request's answer on its way. */
class Exchange implements ByteSource {
	readonly #parser = new AnswerParser();
	readonly #head = Promise.withResolvers<UpstreamAnswer>();
	readonly #pieces: Buffer[] = [];
	#size = 0;
	#isHeld = false;
	/** Why there will be no more bytes; `null` where the answer is complete. */
	#end: { readonly reason: unknown } | null | undefined;
	#waiting: { resolve(bytes: Uint8Array | undefined): void; reject(reason: unknown): void } | undefined;

	constructor(
		private readonly connection: Http1Connection,
		private readonly signal: AbortSignal,
	) {
		signal.addEventListener("abort", this.#abort);
	}

	get head(): Promise<UpstreamAnswer> {
		return this.#head.promise;
	}

	read(): Promise<Uint8Array | undefined> {
		const piece = this.#pieces.shift();
		if (piece) {
			this.#size -= piece.length;
			if (this.#isHeld && this.#size < LOW_WATER) this.#hold(false);
			return Promise.resolve(piece);
		}
		if (this.#end === null) return Promise.resolve(undefined);
		if (this.#end) return Promise.reject(this.#end.reason);
		return new Promise((resolve, reject) => {
			this.#waiting = { resolve, reject };
		});
	}

	received(bytes: Buffer): void {
		const hadHead = this.#parser.head !== undefined;
		let piece: Buffer | undefined;
		try {
			piece = this.#parser.push(bytes);
		} catch (error) {
			this.#close({ reason: error });
			return;
		}
		const { head } = this.#parser;
		if (head && !hadHead) this.#head.resolve({ ...head, body: this });
		if (piece) this.#take(piece);
		if (this.#parser.isDone) this.#close(null);
	}

	/** The connection is gone; `isClean`: the upstream closed it in good order. */
	lost(isClean: boolean): void {
		const isComplete = isClean && this.#parser.close();
		this.#close(isComplete ? null : { reason: new ConnectionLost("ECONNRESET") });
	}

	#take(piece: Buffer): void {
		const waiting = this.#waiting;
		if (waiting) {
			this.#waiting = undefined;
			waiting.resolve(piece);
			return;
		}
		this.#pieces.push(piece);
		this.#size += piece.length;
		if (!this.#isHeld && this.#size > HIGH_WATER) this.#hold(true);
	}

	#hold(isHeld: boolean): void {
		this.#isHeld = isHeld;
		this.connection.hold(isHeld);
	}

	readonly #abort = (): void => {
		this.#pieces.length = 0;
		this.#close({ reason: this.signal.reason });
	};

	#close(end: { readonly reason: unknown } | null): void {
		if (this.#end !== undefined) return;
		this.#end = end;
		this.signal.removeEventListener("abort", this.#abort);
		const waiting = this.#waiting;
		this.#waiting = undefined;
		if (end) {
			this.#head.reject(end.reason);
			waiting?.reject(end.reason);
		} else waiting?.resolve(undefined);
		if (this.#isHeld) this.#hold(false);
		this.connection.release(end === null && this.#parser.isReusable);
	}
}
