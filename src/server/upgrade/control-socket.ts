/**
 * The socket in the data directory by which a running router is told of another process that takes its place: JSON, a message a line, between
 * processes of one user. Whoever may not write to the directory can't connect.
 */
import { chmodSync, renameSync, rmSync, statSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";

/** Longest message, characters: what a router remembers of prompts is some MB. */
const LONGEST = 256 * 1024 * 1024;

/** One message. */
export type ControlMessage = { readonly type: string } & Readonly<Record<string, unknown>>;

/** The other end. */
export class ControlPeer<Sent extends { readonly type: string }, Received extends { readonly type: string }> {
	/** Hears of each message. Set before the first one can come. */
	onMessage: ((message: Received) => void) | undefined;
	/** Resolves when the connection is over, whoever has ended it. */
	readonly closed: Promise<void>;
	/** Of a message whose end has not come. */
	#begun: string[] = [];
	#length = 0;

	constructor(private readonly socket: Socket) {
		const { promise, resolve } = Promise.withResolvers<void>();
		this.closed = promise;
		socket.setEncoding("utf8");
		socket.on("data", (text) => this.#take(String(text)));
		// An error is followed by `close`.
		socket.on("error", () => {});
		socket.on("close", () => resolve());
	}

	/** Nothing is sent once the connection is over. */
	send(message: Sent): void {
		if (!this.socket.destroyed) this.socket.write(`${JSON.stringify(message)}\n`);
	}

	/** Ends the connection, behind what was sent. */
	end(): void {
		this.socket.end();
	}

	#take(text: string): void {
		this.#begun.push(text);
		this.#length += text.length;
		if (this.#length > LONGEST) this.socket.destroy();
		if (!text.includes("\n")) return;
		const lines = this.#begun.join("").split("\n");
		const rest = lines.pop()!;
		this.#begun = [rest];
		this.#length = rest.length;
		for (const line of lines) {
			const message = parsed(line);
			if (message) this.onMessage?.(message as Received & ControlMessage);
			else this.socket.destroy();
		}
	}
}

function parsed(line: string): ControlMessage | undefined {
	try {
		const message: unknown = JSON.parse(line);
		const isMessage = typeof message === "object" && message !== null && "type" in message;
		return isMessage && typeof message.type === "string" ? (message as ControlMessage) : undefined;
	} catch {
		return undefined;
	}
}

/** Where a router of this data directory is told. */
export const controlPath = (dataDir: string): string => join(dataDir, "router.sock");

/**
 * Listens for peers, in the place of a process before, which goes on with those that it has. Rejects where the file system has no sockets, or the
 * path is too long for one (107 bytes on Linux). Returns how to end it: the file goes, unless it is that of another process by then.
 */
export async function listenForControl(dataDir: string, accept: (socket: Socket) => void): Promise<() => void> {
	const path = controlPath(dataDir);
	// Under another name first: the file is the one of the process before until this one listens, and is never removed by that one's end.
	const own = `${path}.${process.pid}`;
	rmSync(own, { force: true });
	const server = createServer(accept);
	const { promise, resolve, reject } = Promise.withResolvers<void>();
	server.on("error", reject);
	server.listen(own, resolve);
	await promise;
	chmodSync(own, 0o600);
	const { ino } = statSync(own);
	renameSync(own, path);
	server.unref();
	return () => {
		server.close();
		if (statSync(path, { throwIfNoEntry: false })?.ino === ino) rmSync(path, { force: true });
	};
}

/** Connects to the router of a data directory; undefined where none listens. */
export async function connectToRouter(dataDir: string): Promise<Socket | undefined> {
	const { promise, resolve } = Promise.withResolvers<Socket | undefined>();
	const socket = connect(controlPath(dataDir));
	socket.once("connect", () => resolve(socket));
	socket.once("error", () => resolve(undefined));
	return await promise;
}
