/** `POST /register`, `POST /heartbeat`, `GET /agents`: the router's side of its agents. */
import { networkInterfaces } from "node:os";
import { Elysia } from "elysia";
import { RouterError } from "../../errors.ts";
import { LazyCheck } from "../../lazy-check.ts";
import {
	AGENT_HEADER,
	AgentName,
	type AgentRegistrar,
	Heartbeat,
	PEER_HEADER,
	Register,
} from "../../protocol/agent.ts";
import { TUNNEL_PATH, TUNNEL_PREFIX, tunnelEndpoint } from "../../protocol/tunnel.ts";
import { bodyReader } from "../json-body.ts";
import type { CurrentSnapshot } from "../snapshot.ts";
import type { AgentAccess } from "./agent-access.ts";
import { AGENTS, HEARTBEAT, REGISTER, REPLICAS, TARGETS, TUNNEL } from "./agent-docs.ts";
import type { ShownAgent } from "./agent-record.ts";
import type { AgentRegistry } from "./agent-registry.ts";
import { checkEndpoint } from "./endpoint.ts";
import type { AgentFleet } from "./fleet.ts";
import type { ReplicaScaler } from "./replica-scaler.ts";
import { tunnelHeaders } from "./tunnel-route.ts";

/** What is used of Bun's server. */
interface Peers {
	requestIP(request: Request): { address: string } | null;
}

const agentName = new LazyCheck(AgentName);
const registerBody = bodyReader(Register);
const heartbeatBody = bodyReader(Heartbeat);

/** The plugin. `agents.allow` is read from the snapshot in force. */
export function agentRoutes(registry: AgentRegistry, fleet: AgentFleet, access: AgentAccess, current: CurrentSnapshot) {
	const check = (endpoint: string, peer: string, name: string) =>
		endpoint === tunnelEndpoint(name)
			? { origin: endpoint }
			: checkEndpoint(endpoint, { peer, allow: current.snapshot.config.agents.allow, own: ownAddresses() });

	return new Elysia({ name: "agents" })
		.post(
			"/register",
			async ({ request, server }) => {
				// Before the body is read: the connection may be gone afterwards.
				const peer = peerOf(request, server);
				access.admitAgent(request, peer);
				const body = await registerBody(request);
				const checked = check(body.endpoint, peer, body.name);
				if ("problem" in checked) {
					// An agent that reaches the router by another of its addresses than it thought tries that one.
					const headers = peer ? { [PEER_HEADER]: peer } : undefined;
					throw new RouterError("endpoint_not_allowed", checked.problem, { param: "endpoint", headers });
				}
				return await registry.register(body, checked.origin);
			},
			{ parse: "none", detail: REGISTER },
		)
		.post(
			"/heartbeat",
			async ({ request, server }) => {
				// Before the body is read: the connection may be gone afterwards.
				const peer = peerOf(request, server);
				access.admitAgent(request, peer);
				const body = await heartbeatBody(request);
				return await registry.heartbeat(body, (endpoint) => "origin" in check(endpoint, peer, body.name));
			},
			{ parse: "none", detail: HEARTBEAT },
		)
		.get(
			TUNNEL_PATH,
			async ({ request, server }) => {
				await admitTunnel(request, peerOf(request, server), registry, access);
				return new Response(null, { status: 204 });
			},
			{ detail: TUNNEL },
		)
		.get(
			"/agents",
			({ request, server }) => {
				access.admitReader(request, server);
				return { object: "list" as const, data: fleet.list() };
			},
			{ detail: AGENTS },
		)
		.get(
			"/agents/targets",
			({ request, server }) => {
				access.admitReader(request, server);
				return fleet.list().flatMap(targetOf);
			},
			{ detail: TARGETS },
		);
}

/** `GET /agents/replicas`. */
export function replicaRoutes(scaler: Pick<ReplicaScaler, "shown">, access: AgentAccess) {
	return new Elysia({ name: "agents/replicas" }).get(
		"/agents/replicas",
		({ request, server }) => {
			access.admitReader(request, server);
			return { object: "list" as const, data: scaler.shown() };
		},
		{ detail: REPLICAS },
	);
}

/** Whose tunnel a request wants to open. Throws what `admitAgent` does, `invalid_value`, `method_not_allowed`, `agent_name_taken`. */
export async function admitTunnel(
	request: Request,
	peer: string,
	registry: Pick<AgentRegistry, "admitTunnel">,
	access: AgentAccess,
): Promise<void> {
	access.admitAgent(request, peer);
	const { agent, instance, process, standsBack } = tunnelHeaders(request);
	if (!agentName.Check(agent)) {
		throw new RouterError("invalid_value", `The header ${AGENT_HEADER} must be an agent's name.`);
	}
	const whose = { name: agent, instance: instance || undefined, process: process || undefined };
	await registry.admitTunnel({ ...whose, standsBack });
	if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
		throw new RouterError("method_not_allowed", `GET ${TUNNEL_PATH} opens a WebSocket: there is nothing else here.`);
	}
}

/** The same for the agent of this process: it shows no token, and its endpoint is its own. */
export function inProcessRegistrar(registry: AgentRegistry): AgentRegistrar {
	return {
		register: (body) => registry.register(body, body.endpoint, true),
		heartbeat: (body) => registry.heartbeat(body, () => true),
	};
}

/** Who says to be the agent that asks: a valid name; undefined where the request has none, as those of older agents. */
export function namedAgent({ headers }: Request): string | undefined {
	const name = headers.get(AGENT_HEADER);
	return agentName.Check(name) ? (name as string) : undefined;
}

function peerOf(request: Request, server: Peers | null): string {
	return server?.requestIP(request)?.address ?? "";
}

/** An agent for Prometheus (http_sd); those that are gone, or behind a tunnel, are none of its targets. */
function targetOf({ name, endpoint, state }: ShownAgent) {
	if (state === "gone" || endpoint.startsWith(TUNNEL_PREFIX)) return [];
	const { host, protocol } = new URL(endpoint);
	return [{ targets: [host], labels: { agent: name, __scheme__: protocol.slice(0, -1) } }];
}

function ownAddresses(): string[] {
	return Object.values(networkInterfaces()).flatMap((addresses) => addresses?.map(({ address }) => address) ?? []);
}
