/**
 * Directories of this host in which engines make the sockets of their KV events, one a container: the events hold the tokens of all prompts,
 * and nobody but the agent's user and root may read them. No port is published, so that no other user and no other container reaches them.
 */
import { chmod, mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";

/** Longest path of a Unix socket, bytes: Linux has 108, with a zero behind it. */
const MOST_PATH = 107;
/** A directory's name. */
const NAME = /^[0-9a-f]{12}$/;
/** What a mount's text can't hold, since it ends there. */
const MOUNT_END = /[:,]/;

/** The sockets of one container's engine, as paths of this host. */
export interface KvEventSockets {
	/** That they are in. */
	readonly directory: string;
	/** PUB: its events. */
	readonly events: string;
	/** ROUTER: those of before, again. */
	readonly replay: string;
}

/** Names of the two in their directory. */
export const EVENT_SOCKET = "events";
export const REPLAY_SOCKET = "replay";

/** The sockets in the directory of this name; undefined where that is no name. @param base what all directories are in */
export function kvEventSockets(base: string, name: string | undefined): KvEventSockets | undefined {
	if (name === undefined || !NAME.test(name)) return undefined;
	const directory = join(base, name);
	return { directory, events: join(directory, EVENT_SOCKET), replay: join(directory, REPLAY_SOCKET) };
}

/** The directories of one agent. */
export class KvSockets {
	/** Made by this process: their containers may not be listed yet. */
	readonly #made = new Set<string>();

	/** @param base absolute; is made where it is missing @param isHere the engine mounts the files that this process sees */
	constructor(
		private readonly base: string,
		private readonly isHere: boolean,
	) {}

	/**
	 * Makes one. Its own mode lets every user of a container write there; that of `base` lets nobody of this host but the agent's in. Returns its
	 * path; undefined where no socket can be had there: the path is too long, no mount can name it, or its file system has no sockets.
	 */
	async make(): Promise<string | undefined> {
		// Elsewhere containers run in a machine of their own, which shares files and no sockets.
		if (!this.isHere || process.platform !== "linux" || MOUNT_END.test(this.base)) return undefined;
		const name = Buffer.from(crypto.getRandomValues(new Uint8Array(6))).toString("hex");
		const directory = join(this.base, name);
		const { events } = kvEventSockets(this.base, name)!;
		if (Buffer.byteLength(events) > MOST_PATH) return undefined;
		this.#made.add(directory);
		try {
			await mkdir(this.base, { recursive: true, mode: 0o700 });
			await chmod(this.base, 0o700);
			await mkdir(directory);
			// Not by `mkdir`, whose mode the process's mask cuts.
			await chmod(directory, 0o777);
			// An engine that can't make its socket would not start.
			Bun.listen({ unix: events, socket: { data: () => undefined } }).stop(true);
			await rm(events, { force: true });
			return directory;
		} catch {
			await this.remove(directory);
			return undefined;
		}
	}

	/** The container of this directory is gone. Never rejects. */
	async remove(directory: string): Promise<void> {
		this.#made.delete(directory);
		// What can't be removed now is when the agent next starts.
		await rm(directory, { recursive: true, force: true }).catch(() => undefined);
	}

	/** Removes those whose containers went while no agent ran. @param kept of containers that there are. Never rejects. */
	async sweep(kept: ReadonlySet<string>): Promise<void> {
		const names = await readdir(this.base).catch(() => []);
		const directories = names.filter((name) => NAME.test(name)).map((name) => join(this.base, name));
		const stale = directories.filter((directory) => !kept.has(directory) && !this.#made.has(directory));
		await Promise.all(stale.map((directory) => this.remove(directory)));
	}
}
