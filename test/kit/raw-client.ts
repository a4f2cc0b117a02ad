/** A client on a raw socket: one that stops reading, leaves without a word, or sends what `fetch` would refuse to. */

/** The connection. */
export interface RawClient {
	/** What came back so far, as text. */
	text(): string;
	/** Resolves when the text so far matches; rejects when the connection closes first. */
	until(pattern: RegExp): Promise<string>;
	/** Resolves with all that came once the server closed. */
	readonly closed: Promise<string>;
	write(text: string): void;
	/** Stops reading: the kernel's buffers fill, then the server is held up. */
	pause(): void;
	/** Leaves. */
	leave(): void;
}

/** Connects and sends these bytes. `url` is the router's. */
export async function rawClient(url: string, bytes: string): Promise<RawClient> {
	const { hostname, port } = new URL(url);
	let text = "";
	const closed = Promise.withResolvers<string>();
	let look = () => {};
	let open = true;
	const socket = await Bun.connect({
		hostname,
		port: Number(port),
		socket: {
			data(_, chunk) {
				text += chunk.toString("utf8");
				look();
			},
			close() {
				open = false;
				closed.resolve(text);
				look();
			},
			error: (_, error) => closed.reject(error),
		},
	});
	socket.write(bytes);
	return {
		text: () => text,
		closed: closed.promise,
		until: (pattern) =>
			new Promise((resolve, reject) => {
				look = () => {
					if (pattern.test(text)) resolve(text);
					else if (!open) reject(new Error(`closed before ${pattern} came: ${text.slice(0, 500)}`));
				};
				look();
			}),
		write: (more) => void socket.write(more),
		pause: () => void socket.pause(),
		leave: () => void socket.terminate(),
	};
}

/** A POST as bytes, with a right content-length. */
export function postBytes(path: string, body: string, headers: Record<string, string> = {}): string {
	const fields = {
		host: "127.0.0.1",
		"content-type": "application/json",
		"content-length": String(Buffer.byteLength(body)),
		...headers,
	};
	const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
	return `POST ${path} HTTP/1.1\r\n${lines.join("")}\r\n${body}`;
}
