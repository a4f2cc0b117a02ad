/**
 * Whether the agent that made a container still runs: each holds an abstract Unix socket for as long as it does, which the kernel frees with
 * the process, however that ends. It is seen by processes of the same network namespace alone. Only Linux has such sockets.
 */
import { readFileSync, readlinkSync } from "node:fs";

/** An agent that runs, to those that share its network namespace. */
export class AgentPresence {
	#id: string | undefined;
	#isHeld = false;

	/** @param instance the UUID of the data directory; asked once the agent runs */
	constructor(
		private readonly agent: string,
		private readonly instance: () => string,
	) {}

	/** Names it to others: `<boot of the kernel>:<network namespace>:<socket>`. Undefined where there are no such sockets. */
	get id(): string | undefined {
		if (this.#id === undefined) {
			const space = socketSpace();
			const agent = JSON.stringify([this.agent, this.instance()]);
			// Addresses end at 107 bytes.
			const hash = new Bun.CryptoHasher("sha256").update(agent).digest("hex").slice(0, 32);
			this.#id = space && `${space}:${hash}`;
		}
		return this.#id;
	}

	/** Holds it from now on; called again and again, since a predecessor that finishes its calls has it until it ends. */
	hold(): void {
		const { id } = this;
		if (this.#isHeld || id === undefined) return;
		this.#isHeld = isFree(id, (socket) => socket);
	}

	/** Whether the agent of this id runs; `unknown` where that can't be seen from here. */
	holderOf(id: string): "self" | "runs" | "ended" | "unknown" {
		if (id === this.id) return "self";
		const [, space] = FORM.exec(id) ?? [];
		if (space === undefined || FORM.exec(this.id ?? "")?.[1] !== space) return "unknown";
		return isFree(id, (socket) => socket.stop()) ? "ended" : "runs";
	}
}

const FORM = /^([0-9a-f-]+:\d+):([0-9a-f]{32})$/;

/** Takes the socket of an id; false where another process has it. */
function isFree(id: string, taken: (socket: { stop(): void }) => unknown): boolean {
	try {
		taken(Bun.listen({ unix: `\0router-presence-${FORM.exec(id)?.[2]}`, socket: { data() {} } }));
		return true;
	} catch {
		return false;
	}
}

/** What processes that see the same abstract sockets have in common. A namespace's number is one of a boot alone. */
function socketSpace(): string | undefined {
	if (process.platform !== "linux") return undefined;
	try {
		const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
		const [, namespace] = /\[(\d+)\]/.exec(readlinkSync("/proc/self/ns/net")) ?? [];
		return namespace && `${boot}:${namespace}`;
	} catch {
		return undefined;
	}
}
