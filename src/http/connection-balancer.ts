/**
 * A port whose connections are passed on, as bytes, to servers of this process's threads, each to the one that has the fewest: for systems that do
 * not spread the connections of a port over several listeners. TLS, WebSockets and streams stay as they are: the servers speak with clients
 * themselves. Each listens on loopback (`passed-connections.ts`).
 */
import type { Socket, TCPSocketListener } from "bun";
import { PIPE_HANDLERS, PipeEnd } from "./connection-pipe.ts";
import { bindProblem } from "./listen.ts";
import { PASSING_HOST } from "./passed-connections.ts";
import type { PeerAddresses } from "./peer-addresses.ts";

/** How long until a connection that no server took is offered again, ms. */
const RETRY_MS = 20;

/** A server that connections are passed on to. */
export interface Backend {
	/** Its port on {@link PASSING_HOST}; it may change. */
	readonly port: number;
	/** Where it finds who is at the other end of a connection. */
	readonly peers: PeerAddresses;
	/** It takes connections. */
	readonly isRunning: boolean;
	/**
	 * Resolves with whether the server runs, by its own word, given since this was asked: then it is the one that listens on `port`. That of one
	 * that has died, of which nobody knows yet, any program of this machine may have taken.
	 */
	confirm(): Promise<boolean>;
}

/** A connection of a client. */
interface Passed {
	readonly client: PipeEnd;
	readonly address: string;
	/** Its server may have had bytes of it. */
	isJoined: boolean;
}

/** The port. */
export class ConnectionBalancer {
	readonly port: number;
	readonly #listener: TCPSocketListener<PipeEnd>;
	/** What each server has, the one that is being connected to it included. */
	readonly #backends = new Map<Backend, Set<Passed>>();
	/** For which there was no server yet. */
	readonly #waiting = new Set<Passed>();
	/** All that are open. */
	readonly #open = new Set<Passed>();
	/** Those that a server is being found for. */
	readonly #assigning = new Set<Promise<void>>();
	#whenEmpty: (() => void) | undefined;
	#isCut = false;

	/**
	 * Listens. Connections wait until there is a server.
	 * @param port 0 picks one
	 * @throws {StartError} as `listen` does
	 */
	constructor(host: string, port: number) {
		const open = (socket: Socket<PipeEnd>) => this.#accept(socket);
		try {
			const socket = { ...PIPE_HANDLERS, open };
			this.#listener = Bun.listen<PipeEnd>({ hostname: host, port, exclusive: true, socket });
		} catch (cause) {
			throw bindProblem(cause, host, port);
		}
		this.port = this.#listener.port;
	}

	/** Passes connections on to this one, too. */
	add(backend: Backend): void {
		this.#backends.set(backend, new Set());
		const waiting = [...this.#waiting];
		this.#waiting.clear();
		for (const passed of waiting) this.#assign(passed);
	}

	/** The server is gone: so are its connections, but those of which it has had nothing. */
	remove(backend: Backend): void {
		const those = this.#backends.get(backend);
		this.#backends.delete(backend);
		for (const { client, isJoined } of those ?? []) if (isJoined) client.terminate();
	}

	/** Takes no more connections. Resolves when each server has those that were taken before; where there is none they are reset. */
	async stop(): Promise<void> {
		this.#listener.stop();
		for (const { client } of this.#waiting) client.terminate();
		await Promise.all(this.#assigning);
	}

	/** Resolves when the last connection is over, with all that its client was sent. */
	async drained(): Promise<void> {
		if (this.#open.size === 0) return;
		const { promise, resolve } = Promise.withResolvers<void>();
		this.#whenEmpty = resolve;
		await promise;
	}

	/** Ends all connections at once, and takes none. */
	cut(): void {
		this.#isCut = true;
		this.#listener.stop();
		for (const { client } of this.#open) client.terminate();
	}

	#accept(socket: Socket<PipeEnd>): void {
		const client = new PipeEnd(() => this.#closing(passed));
		// A client that has left already has none, whatever Bun's types say.
		const passed: Passed = { client, address: socket.remoteAddress ?? "", isJoined: false };
		socket.data = client;
		client.opened(socket);
		this.#open.add(passed);
		if (this.#isCut) client.terminate();
		else this.#assign(passed);
	}

	#closing(passed: Passed): void {
		this.#open.delete(passed);
		this.#waiting.delete(passed);
		for (const those of this.#backends.values()) those.delete(passed);
		if (this.#open.size === 0) this.#whenEmpty?.();
	}

	#assign(passed: Passed): void {
		const assigning = this.#assignTo(passed).finally(() => this.#assigning.delete(assigning));
		this.#assigning.add(assigning);
	}

	/** Finds a server for it, for as long as its client stays. */
	async #assignTo(passed: Passed): Promise<void> {
		while (this.#open.has(passed)) {
			const backend = this.#fewest();
			if (!backend) {
				this.#waiting.add(passed);
				return;
			}
			const those = this.#backends.get(backend)!;
			those.add(passed);
			if (await this.#passOn(passed, backend)) return;
			those.delete(passed);
			await Bun.sleep(RETRY_MS);
		}
	}

	#fewest(): Backend | undefined {
		let found: Backend | undefined;
		let fewest = Number.POSITIVE_INFINITY;
		for (const [backend, { size }] of this.#backends) {
			if (!backend.isRunning || size >= fewest) continue;
			found = backend;
			fewest = size;
		}
		return found;
	}

	/** Whether the server has it, or nobody wants it any more. Nothing of it is sent to a server that it can't be sure of. */
	async #passOn(passed: Passed, backend: Backend): Promise<boolean> {
		const { client, address } = passed;
		const { port, peers } = backend;
		let from: number | undefined;
		const server = new PipeEnd(() => {
			if (from !== undefined) peers.clear(from);
		});
		try {
			const connect = { hostname: PASSING_HOST, port, data: server, socket: PIPE_HANDLERS };
			const socket = await Bun.connect<PipeEnd>(connect);
			server.opened(socket);
			from = socket.localPort;
			peers.set(from, address);
		} catch {
			server.terminate();
			return false;
		}
		const isSure = (await backend.confirm()) && backend.port === port && this.#backends.has(backend);
		if (!isSure || !server.isOpen || !client.isOpen) {
			server.terminate();
			return !client.isOpen;
		}
		passed.isJoined = true;
		client.join(server);
		return true;
	}
}
