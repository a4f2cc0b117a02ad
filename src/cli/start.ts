/** `router`, `router --agent`, `router --standalone`: starts the roles and waits until they have ended. */
import type { RunningAgent } from "../agent/start-agent.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Loaded } from "../config/load.ts";
import { surviveCrashes } from "../crash.ts";
import { StartError } from "../errors.ts";
import type { Running } from "../running.ts";
import { VERSION } from "../version.ts";
import { withAgentUrl } from "./local-url.ts";

const NO_AGENT =
	"The agent does not run on Windows: it drives a Docker Engine and its GPUs on Linux. Start `router --agent` on a Linux " +
	"host and `router` here, with the agent's ROUTER_URL leading to it.";

/**
 * Starts the role(s) of `loaded` and prints a banner for each through `print`. Resolves with the exit code once all have
 * ended. Rejects where a role can't start, as the agent on Windows; what had started by then is stopped again.
 */
export async function start(
	loaded: Loaded,
	env: Environment,
	print: (text: string) => void,
	platform: string = process.platform,
): Promise<number> {
	if (platform === "win32" && loaded.role !== "router") throw new StartError(NO_AGENT);
	surviveCrashes();
	const running: Running[] = [];
	try {
		let agent: RunningAgent | undefined;
		if (loaded.role !== "router") {
			const { startAgent } = await import("../agent/start-agent.ts");
			agent = await startAgent(loaded, env);
			running.push(agent);
		}
		if (loaded.role !== "agent") {
			const { startRouter } = await import("../server/router.ts");
			const router = await startRouter(loaded, withAgentUrl(env, agent?.url));
			running.push(router);
			agent?.join(router);
		}
	} catch (error) {
		await Promise.all(running.map((role) => role.stop()));
		throw error;
	}
	for (const role of running) print(banner(role));
	return Math.max(...(await Promise.all(running.map((role) => role.finished))));
}

/** `router 0.1.0 listening on http://127.0.0.1:8000`, then the role's own lines, indented. With a line end. */
function banner(running: Pick<Running, "role" | "url" | "lines">): string {
	const first = `${running.role} ${VERSION} listening on ${running.url}`;
	return [first, ...running.lines.map((line) => `  ${line}`), ""].join("\n");
}
