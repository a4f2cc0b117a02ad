/**
 * One agent of a name per engine. The lock is an abstract Unix socket, which the kernel frees with the process, however that ends. It is
 * seen by processes of the same network namespace alone: for all others `container-owner.ts` reads from the containers whose they
 * are. Only Linux has such sockets; elsewhere nothing is locked.
 */
import { readFileSync, readlinkSync } from "node:fs";
import type { Environment } from "../../config/interpolate.ts";
import type { Problem } from "../problem.ts";
import { engineHost } from "./engine-host.ts";

/** The lock on an agent's name at one engine. */
export class EngineLock {
	/**
	 * Names the lock to others: `<boot of the kernel>:<network namespace>:<lock>`. Undefined where nothing is locked. The namespace's number is
	 * one of a boot alone.
	 */
	readonly id: string | undefined;
	readonly #address: string;
	#socket: { stop(): void } | undefined;
	#isReleased = false;

	constructor(
		private readonly agent: string,
		command: "docker" | "podman",
		env: Environment,
	) {
		const engine = JSON.stringify([command, engineHost(command, env).address, agent]);
		// Addresses end at 107 bytes.
		const hash = new Bun.CryptoHasher("sha256").update(engine).digest("hex").slice(0, 32);
		this.#address = addressOf(hash);
		const space = lockSpace();
		this.id = space && `${space}:${hash}`;
	}

	/**
	 * Whether an agent still runs that has, or had, the lock of this id: `self` is this lock, which one process holds at a time, and `unknown` one
	 * that can't be seen from here.
	 */
	holderOf(id: string): "self" | "runs" | "ended" | "unknown" {
		if (id === this.id) return "self";
		const [, space = "", hash = ""] = /^(.+:)([0-9a-f]{32})$/.exec(id) ?? [];
		if (hash === "" || !this.id?.startsWith(space)) return "unknown";
		try {
			Bun.listen({ unix: addressOf(hash), socket: { data() {} } }).stop();
			return "ended";
		} catch (error) {
			return (error as { code?: string }).code === "EADDRINUSE" ? "runs" : "unknown";
		}
	}

	/** Takes the lock where it is not held yet; the problem where another process of this host holds it. Called before each list: it may become free. */
	acquire(): Problem | undefined {
		if (this.#socket || process.platform !== "linux") return undefined;
		try {
			const socket = Bun.listen({ unix: this.#address, socket: { data() {} } });
			if (this.#isReleased) socket.stop();
			else this.#socket = socket;
			return undefined;
		} catch (error) {
			// Where no such socket can be made no other agent holds one.
			if ((error as { code?: string }).code !== "EADDRINUSE") return undefined;
			return {
				reason: `another agent called "${this.agent}" runs on this host and drives the same engine`,
				fix: "stop that one, or give this one another name: ROUTER_AGENT_NAME or `agent.name`",
			};
		}
	}

	/** Leaves the lock to a successor; until there is one this agent goes on. */
	release(): void {
		this.#isReleased = true;
		this.#socket?.stop();
		this.#socket = undefined;
	}
}

const addressOf = (hash: string): string => `\0router-agent-${hash}`;

/** What processes that see the same abstract sockets have in common; undefined where there are none. */
function lockSpace(): string | undefined {
	if (process.platform !== "linux") return undefined;
	try {
		const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
		const [, namespace] = /\[(\d+)\]/.exec(readlinkSync("/proc/self/ns/net")) ?? [];
		return namespace && `${boot}:${namespace}`;
	} catch {
		return undefined;
	}
}
