/** What a container engine says of itself, for a page of facts. */
import type { Environment } from "../../config/interpolate.ts";
import { CommandFailure, runCommand } from "./command.ts";
import { dockerError } from "./docker-failures.ts";
import { engineCommand, engineOf } from "./engine-host.ts";

/** The engine behind a command. */
export interface EngineFacts {
	/** Its version and what it runs on, a line. Absent where it can't be asked. */
	readonly text?: string;
	/** Why it can't be asked. */
	readonly problem?: string;
	/** What to do about it. */
	readonly fix?: string;
}

const FORMAT = "{{.Client.Version}} client, {{.Server.Version}} server, {{.Server.Os}}/{{.Server.Arch}}";

/** Asks `docker version` or `podman version`. Never rejects. */
export async function engineFacts(
	configured: "docker" | "podman",
	env: Environment,
	deadlineMs: number,
): Promise<EngineFacts> {
	const command = engineCommand(configured, env);
	const failed = (end: "missing" | "timeout" | "exit", stderr: string): EngineFacts => {
		const { message, fix } = dockerError({ command, engine: engineOf(command, env), verb: "version", end, stderr });
		return { problem: message, fix };
	};
	try {
		const format = command === "docker" ? FORMAT : "{{.Client.Version}}";
		const { code, stdout, stderr } = await runCommand([command, "version", "--format", format], { env, deadlineMs });
		return code === 0 ? { text: `${command} ${stdout.trim()}` } : failed("exit", stderr);
	} catch (error) {
		if (!(error instanceof CommandFailure)) throw error;
		return failed(error.kind === "missing" ? "missing" : "timeout", "");
	}
}
