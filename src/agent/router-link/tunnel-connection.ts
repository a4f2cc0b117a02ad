/** One WebSocket of an agent to a router, and the streams that the router opens over it. */

import { FRAME, frame, PING_MS, parseHello, SILENCE_MS, TUNNEL_CLOSE, TunnelFault } from "../../protocol/tunnel.ts";
import { publicAuthorities } from "../../public-authorities.ts";
import { FrameBatch } from "./frame-batch.ts";
import { type AgentAddress, TunnelPipes } from "./tunnel-pipe.ts";

/** How long it may take until the router says which one it is, ms. */
const OPEN_MS = 10_000;

/** Where it leads, and how. */
export interface TunnelRoute {
	/** `wss://router:8000/agents/tunnel` */
	readonly url: string;
	readonly headers: Record<string, string>;
	/** Where the agent listens: what the router asks goes there. */
	readonly site: AgentAddress;
	/** PEM with further certificate authorities. */
	readonly ca: string | undefined;
	/** Of an HTTP proxy. */
	readonly proxy: string | undefined;
}

/** How it has ended. */
export interface TunnelEnd {
	/** How long it was open, ms; undefined where it never was. */
	readonly openMs: number | undefined;
	/** See `TUNNEL_CLOSE`, and RFC 6455, 7.4. */
	readonly code: number;
	/** Why, one clause for a person. */
	readonly why: string;
}

/** Who hears of it. */
export interface TunnelListener {
	/** It is open: the router has said which it is, and which others there are. Again when that has changed. */
	told(connection: TunnelConnection): void;
	/** It is over. Once. */
	closed(connection: TunnelConnection, end: TunnelEnd): void;
}

/** The WebSocket. Nothing of it throws. */
export class TunnelConnection {
	/** The router's name; undefined until it has said that. */
	router: string | undefined;
	/** All routers among which that one is. */
	routers: readonly string[] = [];
	readonly #socket: WebSocket;
	readonly #pipes: TunnelPipes;
	readonly #batch: FrameBatch;
	readonly #timer: ReturnType<typeof setTimeout>;
	#pings: ReturnType<typeof setInterval> | undefined;
	#openedAt = 0;
	#heardAt = 0;
	/** Why this side ended it. */
	#why: string | undefined;

	/** Begins to open it. */
	constructor(
		{ url, headers, site, ca, proxy }: TunnelRoute,
		private readonly listener: TunnelListener,
	) {
		const tls = ca === undefined ? {} : { tls: { ca: [...publicAuthorities(), ca] } };
		const socket = new WebSocket(url, { headers, ...tls, ...(proxy === undefined ? {} : { proxy }) } as never);
		this.#socket = socket;
		socket.binaryType = "nodebuffer";
		this.#batch = new FrameBatch((message) => socket.send(message as Buffer<ArrayBuffer>));
		this.#pipes = new TunnelPipes(site, (message) => this.#batch.send(message));
		this.#timer = setTimeout(() => socket.terminate(), OPEN_MS);
		socket.onmessage = ({ data }) => this.#received(data as unknown as Buffer | string);
		// What is wrong is told by `close`.
		socket.onerror = () => undefined;
		socket.onclose = ({ code, reason }) => this.#closed(code, reason);
	}

	/** Ends it in good order. */
	close(): void {
		this.#batch.flush();
		this.#socket.close(1001);
	}

	/** Breaks it, as a network does. */
	cut(): void {
		this.#socket.terminate();
	}

	#received(message: Buffer | string): void {
		this.#heardAt = performance.now();
		try {
			if (typeof message === "string") throw new TunnelFault("a frame must be binary");
			if (message[0] === FRAME.hello) this.#told(message);
			else if (message[0] !== FRAME.pong) this.#pipes.take(message);
		} catch (thrown) {
			if (!(thrown instanceof TunnelFault)) throw thrown;
			this.#why = `the router does not keep to the tunnel's protocol: ${thrown.message}`;
			this.#socket.close(TUNNEL_CLOSE.fault, thrown.message);
		}
	}

	#told(message: Buffer): void {
		const { router, routers, takesBatches } = parseHello(message);
		this.routers = routers;
		this.#batch.isTaken = takesBatches === true;
		if (this.router === undefined) {
			this.router = router;
			clearTimeout(this.#timer);
			this.#openedAt = this.#heardAt;
			this.#pings = setInterval(() => this.#ping(), PING_MS);
			this.#pings.unref();
		}
		this.listener.told(this);
	}

	#ping(): void {
		if (performance.now() - this.#heardAt <= SILENCE_MS) {
			this.#batch.send(frame(FRAME.ping, 0));
			return;
		}
		this.#why = `the router gave no sign of life for ${SILENCE_MS / 1000} s`;
		this.#socket.terminate();
	}

	#closed(code: number, reason: string): void {
		clearTimeout(this.#timer);
		clearInterval(this.#pings);
		this.#batch.end();
		this.#pipes.lost();
		const openMs = this.router === undefined ? undefined : performance.now() - this.#openedAt;
		this.listener.closed(this, { openMs, code, why: this.#why ?? whyClosed(code, reason) });
	}
}

/** What a close code means to a person. */
function whyClosed(code: number, reason: string): string {
	if (code === TUNNEL_CLOSE.stopping) return "the router is stopping";
	if (code === 1006) return "the connection broke";
	return `the router, or a proxy in between, closed it with code ${code}${reason ? `: ${reason.replace(/\.$/, "")}` : ""}`;
}
