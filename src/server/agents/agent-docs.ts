/** What `/swagger` says of the routes for agents. */
import { answer, type Detail, errorResponses } from "../../http/route-docs.ts";
import { Heartbeat, HeartbeatAnswer, Register, RegisterAnswer } from "../../protocol/agent.ts";

const TAGS = ["Agents"];
const SECURITY = [{ agentToken: [] }];
const READERS = [{ agentToken: [] }, { adminKey: [] }];
const gpu = {
	index: 0,
	name: "NVIDIA L4",
	memory_total: 24_000_000_000,
	memory_used: 20_100_000_000,
	utilization: 0.7,
};
const replicas = [0, 1].map((replica) => ({ replica, state: "ready", running: 1, waiting: 0, kv_cache: 0.31 }));
const model = { name: "qwen3-8b", state: "ready", load: "always", running: 2, waiting: 0, kv_cache: 0.31, replicas };
const instance = "3f1c2f0e-8a54-4d1c-9a53-2f5a1f0f7f11";
const BODY_ERRORS = [
	"invalid_json",
	"invalid_value",
	"invalid_agent_token",
	"body_too_large",
	"unsupported_media_type",
] as const;

const body = (schema: object, example: object) =>
	({ required: true, content: { "application/json": { schema, example } } }) as unknown as NonNullable<
		Detail["requestBody"]
	>;

/** `POST /register`. */
export const REGISTER: Detail = {
	tags: TAGS,
	security: SECURITY,
	operationId: "registerAgent",
	summary: "Register an agent",
	description:
		"Its models become `local/<name>`. The router calls the endpoint back first; an agent that it can't reach is kept and " +
		"gets no calls until it can. The answer's `secret` is what the router's calls to the agent carry.",
	requestBody: body(Register, {
		name: "gpu-1",
		endpoint: "http://10.0.0.7:5000",
		models: [model],
		instance,
		gpus: [gpu],
	}),
	responses: {
		200: answer("It is registered.", { secret: "kLh3…", heartbeat_ms: 5000, reachable: true }, RegisterAnswer),
		...errorResponses(...BODY_ERRORS, "endpoint_not_allowed", "agent_name_taken", "internal_error"),
	},
};

/** `POST /heartbeat`. */
export const HEARTBEAT: Detail = {
	tags: TAGS,
	security: SECURITY,
	operationId: "heartbeat",
	summary: "An agent is alive",
	description:
		"Every 5 s. After 15 s without one the agent is used only where nothing else serves, after 30 s not at all.",
	requestBody: body(Heartbeat, { name: "gpu-1", models: [model], instance, gpus: [gpu] }),
	responses: {
		200: answer("It was heard.", {}, HeartbeatAnswer),
		...errorResponses(...BODY_ERRORS, "agent_not_found", "agent_name_taken", "internal_error"),
	},
};

/** `GET /agents/tunnel`. */
export const TUNNEL: Detail = {
	tags: TAGS,
	security: SECURITY,
	operationId: "openAgentTunnel",
	summary: "Open an agent's tunnel",
	description:
		"A WebSocket over which the router calls an agent that it can't reach otherwise. `x-router-agent` names the agent, `x-router-instance` its installation; " +
		"it registers with the endpoint `tunnel://<name>`. `x-router-tunnels` lists routers of the same Redis to which the agent has tunnels: one that is among them closes this one with code 4002.",
	responses: {
		101: { description: "The tunnel is open." },
		...errorResponses(
			"invalid_value",
			"invalid_agent_token",
			"method_not_allowed",
			"agent_name_taken",
			"internal_error",
		),
	},
};

/** `GET /agents`. */
export const AGENTS: Detail = {
	tags: TAGS,
	security: READERS,
	operationId: "listAgents",
	summary: "The agents",
	description: "Takes the agent token or an admin key.",
	responses: {
		200: answer("All that have registered, the first to come first.", {
			object: "list",
			data: [
				{
					name: "gpu-1",
					endpoint: "http://10.0.0.7:5000",
					state: "fresh",
					reachable: true,
					models: [{ ...model, in_flight: 2, replicas: replicas.map((each) => ({ ...each, in_flight: 1 })) }],
					gpus: [gpu],
					version: "0.2.0",
					instance: instance.slice(0, 8),
					registered_at: "2026-08-01T09:00:00.000Z",
					last_heartbeat: "2026-08-01T09:30:00.000Z",
				},
			],
		}),
		...errorResponses("invalid_agent_token", "internal_error"),
	},
};

/** `GET /agents/targets`. */
export const TARGETS: Detail = {
	tags: TAGS,
	security: READERS,
	operationId: "listAgentTargets",
	summary: "The agents, for Prometheus",
	description: "For `http_sd_configs`: each agent that is not gone, as a target whose `/metrics` can be scraped.",
	responses: {
		200: answer("The targets.", [{ targets: ["10.0.0.7:5000"], labels: { agent: "gpu-1", __scheme__: "http" } }], {
			type: "array",
		}),
		...errorResponses("invalid_agent_token", "internal_error"),
	},
};
