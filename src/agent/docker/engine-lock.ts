/**
 * One agent of a name per engine. The lock is an abstract Unix socket, which the kernel frees with the process, however that ends. It is
 * seen by processes of the same network namespace alone: for all others `container-owner.ts` reads from the containers whose they
 * are. Only Linux has such sockets; elsewhere nothing is locked.
 */
import type { Environment } from "../../config/interpolate.ts";
import type { Problem } from "../problem.ts";
import { engineHost } from "./engine-host.ts";

/** The lock on an agent's name at one engine. */
export class EngineLock {
	readonly #address: string;
	#socket: { stop(): void } | undefined;
	#isReleased = false;
	#wasHeld = false;

	constructor(
		private readonly agent: string,
		command: "docker" | "podman",
		env: Environment,
	) {
		const engine = JSON.stringify([command, engineHost(command, env).address, agent]);
		// Addresses end at 107 bytes.
		this.#address = `\0router-agent-${new Bun.CryptoHasher("sha256").update(engine).digest("hex").slice(0, 32)}`;
	}

	/** Takes the lock where it is not held yet; the problem where another process of this host holds it. Called before each list: it may become free. */
	acquire(): Problem | undefined {
		if (this.#socket || process.platform !== "linux") return undefined;
		try {
			const socket = Bun.listen({ unix: this.#address, socket: { data() {} } });
			if (this.#isReleased) socket.stop();
			else this.#socket = socket;
			this.#wasHeld = true;
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

	/** Whether this agent has had it, and so may have containers of its own, which it keeps until its calls are over. */
	get wasHeld(): boolean {
		return this.#wasHeld;
	}

	/** Leaves the lock to a successor; until there is one this agent goes on. */
	release(): void {
		this.#isReleased = true;
		this.#socket?.stop();
		this.#socket = undefined;
	}
}
