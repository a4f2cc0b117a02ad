/** An HTTP proxy of the smallest kind: CONNECT for TLS, and requests with a whole URL for the rest. */
import { connect } from "node:net";
import type { Socket } from "bun";

/** The proxy. */
export interface ConnectProxy {
	/** `http://127.0.0.1:<port>`. */
	readonly origin: string;
	/** First lines of what it was asked, without the version: `CONNECT localhost:4433`. */
	readonly asked: readonly string[];
	/** `proxy-authorization` headers that came. */
	readonly credentials: readonly string[];
	stop(): void;
}

interface Wire {
	head: string;
	far?: ReturnType<typeof connect>;
}

/** What may differ. */
export interface ConnectProxyOptions {
	/** Where a name leads to, in place of what DNS says: `host:port` to `host:port`. */
	readonly names?: Readonly<Record<string, string>>;
	/** Answered to everything, and nothing passes: `407 Proxy Authentication Required`. */
	readonly refuses?: string;
}

/** Starts it on a free loopback port. Tunnels lead to where they ask; other requests get a 502. */
export function startConnectProxy({ names = {}, refuses }: ConnectProxyOptions = {}): ConnectProxy {
	const asked: string[] = [];
	const credentials: string[] = [];
	function open(socket: Socket<Wire>, target: string): void {
		const colon = target.lastIndexOf(":");
		const far = connect(Number(target.slice(colon + 1)), target.slice(0, colon).replace(/^\[|\]$/g, ""));
		socket.data.far = far;
		far.on("connect", () => socket.write("HTTP/1.1 200 Connection Established\r\n\r\n"));
		far.on("data", (bytes) => socket.write(bytes));
		far.on("close", () => socket.end());
		far.on("error", () => socket.terminate());
	}
	const server = Bun.listen<Wire>({
		hostname: "127.0.0.1",
		port: 0,
		socket: {
			open: (socket) => {
				socket.data = { head: "" };
			},
			data(socket, bytes) {
				const wire = socket.data;
				if (wire.far) return void wire.far.write(bytes);
				wire.head += bytes.toString("latin1");
				if (!wire.head.includes("\r\n\r\n")) return;
				const [method = "", target = ""] = wire.head.split(" ", 2);
				asked.push(`${method} ${target}`);
				const credential = /^proxy-authorization: (.*)\r$/im.exec(wire.head)?.[1];
				if (credential) credentials.push(credential);
				if (method === "CONNECT" && !refuses) open(socket, names[target] ?? target);
				else socket.end(`HTTP/1.1 ${refuses ?? "502 Bad Gateway"}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
			},
			close: (socket) => void socket.data.far?.destroy(),
			error: (socket) => void socket.terminate(),
		},
	});
	return { origin: `http://127.0.0.1:${server.port}`, asked, credentials, stop: () => void server.stop(true) };
}
