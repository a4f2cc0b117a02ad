/** The agent role, put together: log, models and their containers, catalog and app, in that order. */

import { authenticate } from "../accounts/auth/keys.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Loaded } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import type { Running } from "../running.ts";
import {
	announce,
	callContext,
	createApp,
	createServices,
	type RoleAppOptions,
	serve,
	startAuth,
	startLocked,
} from "../server/role.ts";
import { plannedEntries, type RolePlan } from "../server/role-plan.ts";
import type { DirectoryLock } from "../store/directory-lock.ts";
import { agentApi } from "./agent-api.ts";
import { AgentCatalog } from "./agent-catalog.ts";
import { createAgentParts } from "./agent-parts.ts";
import { agentPlan } from "./agent-plan.ts";
import { watchModels } from "./reload-models.ts";
import { type AgentRun, runAgent } from "./run-agent.ts";

/** The running agent. */
export interface RunningAgent extends Running, Pick<AgentRun, "join"> {}

/** Starts the agent. Throws StartError as the router does. */
export async function startAgent(loaded: Loaded, env: Environment): Promise<RunningAgent> {
	const plan = agentPlan(loaded, env);
	return startLocked(plan, (lock) => createAgent(plan, loaded, lock));
}

function createAgent(plan: RolePlan, loaded: Loaded, lock: DirectoryLock): RunningAgent {
	const { config, env } = plan;
	const services = createServices(plan);
	const { log, metrics, lifecycle } = services;
	const parts = createAgentParts(config, env, log);
	const catalog = new AgentCatalog(plannedEntries(plan), parts.models);
	const { auth } = startAuth(plan, { agent: parts.credential.current });

	const options: RoleAppOptions = {
		// Of another configuration an agent that runs takes its models, and they are none of this.
		current: { snapshot: { config, catalog, auth } },
		sinks: [],
		metricsText: async () => (await metrics.text()) + (await parts.metrics.text()),
	};
	/** Throws for who may not use the agent's own API. */
	const authorize = (request: Request) => void authenticate(auth, request, config);
	const context = callContext(plan, services, options);
	const app = createApp(plan, services, context, options).use(agentApi({ ...parts, authorize }));

	const socket = tunnelSocket(config);
	const server = serve(app, plan, services, lock, undefined, { socket });
	const unwatch = catalog.watch();
	const { url, port } = server;
	const { join, end } = runAgent(parts, { url, port, socket, onDrain: (hook) => lifecycle.onDrain(hook) });
	const unwatchModels = watchModels(parts, loaded);
	lifecycle.onStop(async () => {
		unwatchModels();
		unwatch();
		await end();
	});
	return { ...announce(plan, services, server, lock), join };
}

/** Where calls that come through a tunnel reach this agent; undefined where it has none, or there are no such sockets: then by its port. */
function tunnelSocket({ agent }: Config): string | undefined {
	const { router, tunnel, advertise } = agent;
	const isTunnelled = tunnel === "always" || (tunnel === "auto" && advertise === undefined);
	return process.platform === "linux" && router !== undefined && isTunnelled
		? `\0router-calls-${crypto.randomUUID()}`
		: undefined;
}
