/**
 * An upstream on raw sockets that does what a script tells it, byte by byte:
 * everything a well-behaved HTTP server cannot do. The scripts are in `faults.ts`.
 */
import type { Socket } from "bun";
import { readRequest } from "./http-request.ts";
import type { Received } from "./replay.ts";

/** One request's side of a connection, as a script sees it. */
export interface Connection {
	readonly request: Received;
	/** 0 for the first request this upstream ever got, 1 for the next; over all connections. */
	readonly nth: number;
	/** Resolves once the kernel took every byte: false when the peer is gone. */
	write(data: string | Uint8Array): Promise<boolean>;
	/** Closes politely (FIN) after what was written. */
	end(): void;
	/** Tears the socket down (RST where the kernel lets us). */
	destroy(): void;
	/** Settles when the socket is closed, by whomever. */
	readonly closed: Promise<void>;
}

/** What to do with a request. */
export type Script = (connection: Connection) => void | Promise<void>;

/** The server. */
export interface FaultUpstream {
	readonly origin: string;
	readonly received: readonly Received[];
	/** Sockets accepted so far, and bytes the kernel took from us, over all of them. */
	readonly accepted: number;
	readonly sentBytes: number;
	/** Resolves with the socket of the next request whose script starts. */
	next(): Promise<Connection>;
	/** Sets the script for requests from now on; counts and calls start anew. */
	run(script: Script): void;
	/** What a script threw; a test ends by looking here. */
	readonly errors: readonly unknown[];
	stop(): void;
}

interface Wire {
	buffer: Buffer;
	/** Called when the socket can take more, or is closed. */
	wake: () => void;
	open: boolean;
	closed: PromiseWithResolvers<void>;
}

/** Starts it on a free loopback port. */
export function startFaultUpstream(script: Script = (connection) => connection.destroy()): FaultUpstream {
	const state = { script, received: [] as Received[], accepted: 0, sentBytes: 0, errors: [] as unknown[] };
	let waiting: ((connection: Connection) => void)[] = [];
	const sockets = new Set<Socket<Wire>>();

	function connection(socket: Socket<Wire>, request: Received): Connection {
		const wire = socket.data;
		return {
			request,
			nth: state.received.push(request) - 1,
			closed: wire.closed.promise,
			end: () => void socket.end(),
			destroy: () => void socket.terminate(),
			async write(data) {
				let bytes = Buffer.from(data as Uint8Array);
				while (wire.open) {
					const taken = Math.max(0, socket.write(bytes));
					state.sentBytes += taken;
					if (taken === bytes.length) return true;
					bytes = bytes.subarray(taken);
					await new Promise<void>((resolve) => {
						wire.wake = resolve;
					});
				}
				return false;
			},
		};
	}

	const server = Bun.listen<Wire>({
		hostname: "127.0.0.1",
		port: 0,
		socket: {
			open(socket) {
				state.accepted += 1;
				sockets.add(socket);
				socket.data = { buffer: Buffer.alloc(0), wake: () => {}, open: true, closed: Promise.withResolvers() };
			},
			data(socket, bytes) {
				const wire = socket.data;
				wire.buffer = Buffer.concat([wire.buffer, bytes]);
				for (let found = readRequest(wire.buffer); found; found = readRequest(wire.buffer)) {
					wire.buffer = found.rest;
					const current = connection(socket, found.request);
					for (const resolve of waiting) resolve(current);
					waiting = [];
					Promise.resolve(state.script(current)).catch((error) => state.errors.push(error));
				}
			},
			drain: (socket) => socket.data.wake(),
			close(socket) {
				sockets.delete(socket);
				socket.data.open = false;
				socket.data.wake();
				socket.data.closed.resolve();
			},
			error: (socket) => void socket.terminate(),
		},
	});
	return {
		origin: `http://127.0.0.1:${server.port}`,
		get received() {
			return state.received;
		},
		get accepted() {
			return state.accepted;
		},
		get sentBytes() {
			return state.sentBytes;
		},
		get errors() {
			return state.errors;
		},
		next: () => new Promise((resolve) => void waiting.push(resolve)),
		run(next) {
			Object.assign(state, { script: next, received: [], accepted: 0, sentBytes: 0, errors: [] });
		},
		stop() {
			for (const socket of sockets) socket.terminate();
			server.stop(true);
		},
	};
}
