/** A way to a Unix socket that can be cut: it takes the place of the socket, which goes on beside it under another name. */
import { renameSync, rmSync } from "node:fs";
import { createServer, connect as dial, type Server, type Socket } from "node:net";

/** One. */
export class SocketRelay {
	readonly #sockets = new Set<Socket>();
	/** Connections that come are closed. */
	isDown = false;

	private constructor(
		private readonly server: Server,
		private readonly path: string,
	) {}

	/** Puts one in front of the socket at this path. Connections that there are stay as they are. */
	static async inFrontOf(path: string): Promise<SocketRelay> {
		const behind = `${path}.real`;
		renameSync(path, behind);
		const server = createServer();
		const relay = new SocketRelay(server, path);
		server.on("connection", (near: Socket) => relay.#pass(near, behind));
		await new Promise<void>((resolve) => server.listen(path, resolve));
		return relay;
	}

	/** Ends all connections. */
	cut(): void {
		for (const socket of this.#sockets) socket.destroy();
	}

	stop(): void {
		this.cut();
		this.server.close();
		rmSync(this.path, { force: true });
	}

	#pass(near: Socket, behind: string): void {
		if (this.isDown) {
			near.destroy();
			return;
		}
		const far = dial(behind);
		for (const [socket, other] of [
			[near, far],
			[far, near],
		] as const) {
			this.#sockets.add(socket);
			socket.pipe(other);
			socket.on("error", () => other.destroy());
			socket.on("close", () => {
				this.#sockets.delete(socket);
				other.destroy();
			});
		}
	}
}
