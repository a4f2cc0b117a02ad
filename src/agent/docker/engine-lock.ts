/**
 * One agent of a name on an engine: containers are an agent's by its name, so a second one would stop those of the first as
 * orphans. The claim is an abstract socket, which the kernel gives up with its process, however that ends. Other systems
 * than Linux have none; there nothing is claimed.
 */
import type { Environment } from "../../config/interpolate.ts";
import type { Problem } from "../problem.ts";

/** Where Docker listens unless DOCKER_HOST says otherwise: both spellings are one engine. */
const DEFAULT_HOST = "unix:///var/run/docker.sock";

/** This agent's hold on its name at one engine. */
export class EngineLock {
	readonly #address: string;
	#socket: { stop(): void } | undefined;
	#isReleased = false;

	constructor(
		private readonly agent: string,
		command: "docker" | "podman",
		env: Environment,
	) {
		const engine = JSON.stringify([command, env["DOCKER_HOST"] ?? DEFAULT_HOST, agent]);
		// Addresses end at 107 bytes.
		this.#address = `\0router-agent-${new Bun.CryptoHasher("sha256").update(engine).digest("hex").slice(0, 32)}`;
	}

	/** Takes it, or keeps it; why it can't be had, where another process of this host has it. Asked often: it comes free. */
	acquire(): Problem | undefined {
		if (this.#socket || process.platform !== "linux") return undefined;
		try {
			const held = Bun.listen({ unix: this.#address, socket: { data() {} } });
			if (this.#isReleased) held.stop();
			else this.#socket = held;
			return undefined;
		} catch (error) {
			// Where no such socket can be made nobody else has one.
			if ((error as { code?: string }).code !== "EADDRINUSE") return undefined;
			return {
				reason: `another agent called "${this.agent}" runs on this host and drives the same engine`,
				fix: "stop that one, or give this one another name: ROUTER_AGENT_NAME or `agent.name`",
			};
		}
	}

	/** Leaves it to a successor; until one has come this agent goes on. */
	release(): void {
		this.#isReleased = true;
		this.#socket?.stop();
		this.#socket = undefined;
	}
}
