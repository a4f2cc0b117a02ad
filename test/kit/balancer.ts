/** A load balancer of the smallest kind: each connection goes to the next of several servers of this machine. */
import { connect, createServer, type Socket } from "node:net";

/** The balancer. */
export interface Balancer {
	/** `http://127.0.0.1:<port>`. */
	readonly url: string;
	/** How many connections it has taken. */
	readonly connections: number;
	stop(): void;
}

/** Starts it on a free loopback port. @param servers their URLs; one that is away closes its connections */
export async function startBalancer(servers: readonly string[]): Promise<Balancer> {
	const sockets = new Set<Socket>();
	let connections = 0;
	const server = createServer((near) => {
		const { port } = new URL(servers[connections++ % servers.length]!);
		const far = connect(Number(port), "127.0.0.1");
		for (const [one, other] of [
			[near, far],
			[far, near],
		] as const) {
			sockets.add(one);
			one.pipe(other);
			one.on("error", () => other.destroy());
			one.on("close", () => {
				sockets.delete(one);
				other.destroy();
			});
		}
	});
	const listening = Promise.withResolvers<void>();
	server.listen(0, "127.0.0.1", () => listening.resolve());
	await listening.promise;
	const { port } = server.address() as { port: number };
	return {
		url: `http://127.0.0.1:${port}`,
		get connections() {
			return connections;
		},
		stop() {
			server.close();
			for (const socket of sockets) socket.destroy();
		},
	};
}
