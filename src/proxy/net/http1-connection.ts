/** One connection to an upstream, over which calls go one after the other (HTTP/1.1 without pipelining). */
import type { Socket } from "bun";
import type { BodyStream } from "../../openai/call.ts";
import type { CancelSignal, UpstreamAnswer, UpstreamRequest } from "../../providers/provider.ts";
import { messagePieces, sendStream } from "./http1-body.ts";
import { ConnectionLost, Exchange } from "./http1-exchange.ts";
import type { HeadReader } from "./http1-head.ts";
import type { ConnectionSocket, Origin } from "./http1-origin.ts";

/** What a connection tells its owner. */
export interface ConnectionOwner {
	/** Reads the heads of its origin's answers. */
	readonly heads: HeadReader;
	/** The answer is complete, and the connection may carry another call. */
	idle(connection: Http1Connection): void;
	/** It is idle, and its owner may retire it where it has been so for too long. Called every few seconds. */
	checked(connection: Http1Connection): void;
	/** It carries no more calls. */
	closed(connection: Http1Connection): void;
}

/** What is spoken, in the form of RFC 7301: some servers choose HTTP/2 for who does not say. */
const ALPN = "\x08http/1.1";

/**
 * Every how many seconds a connection is looked at. Bun's sockets have their timers looked at together, every 4 s, whenever each was set: one of 4 s
 * rings after 0 to 4. So none says how long a socket has been idle.
 */
const CHECK_SECONDS = 4;

/** Of small pieces that come within a turn, as through a tunnel, so many bytes are read together. */
const MOST_GATHERED = 16 * 1024;

/** A connected socket and the call it carries. */
export class Http1Connection {
	// What each piece of an answer needs is side by side: a connection's state has left the processor's caches by its next piece.
	#exchange: Exchange | undefined;
	/** What came of an answer within this turn of the event loop. */
	#arrived: Buffer | undefined;
	/** The request that is to be sent. */
	#request: { readonly head: string; readonly body: Body } | undefined;
	/** Its turn has an end to come. */
	#isDue = false;
	isOpen = true;
	#socket: ConnectionSocket | undefined;
	/** What of the request the kernel has not taken yet: bytes, or ASCII. */
	#unsent: (string | Buffer)[] | undefined;
	/** A body that is read while it is sent; undefined once all of it has left. */
	#stream: BodyStream | undefined;
	/** Called when the kernel has taken all of `#unsent`, or never will. */
	#whenTaken: (() => void) | undefined;
	#sawEnd = false;
	/** Why its socket is gone. */
	#lostBy: Error | undefined;
	/** Resolves once TLS speaks with whom it should. */
	readonly #secured = Promise.withResolvers<void>();
	/** Since when it carries nothing, by its owner's clock; of no meaning while it carries a call. */
	idleSince = 0;

	private constructor(private readonly owner: ConnectionOwner) {
		// Nobody waits for it where there is no TLS, or the call was given up.
		this.#secured.promise.catch(() => undefined);
	}

	/**
	 * Connects within `connectMs`, TLS included. Rejects with the socket's error, what is wrong with the certificate, ConnectionLost
	 * `ETIMEDOUT`, or the signal's reason.
	 */
	static async open(
		origin: Origin,
		connectMs: number,
		signal: CancelSignal,
		owner: ConnectionOwner,
	): Promise<Http1Connection> {
		signal.throwIfAborted();
		const connection = new Http1Connection(owner);
		const { promise: givenUp, reject } = Promise.withResolvers<never>();
		const timer = setTimeout(() => reject(new ConnectionLost("ETIMEDOUT")), connectMs);
		const leave = () => reject(signal.reason);
		signal.addEventListener("abort", leave);
		const connected = connect(origin, connection);
		try {
			const socket = await Promise.race([connected, givenUp]);
			if (origin.tls) await Promise.race([connection.#secured.promise, givenUp]);
			socket.setNoDelay(true);
			// A host that lost its power sends nothing for ever: the kernel finds out within some minutes.
			socket.setKeepAlive(true, 30_000);
			socket.timeout(CHECK_SECONDS);
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

	/** TLS speaks, or has found out why it must not. */
	secured(error: Error | undefined): void {
		if (error) this.#secured.reject(error);
		else this.#secured.resolve();
	}

	/**
	 * Sends one request and resolves with the answer's head. Only while the connection is idle.
	 * @param head each of its characters is a byte
	 */
	send(head: string, body: Body, signal: CancelSignal): Promise<UpstreamAnswer> {
		if (signal.aborted || !this.isOpen) {
			this.discard();
			return Promise.reject(signal.aborted ? signal.reason : (this.#lostBy ?? new ConnectionLost("ECONNRESET")));
		}
		const exchange = new Exchange(this, signal, this.owner.heads);
		this.#exchange = exchange;
		underWay++;
		this.#socket?.ref();
		this.#request = { head, body };
		this.#atEndOfTurn();
		return exchange.head;
	}

	/** What came up is done at the end of this turn of the event loop; at once where no other call is under way. */
	#atEndOfTurn(): void {
		if (underWay === 1) this.endTurn();
		else if (!this.#isDue) {
			this.#isDue = true;
			if (due.push(this) === 1) setImmediate(endTurn);
		}
	}

	/** Sends what is to be sent, and reads what has arrived. */
	endTurn(): void {
		this.#isDue = false;
		const request = this.#request;
		this.#request = undefined;
		if (request && this.isOpen) this.#write(request.head, request.body);
		this.#readArrived();
	}

	/** Ends the connection at once. */
	discard(): void {
		if (!this.isOpen) return;
		this.isOpen = false;
		this.#socket?.terminate();
		this.#wake();
		this.owner.closed(this);
	}

	/** Ends the connection in good order: it carries nothing, and has been idle for long. */
	retire(): void {
		this.isOpen = false;
		this.#socket?.end();
		this.owner.closed(this);
	}

	/** Carries nothing from now on: the process need not stay for it. */
	rest(now: number): void {
		this.idleSince = now;
		this.#socket?.unref();
	}

	/** Some seconds have passed. */
	check(): void {
		this.#socket?.timeout(CHECK_SECONDS);
		if (!this.#exchange && this.isOpen) this.owner.checked(this);
	}

	/** Holds the upstream back, or lets it go on. */
	hold(isHeld: boolean): void {
		if (isHeld) this.#socket?.pause();
		else this.#socket?.resume();
	}

	/** The exchange has ended: what becomes of the connection. */
	release(isReusable: boolean): void {
		this.#exchange = undefined;
		underWay--;
		if (!isReusable || this.#unsent || this.#stream || !this.isOpen) this.discard();
		else this.owner.idle(this);
	}

	#write(head: string, body: Body): void {
		if (typeof body === "object" && "read" in body) {
			this.#stream = body;
			const sent = sendStream(Buffer.from(head, "latin1"), body, this);
			sent.then(
				() => {
					this.#stream = undefined;
				},
				(cause) => this.#exchange?.fail(cause),
			);
			return;
		}
		if (head.length + mostBytes(body) > MESSAGE.length) {
			// A copy of all of it would cost more than further calls of the kernel.
			this.#unsent = messagePieces(Buffer.from(head, "latin1"), body);
			this.written();
			return;
		}
		let end = MESSAGE.write(head, 0, "latin1");
		if (typeof body === "string") end += MESSAGE.write(body, end, "utf8");
		else if (body) for (const piece of body) end += piece.copy(MESSAGE, end);
		const count = this.#socket!.write(MESSAGE, 0, end);
		if (count < end) this.#unsent = [Buffer.from(MESSAGE.subarray(Math.max(0, count), end))];
	}

	/** Resolves once the kernel has taken it, or the connection is gone. */
	take(pieces: Buffer[]): Promise<void> | undefined {
		if (!this.isOpen) return undefined;
		this.#exchange?.sends();
		this.#unsent = pieces;
		this.written();
		if (!this.#unsent) return undefined;
		return new Promise((resolve) => {
			this.#whenTaken = resolve;
		});
	}

	#wake(): void {
		const taken = this.#whenTaken;
		this.#whenTaken = undefined;
		taken?.();
	}

	/** The kernel takes bytes again. */
	written(): void {
		const unsent = this.#unsent;
		while (unsent?.[0] !== undefined) {
			const [next] = unsent;
			const count = this.#socket!.write(next);
			if (count < next.length) {
				// -1: the socket is closed, which `lost` tells.
				if (count > 0) unsent[0] = typeof next === "string" ? next.slice(count) : next.subarray(count);
				return;
			}
			unsent.shift();
		}
		this.#unsent = undefined;
		if (this.#whenTaken) this.#wake();
	}

	/** Bytes arrived. They are read at the end of the turn. */
	received(bytes: Buffer): void {
		const before = this.#arrived;
		if (before && before.length + bytes.length <= MOST_GATHERED) {
			this.#arrived = Buffer.concat([before, bytes]);
			return;
		}
		// So much comes that it is not gathered.
		this.#readArrived();
		// Bytes that nobody asked for: the next answer could be taken for another call's.
		if (!this.#exchange) this.discard();
		else if (this.#request) this.#exchange.lost(false);
		else {
			this.#arrived = bytes;
			this.#atEndOfTurn();
		}
	}

	#readArrived(): void {
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
		this.isOpen = false;
		this.#lostBy = error;
		this.#wake();
		this.secured(new ConnectionLost("ECONNRESET"));
		this.#readArrived();
		this.#exchange?.lost(this.#sawEnd && error === undefined, error);
		this.owner.closed(this);
	}
}

/** Calls under way on all connections. */
let underWay = 0;
/** Connections on which something came up in this turn of the event loop: a request, or bytes. */
let due: Http1Connection[] = [];

/**
 * Requests that were made within one turn leave in a row, and what the turn has read from all connections is handed on together, so that what
 * clients are sent of it leaves in a row, too: one by one between the reads, each would wake its reader anew, and what is done for each would
 * push that of the others out of the processor's caches.
 */
function endTurn(): void {
	const connections = due;
	due = [];
	for (const connection of connections) connection.endTurn();
}

/** Of a request; see UpstreamRequest. */
type Body = UpstreamRequest["body"];

function mostBytes(body: Exclude<Body, BodyStream>): number {
	if (typeof body === "string") return 3 * body.length;
	let sum = 0;
	if (body) for (const piece of body) sum += piece.length;
	return sum;
}

/** Where messages are put together: one for all, since the kernel takes a copy. */
const MESSAGE = Buffer.allocUnsafeSlow(64 * 1024);

function connect({ hostname, port, tls, open }: Origin, data: Http1Connection): Promise<ConnectionSocket> {
	if (open) return open(data);
	if (!tls) return Bun.connect({ hostname, port, data, socket: HANDLERS });
	return Bun.connect({ hostname, port, data, socket: HANDLERS, tls: { ...tls, ALPNProtocols: ALPN } });
}

/** One set for all connections: a set a connection would be compiled anew. */
const HANDLERS = {
	handshake(socket: Socket<Http1Connection>, isDone: boolean, error: Error | null) {
		const isTrusted = isDone && !error && socket.authorized;
		socket.data.secured(isTrusted ? undefined : (error ?? new ConnectionLost("ECONNRESET")));
	},
	data: (socket: Socket<Http1Connection>, bytes: Buffer) => socket.data.received(bytes),
	drain: (socket: Socket<Http1Connection>) => socket.data.written(),
	end: (socket: Socket<Http1Connection>) => socket.data.ended(),
	timeout: (socket: Socket<Http1Connection>) => socket.data.check(),
	close: (socket: Socket<Http1Connection>, error?: Error) => socket.data.lost(error),
	// Told by the promise of Bun.connect, and by `close`.
	connectError: () => undefined,
	error: () => undefined,
};
