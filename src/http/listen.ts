/** Listening on an address: Bun's server with the options a streaming proxy needs, and TLS that follows its files. */
import type { AnyElysia } from "elysia";
import type { Log } from "../telemetry/log.ts";
import type { Stoppable } from "./lifecycle.ts";
import { ListenError, listenProblem } from "./listen-error.ts";
import { readTls, type TlsFiles, type TlsPair, watchTls } from "./tls.ts";

/**
 * Seconds without a byte until Bun closes a connection (slow loris). Streams lift it for themselves with
 * `server.timeout(request, 0)`.
 */
const IDLE_SECONDS = 30;
/**
 * Bun answers a longer body with a bare 413 that no handler sees, so its limit (1 TiB at least) lies out of reach:
 * the handlers count bytes themselves and answer `body_too_large`.
 */
const BUN_BODY_LIMIT = 2 ** 40;

export { ListenError };

/** Where to listen. */
export interface ListenOptions {
	readonly host: string;
	/** 0 picks a free one. */
	readonly port: number;
	/** PEM files; absent for plain HTTP. */
	readonly tls?: TlsFiles | undefined;
	/** The largest body the handlers take, bytes. */
	readonly bodyLimit: number;
	/** Hears about certificates. */
	readonly log: Pick<Log, "logger">;
	/** How often certificate files are looked at, ms; 10 s unless told. */
	readonly tlsPollMs?: number;
}

/** A server that listens. */
export interface Listening extends Stoppable {
	/** `http://127.0.0.1:8000`, without a trailing slash. */
	readonly url: string;
	/** The port it got. */
	readonly port: number;
}

/**
 * Makes `app` listen. `app.server` is Bun's server from then on.
 *
 * Bun 1.4.5's `server.reload` leaves TLS as it was. A changed certificate therefore moves the port to a new server
 * within one turn of the event loop: the old one stops listening and finishes what it is answering. What is reset are
 * connections that are idle, in their handshake or still sending a body at that instant, once a certificate.
 * @throws {ListenError} when the address is taken, not allowed or not of this machine, or a PEM file is unusable
 */
export function listen(app: AnyElysia, options: ListenOptions): Listening {
	const { host, bodyLimit } = options;
	const servers: Stoppable[] = [];
	const serve = (port: number, tls: TlsPair | undefined) => {
		try {
			app.listen({
				hostname: host,
				port,
				idleTimeout: IDLE_SECONDS,
				// Elysia's default is true: a second instance on the port would start silently.
				reusePort: false,
				development: false,
				maxRequestBodySize: Math.max(BUN_BODY_LIMIT, 2 * bodyLimit),
				...(tls ? { tls: { cert: tls.cert, key: tls.key } } : {}),
			});
		} catch (cause) {
			throw listenProblem(cause, host, port);
		}
		const server = app.server;
		if (!server) throw new ListenError(`Nothing listens on ${host}:${port}.`);
		servers.push(server);
		return server;
	};

	const first = options.tls ? readTls(options.tls) : undefined;
	const port = serve(options.port, first).port ?? options.port;
	let unwatch = () => {};
	if (options.tls && first)
		unwatch = watchTls(options.tls, first, options.log.logger, options.tlsPollMs, (pair, previous) => {
			const old = servers.at(-1);
			void old?.stop();
			try {
				serve(port, pair);
			} catch (cause) {
				serve(port, previous);
				throw cause;
			}
		});

	const name = host.includes(":") ? `[${host}]` : host;
	return {
		url: `${first ? "https" : "http"}://${name}:${port}`,
		port,
		async stop(closeActiveConnections = false) {
			unwatch();
			await Promise.all(servers.map((server) => server.stop(closeActiveConnections)));
		},
	};
}
