/** Listening on an address: Bun's server with the options a streaming proxy needs, and TLS that follows its files. */
import type { AnyElysia } from "elysia";
import { StartError } from "../errors.ts";
import type { Log } from "../telemetry/log.ts";
import { type InheritedSocket, listenOn } from "./inherited-socket.ts";
import type { Stoppable } from "./lifecycle.ts";
import { nameClients, PASSING_HOST } from "./passed-connections.ts";
import type { PeerAddresses } from "./peer-addresses.ts";
import { readTls, type TlsFiles, type TlsPair, watchTls } from "./tls.ts";

/** Seconds without a byte until Bun closes a connection (slow loris). Calls that take their time lift it, and so do streams of logs. */
export const IDLE_SECONDS = 30;

/**
 * Bun answers a longer body with a bare 413 that no handler sees, so its limit (1 TiB at least) lies out of reach:
 * the handlers count bytes themselves and answer `body_too_large`.
 */
const BUN_BODY_LIMIT = 2 ** 40;

/** Where to listen. */
export interface ListenOptions {
	readonly host: string;
	/** 0 picks a free one. */
	readonly port: number;
	/** PEM files; absent for plain HTTP. */
	readonly tls?: TlsFiles | undefined;
	/** The certificate, where another thread reads the files, and gives those that follow to `useCertificate`. */
	readonly certificate?: TlsPair | undefined;
	/** The largest body the handlers take, bytes. */
	readonly bodyLimit: number;
	/** For messages about certificates. */
	readonly log: Pick<Log, "logger">;
	/** How often certificate files are read, ms; default: 10 s. */
	readonly tlsPollMs?: number;
	/** Others may listen there, too; absent: it is this server's alone. */
	readonly sharing?: PortSharing | undefined;
	/** An abstract Unix socket (`\0name`; Linux's alone) where programs of this machine's network find the same: half of what loopback costs. */
	readonly socket?: string | undefined;
	/** Another thread accepts the connections, and passes them on; absent: this server does. */
	readonly passed?: PassedListening | undefined;
	/** A socket that was opened for this process, at `host` and `port`, on which this server listens; absent: it opens one. */
	readonly inherited?: InheritedSocket | undefined;
}

/** What a server has of the thread that passes connections on to it. */
export interface PassedListening {
	/** Who is at the other end of each. */
	readonly peers: PeerAddresses;
	/** The server listens on another port now, and on the one before for this moment more. */
	moved(port: number): void;
}

/**
 * Which of those that share the port it is, threads of the process or the process whose place this one takes: the `first` finds out that
 * nobody has the port, and picks one where it is 0.
 */
export type PortSharing = "first" | "further";

/** Where a server listens, and with whom. */
export type PortPlace = Pick<ListenOptions, "port" | "sharing" | "inherited">;

/** A server that listens. */
export interface Listening extends Stoppable {
	/** `http://127.0.0.1:8000`, without a trailing slash. */
	readonly url: string;
	/** The port that is bound. */
	readonly port: number;
}

/** What keeps a server from having ended. */
interface Pending {
	/** Requests that are being answered. */
	readonly pendingRequests: number;
	/** WebSockets that are open. */
	readonly pendingWebSockets: number;
}

/** One server that listens. What it is answering is also what came before another certificate was shown. */
export interface BoundServer extends Listening, Pending {
	/** Shows another certificate to new connections. @throws {StartError} where that can't be; the one in use stays */
	useCertificate(pair: TlsPair): void;
	/** No longer reads certificate files: another certificate would have it listen anew. */
	keepCertificate(): void;
}

/**
 * Makes `app` listen. `app.server` is Bun's server from then on.
 *
 * Bun 1.4.5's `server.reload` leaves TLS as it was. A changed certificate therefore moves the port to a new server
 * within one turn of the event loop: the old one stops listening and finishes what it is answering. What is reset are
 * connections that are idle, in their handshake or still sending a body at that instant, once a certificate.
 * @throws {StartError} when the address is taken, not allowed or not of this machine, or a PEM file is unusable
 */
export function listen(app: AnyElysia, options: ListenOptions): BoundServer {
	const { host, tls } = options;
	/** The one at the socket, in front since `app.server` is the port's; the one that listens there; and those that finish what they are answering. */
	const servers = new Set<Stoppable & Pending>(atSocket(app, options));
	const serve = (port: number, pair: TlsPair | undefined) => {
		const server = bind(app, options, port, pair);
		servers.add(server);
		return server;
	};
	const sumOf = (what: keyof Pending) => [...servers].reduce((sum, server) => sum + server[what], 0);
	const stopServer = (server: Stoppable & Pending) =>
		void stopped(server, options.log).then(() => servers.delete(server));
	const first = options.certificate ?? (tls ? readTls(tls) : undefined);
	let inUse = first;
	const asked = options.sharing === "first" ? unsharedPort(host, options.port) : options.port;
	let current = serve(asked, first);
	const port = options.inherited?.port ?? current.port ?? asked;
	const useCertificate = (pair: TlsPair) => {
		if (options.passed) {
			// On another port, so that no other program can have the one that connections are passed on to, not even for a moment.
			const before = current;
			current = serve(0, pair);
			options.passed.moved(current.port!);
			stopServer(before);
			return;
		}
		stopServer(current);
		try {
			current = serve(port, pair);
			inUse = pair;
		} catch (cause) {
			try {
				current = serve(port, inUse);
			} catch {
				const lost = "With the certificate before neither: nothing listens any more; it is tried again and again.";
				throw new StartError(`${(cause as Error).message} ${lost}`, { cause });
			}
			throw new StartError(`${(cause as Error).message} The certificate in use stays.`, { cause });
		}
	};
	const isWatched = tls !== undefined && first !== undefined && options.certificate === undefined;
	const unwatch = isWatched ? watchTls(tls, first, options.log.logger, useCertificate, options.tlsPollMs) : () => {};

	return {
		url: listeningUrl(host, port, first !== undefined),
		port,
		get pendingRequests() {
			return sumOf("pendingRequests");
		},
		get pendingWebSockets() {
			return sumOf("pendingWebSockets");
		},
		useCertificate,
		keepCertificate: unwatch,
		async stop(closeActiveConnections = false) {
			unwatch();
			await Promise.all([...servers].map((server) => server.stop(closeActiveConnections)));
		},
	};
}

/** The server of the certificate before has finished what it was answering. */
async function stopped(server: Stoppable, { logger }: ListenOptions["log"]): Promise<void> {
	try {
		await server.stop();
	} catch (err) {
		logger.error({ err }, "The server of the certificate before failed to stop; going on.");
	}
}

/** `http://127.0.0.1:8000`. */
export function listeningUrl(host: string, port: number, isTls: boolean): string {
	const name = host.includes(":") ? `[${host}]` : host;
	return `${isTls ? "https" : "http"}://${name}:${port}`;
}

/** Makes `app` listen on `port` with this certificate. Throws StartError. */
function bind(app: AnyElysia, options: ListenOptions, port: number, tls: TlsPair | undefined) {
	const { host, sharing, passed, inherited } = options;
	const certificate = tls ? { tls: { cert: tls.cert, key: tls.key } } : {};
	if (inherited) {
		const server = serveOn(app, options, { hostname: PASSING_HOST, port: 0, ...certificate });
		try {
			listenOn(inherited, server.port!);
		} catch (error) {
			void server.stop(true);
			throw error;
		}
		return server;
	}
	// Elysia's default for `reusePort` is true: a second instance on the port would start silently.
	const server = serveOn(app, options, { hostname: host, port, reusePort: sharing !== undefined, ...certificate });
	if (passed) nameClients(server, passed.peers);
	return server;
}

/** What listens at the socket, where there is to be one. Throws StartError. */
function atSocket(app: AnyElysia, options: ListenOptions) {
	return options.socket === undefined ? [] : [serveOn(app, options, { unix: options.socket })];
}

/** Makes `app` listen on a port or a socket. Throws StartError. */
function serveOn(
	app: AnyElysia,
	{ host, port, bodyLimit }: ListenOptions,
	where: { readonly port?: number } & Readonly<Record<string, unknown>>,
) {
	try {
		app.listen({
			idleTimeout: IDLE_SECONDS,
			development: false,
			maxRequestBodySize: Math.max(BUN_BODY_LIMIT, 2 * bodyLimit),
			...where,
		});
	} catch (cause) {
		throw bindProblem(cause, host, where.port ?? port);
	}
	if (!app.server) throw new StartError(`Nothing listens on ${host}:${where.port ?? port}.`);
	return app.server;
}

/** The port, of which the system has just said that nobody else listens there. Throws StartError. */
function unsharedPort(host: string, port: number): number {
	try {
		const listener = Bun.listen({ hostname: host, port, socket: { data() {} } });
		const found = listener.port;
		listener.stop(true);
		return found;
	} catch (cause) {
		throw bindProblem(cause, host, port);
	}
}

/** What Bun threw while binding `host:port`, as a StartError. */
export function bindProblem(cause: unknown, host: string, port: number): StartError {
	const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
	return new StartError(sentence(code, host, port, cause), { cause });
}

function sentence(code: string, host: string, port: number, cause: unknown): string {
	switch (code) {
		case "EADDRINUSE":
			return `Port ${port} on ${host} is taken, perhaps by a router or an agent that already runs. Stop it, or choose another port with --port, PORT or \`server.port\` (an agent's is \`agent.port\`).`;
		case "EACCES":
		case "EPERM":
			return `Port ${port} on ${host} is not allowed for this user: choose one above 1023 with --port or PORT.`;
		case "EADDRNOTAVAIL":
		case "EINVAL":
		case "ENOTFOUND":
			return `${host} is no address of this machine: give another with --host or HOST (0.0.0.0 is every one).`;
		default:
			return `Can't listen on ${host}:${port}: ${cause instanceof Error ? cause.message : "unknown reason"}.`;
	}
}
