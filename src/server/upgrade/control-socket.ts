/**
 * The socket in the data directory by which a running router is told of another process that takes its place: JSON, a message a line, between
 * processes of one user. Whoever may not write to the directory can't connect.
 */
import { renameSync, rmSync, statSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { StartError } from "../../errors.ts";

/** Longest message, characters: what a router remembers of prompts is some MB. */
const LONGEST = 256 * 1024 * 1024;

/** How long the last message of a connection may take, ms. */
const UNREAD_MS = 1_000;

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

	/** Ends the connection, behind what was sent, also where the other end reads and ends nothing: after {@link UNREAD_MS}. */
	destroy(): void {
		const timer = setTimeout(() => this.socket.destroy(), UNREAD_MS);
		this.socket.end(() => {
			clearTimeout(timer);
			this.socket.destroy();
		});
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

/** What the system says where no router listens. */
const NOBODY: ReadonlySet<string> = new Set(["ENOENT", "ECONNREFUSED"]);

/** By what the system says. */
const REMEDIES: Readonly<Record<string, string>> = {
	EACCES: "it is its owner's alone. Do this as the user of the router that runs.",
	EINVAL: "its path is too long for a socket (107 bytes). Give the data directory a shorter one (DATA_DIR).",
};
const REMEDY = "stop the router that runs, and start the new one.";

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
	// Nobody else can connect before the file has its mode: it is made with it, at once.
	const mask = process.umask(0o177);
	try {
		server.listen(own, resolve);
	} finally {
		process.umask(mask);
	}
	await promise;
	const { ino } = statSync(own);
	renameSync(own, path);
	server.unref();
	return () => {
		server.close();
		if (statSync(path, { throwIfNoEntry: false })?.ino === ino) rmSync(path, { force: true });
	};
}

/**
 * Connects to the router of a data directory; undefined where none listens.
 * @throws {StartError} where the system does not let this process find out
 */
export async function connectToRouter(dataDir: string): Promise<Socket | undefined> {
	const { promise, resolve, reject } = Promise.withResolvers<Socket | undefined>();
	const path = controlPath(dataDir);
	const socket = connect(path);
	socket.once("connect", () => resolve(socket));
	socket.once("error", ({ code = "" }: NodeJS.ErrnoException) => {
		if (NOBODY.has(code)) resolve(undefined);
		else reject(new StartError(`${path} can't be connected to (${code}): ${REMEDIES[code] ?? REMEDY}`));
	});
	return await promise;
}
