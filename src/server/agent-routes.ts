/** `POST /register`, `POST /heartbeat`, `GET /agents`: the router's side of its agents. */
import { networkInterfaces } from "node:os";
import { Elysia } from "elysia";
import { RouterError } from "../errors.ts";
import { Heartbeat, PEER, Register } from "../protocol/agent.ts";
import { bodyReader } from "./agent-body.ts";
import { AGENTS, HEARTBEAT, REGISTER } from "./agent-docs.ts";
import { checkEndpoint } from "./endpoint.ts";
import type { AgentFleet } from "./fleet.ts";

/** What is used of Bun's server. */
interface Peers {
	requestIP(request: Request): { address: string } | null;
}

const registerBody = bodyReader(Register);
const heartbeatBody = bodyReader(Heartbeat);

/** The plugin. `admit` throws for who may not; `allow` gives `agents.allow`. */
export function agentRoutes(
	fleet: AgentFleet,
	admit: (request: Request, peer: string) => void,
	allow: () => readonly string[],
) {
	/** Who asks; has to be known before the body is read: the connection may be gone afterwards. */
	const enter = (request: Request, server: Peers | null): string => {
		const peer = server?.requestIP(request)?.address ?? "";
		admit(request, peer);
		return peer;
	};
	const check = (endpoint: string, peer: string) =>
		checkEndpoint(endpoint, { peer, allow: allow(), own: ownAddresses() });

	return new Elysia({ name: "agents" })
		.post(
			"/register",
			async ({ request, server }) => {
				const peer = enter(request, server);
				const body = await registerBody(request);
				const checked = check(body.endpoint, peer);
				if ("problem" in checked) {
					// An agent that reaches the router by another of its addresses than it thought tries that one.
					const headers = peer ? { [PEER]: peer } : undefined;
					throw new RouterError("endpoint_not_allowed", checked.problem, { param: "endpoint", headers });
				}
				return await fleet.register(body, checked.origin);
			},
			{ parse: "none", detail: REGISTER },
		)
		.post(
			"/heartbeat",
			async ({ request, server }) => {
				const peer = enter(request, server);
				const body = await heartbeatBody(request);
				return await fleet.heartbeat(body, (endpoint) => "origin" in check(endpoint, peer));
			},
			{ parse: "none", detail: HEARTBEAT },
		)
		.get(
			"/agents",
			({ request, server }) => {
				enter(request, server);
				return { object: "list" as const, data: fleet.list() };
			},
			{ detail: AGENTS },
		);
}

function ownAddresses(): string[] {
	return Object.values(networkInterfaces()).flatMap((addresses) => addresses?.map(({ address }) => address) ?? []);
}
