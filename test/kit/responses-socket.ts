/** A client of the WebSocket at `/v1/responses`. */
import type { Json, Loose } from "./exchange.ts";

/** The events that end a response, or stand for one. */
const LAST = /^(?:response\.(?:completed|incomplete|failed)|error)$/;

/** A client. */
export interface SocketClient {
	readonly socket: WebSocket;
	/** All events so far. */
	readonly events: readonly Loose[];
	/** Resolves with the code once it is closed. */
	readonly closed: Promise<number>;
	send(frame: Json | string | Uint8Array): void;
	/** The next event. Rejects where the connection closes before. */
	next(): Promise<Loose>;
	/** The events up to the last one of a response. */
	response(): Promise<readonly Loose[]>;
	/** Sends a call, and resolves with its events. */
	create(body: Json): Promise<readonly Loose[]>;
}

/** Connects. Rejects where that is refused. @param url of the router */
export async function connectSocket(url: string, headers: Record<string, string> = {}): Promise<SocketClient> {
	const socket = new WebSocket(`${url.replace(/^http/, "ws")}/v1/responses`, { headers } as never);
	const opened = Promise.withResolvers<void>();
	const closed = Promise.withResolvers<number>();
	const events: Loose[] = [];
	let read = 0;
	let wake = Promise.withResolvers<void>();
	let isClosed = false;
	const ring = () => {
		wake.resolve();
		wake = Promise.withResolvers<void>();
	};
	socket.onopen = () => opened.resolve();
	socket.onerror = () => opened.reject(new Error("the connection was refused"));
	socket.onclose = ({ code }) => {
		isClosed = true;
		opened.reject(new Error(`closed with ${code}`));
		closed.resolve(code);
		ring();
	};
	socket.onmessage = ({ data }) => {
		events.push(JSON.parse(String(data)));
		ring();
	};
	await opened.promise;
	const client: SocketClient = {
		socket,
		events,
		closed: closed.promise,
		send: (frame) =>
			socket.send(typeof frame === "string" || frame instanceof Uint8Array ? frame : JSON.stringify(frame)),
		async next() {
			while (read === events.length) {
				if (isClosed) throw new Error("the connection is closed");
				await wake.promise;
			}
			return events[read++]!;
		},
		async response() {
			const all: Loose[] = [];
			do all.push(await client.next());
			while (!LAST.test(all.at(-1)!["type"]));
			return all;
		},
		create(body) {
			client.send({ type: "response.create", ...body });
			return client.response();
		},
	};
	return client;
}
