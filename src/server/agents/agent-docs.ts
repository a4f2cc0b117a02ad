/** What `/swagger` says of the routes for agents. */
import { answer, type Detail, errorResponses, wildcard } from "../../http/route-docs.ts";
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
		"A WebSocket over which the router calls an agent that it can't reach otherwise. `x-router-agent` names the agent, `x-router-instance` its installation, `x-router-process` its start: while another start of that installation answers this one gets none; " +
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
	description:
		"`wake` is there for an agent that is gone and whose host a call would wake (`asleep`), or has (`waking`): `agents.wake`; `refused` for one that is late or gone and whose requests the router does not let in: why. Takes the agent token or an admin key.",
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

/** `GET /agents/replicas`. */
export const REPLICAS: Detail = {
	tags: TAGS,
	security: READERS,
	operationId: "listReplicas",
	summary: "Replicas of on-demand models, over all agents",
	description:
		"The models of `agents.replicas`. `orders` is what is under way and why, at the router that decides; `goals` what agents are told; " +
		"`shortage` why there are fewer than `min`, or that no agent has the model. Takes the agent token or an admin key.",
	responses: {
		200: answer("All of them, in the order of the configuration.", {
			object: "list",
			data: [
				{
					model: "qwen3-8b",
					min: 1,
					max: 3,
					ready: 1,
					coming: 1,
					orders: [
						{
							agent: "gpu-2",
							what: "load",
							why: "40 calls are more than 32 for each of 1; its weights are there, its memory is free",
						},
					],
					goals: [
						{ agent: "gpu-1", goal: "keep" },
						{ agent: "gpu-2", goal: "load" },
					],
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

const OWN_ERRORS = [
	"invalid_admin_key",
	"agent_not_found",
	"unknown_path",
	"upstream_unreachable",
	"internal_error",
] as const;
const OWN = { tags: TAGS, security: [{ adminKey: [] }] };
const text = (description: string, type: string, example: string) => ({
	description,
	content: { [type]: { schema: { type: "string" }, example } },
});

/** `GET /agents/{name}/models`. */
export const AGENT_MODELS = {
	...OWN,
	operationId: "listAgentModels",
	summary: "The models of an agent",
	description:
		"What the agent itself answers to `GET /models`: their states, reasons and progress. Through its tunnel, where it has one.",
	responses: {
		200: answer("Its models.", { object: "list", data: [{ name: "qwen3-8b", state: "ready" }] }),
		...errorResponses(...OWN_ERRORS),
	},
} as Detail;

/** `GET /agents/{name}/models/{model}`. */
export const AGENT_MODEL = {
	...OWN,
	operationId: "getAgentModel",
	summary: "A model of an agent, or its log",
	description: "With `/logs` behind the name its container's log, with `?follow=1` as events.",
	...wildcard("model", "Its name, and `/logs` for its log.", "qwen3-8b/logs"),
	responses: {
		200: answer("The model.", { name: "qwen3-8b", state: "ready" }),
		...errorResponses(...OWN_ERRORS, "model_not_found"),
	},
} as Detail;

/** `POST /agents/{name}/models/{model}/load`, `/unload`. */
export const AGENT_ORDER = {
	...OWN,
	operationId: "orderAgentModel",
	summary: "Load or unload a model of an agent",
	description: "Goes to the agent as it is; a body describes a model that it does not know.",
	...wildcard("model", "Its name, and `/load` or `/unload`.", "qwen3-8b/load"),
	responses: {
		200: answer("What becomes of it.", { name: "qwen3-8b", state: "starting" }),
		...errorResponses(...OWN_ERRORS, "model_not_found", "invalid_json", "invalid_value", "body_too_large"),
	},
} as Detail;

/** `GET /agents/{name}/gpus`. */
export const AGENT_GPUS = {
	...OWN,
	operationId: "listAgentGpus",
	summary: "The GPUs of an agent",
	responses: { 200: answer("Its GPUs.", { object: "list", data: [gpu] }), ...errorResponses(...OWN_ERRORS) },
} as Detail;

/** `GET /agents/{name}/metrics`. */
export const AGENT_METRICS = {
	...OWN,
	operationId: "agentMetrics",
	summary: "The metrics of an agent",
	responses: {
		200: text("The Prometheus text format.", "text/plain", "router_agent_docker_up 1"),
		...errorResponses(...OWN_ERRORS),
	},
} as Detail;
