/** A real Redis of a test's own: started on a free port, stopped, hung, killed and started again at the same place. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { until } from "./until.ts";

/** How to start it. */
export interface RedisServerOptions {
	/** Further lines of redis.conf, as arguments: `["--requirepass", "x"]`. */
	readonly args?: readonly string[];
	readonly port?: number;
	/** How a client gets in, for the kit's own connection. */
	readonly client?: { readonly password?: string; readonly tls?: object };
}

/** The server. */
export interface RedisServer {
	readonly port: number;
	/** `redis://127.0.0.1:<port>/0`, without a password. */
	readonly url: string;
	readonly pid: number;
	/** A client of the kit's own, connected. */
	readonly client: Redis;
	/** SIGSTOP and SIGCONT: it hangs, with its connections open. */
	hang(): void;
	resume(): void;
	/** SIGKILL. */
	kill(): Promise<void>;
	/** Starts it again on the same port, empty. */
	restart(): Promise<void>;
	/** Deletes all, once everybody else has gone: what they sent before they closed their connections, as an answer to keep, is done by then. */
	empty(): Promise<void>;
	stop(): Promise<void>;
}

/** A port nobody listens on right now. */
export function freePort(): number {
	const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
	const { port } = probe;
	probe.stop(true);
	return port;
}

/** Starts it; resolves once it answers. Throws where there is no `redis-server`. */
export async function startRedis({
	args = [],
	port = freePort(),
	client: login,
}: RedisServerOptions = {}): Promise<RedisServer> {
	const directory = mkdtempSync(join(tmpdir(), "redis-"));
	const start = () =>
		Bun.spawn(
			["redis-server", "--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory, ...args],
			{ stdin: "ignore", stdout: "ignore", stderr: "ignore", env: { PATH: process.env["PATH"] ?? "" } },
		);
	let child = start();
	const client = new Redis({
		host: "127.0.0.1",
		port,
		protocol: 2,
		retryStrategy: () => 20,
		maxRetriesPerRequest: null,
		...login,
	});
	client.on("error", () => undefined);
	await until(() => client.status === "ready", "redis-server");
	return {
		port,
		url: `redis://127.0.0.1:${port}/0`,
		client,
		get pid() {
			return child.pid;
		},
		hang: () => process.kill(child.pid, "SIGSTOP"),
		resume: () => process.kill(child.pid, "SIGCONT"),
		async kill() {
			child.kill("SIGKILL");
			await child.exited;
		},
		async restart() {
			child = start();
			await until(() => client.status === "ready", "redis-server");
		},
		async empty() {
			const isAlone = async () =>
				String(await client.client("LIST"))
					.trim()
					.split("\n").length === 1;
			await until(isAlone, "the end of the others' connections");
			await client.flushall();
		},
		async stop() {
			client.disconnect();
			child.kill("SIGKILL");
			await child.exited;
			rmSync(directory, { recursive: true, force: true });
		},
	};
}

/** A TCP relay in front of a port that holds every byte of the answers back for a while. */
export function slowProxy(port: number): {
	readonly port: number;
	/** Infinity: until it is another number. */
	delayMs: number;
	/**
	 * From now on the connections that there are lead nowhere, and neither side hears of it: what they say gets lost, their ends too. Further ones
	 * go to another port, where that is given.
	 */
	cut(to?: number): void;
	/** How many have led to the port. */
	readonly connections: number;
	stop(): void;
} {
	type Side = {
		peer: Awaited<ReturnType<typeof Bun.connect>> | undefined;
		waiting: Uint8Array[];
		/** Of connections that were not cut. */
		readonly line: { isCut: boolean };
	};
	let line = { isCut: false };
	let target = port;
	let delayMs = 0;
	let connections = 0;
	/** Answers that wait, in their order, and from when on they may go, ms. */
	const held: { readonly from: number; readonly send: () => void }[] = [];
	const release = () => {
		if (delayMs === Number.POSITIVE_INFINITY) return;
		while (held.length > 0 && held[0]!.from + delayMs <= performance.now()) held.shift()!.send();
	};
	const server = Bun.listen<Side>({
		hostname: "127.0.0.1",
		port: 0,
		socket: {
			async open(socket) {
				const own = line;
				socket.data = { peer: undefined, waiting: [], line: own };
				const end = () => {
					if (!own.isCut) socket.end();
				};
				const peer = await Bun.connect({
					hostname: "127.0.0.1",
					port: target,
					socket: {
						data: (_, bytes) => {
							if (own.isCut) return;
							const copy = Uint8Array.from(bytes);
							if (delayMs === 0) return void socket.write(copy);
							held.push({ from: performance.now(), send: () => void socket.write(copy) });
							if (delayMs !== Number.POSITIVE_INFINITY) setTimeout(release, delayMs + 1);
						},
						close: end,
						error: end,
						connectError: end,
					},
				}).catch(() => undefined);
				if (!peer) return;
				socket.data.peer = peer;
				for (const bytes of socket.data.waiting.splice(0)) peer.write(bytes);
				connections++;
			},
			data(socket, bytes) {
				if (socket.data.line.isCut) return;
				if (socket.data.peer) socket.data.peer.write(bytes);
				else socket.data.waiting.push(Uint8Array.from(bytes));
			},
			close: ({ data }) => void (data.line.isCut || data.peer?.end()),
			error: ({ data }) => void (data.line.isCut || data.peer?.end()),
		},
	});
	return {
		port: server.port,
		get delayMs() {
			return delayMs;
		},
		set delayMs(ms: number) {
			delayMs = ms;
			release();
		},
		get connections() {
			return connections;
		},
		cut(to = target) {
			line.isCut = true;
			line = { isCut: false };
			target = to;
		},
		stop: () => server.stop(true),
	};
}
