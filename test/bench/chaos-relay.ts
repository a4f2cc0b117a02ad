/** A way to a port of this machine that can be cut. */
import { createServer, connect as dial, type Server, type Socket } from "node:net";

/** One way. */
export class ChaosRelay {
	readonly #sockets = new Set<Socket>();
	/** Connections that come are reset. */
	isDown = false;

	private constructor(
		private readonly server: Server,
		/** Where it leads; connections that there are stay where they are. */
		public port: number,
	) {}

	/** Opens one on a free port of 127.0.0.1. */
	static async start(port: number): Promise<ChaosRelay> {
		const server = createServer();
		const relay = new ChaosRelay(server, port);
		server.on("connection", (client: Socket) => relay.#pass(client));
		await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
		return relay;
	}

	/** `http://127.0.0.1:<port>`. */
	get origin(): string {
		return `http://127.0.0.1:${(this.server.address() as { port: number }).port}`;
	}

	/** Resets all connections. */
	cut(): void {
		for (const socket of this.#sockets) socket.resetAndDestroy();
	}

	stop(): void {
		this.cut();
		this.server.close();
	}

	#pass(client: Socket): void {
		if (this.isDown) {
			client.resetAndDestroy();
			return;
		}
		const upstream = dial(this.port, "127.0.0.1");
		for (const [socket, other] of [
			[client, upstream],
			[upstream, client],
		] as const) {
			this.#sockets.add(socket);
			socket.setNoDelay(true);
			socket.on("error", () => other.destroy());
			socket.on("close", () => {
				this.#sockets.delete(socket);
				other.destroySoon();
			});
			socket.pipe(other);
		}
	}
}
