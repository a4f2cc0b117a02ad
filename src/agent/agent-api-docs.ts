/** The agent's own routes as `/swagger` shows them. */
import { Type } from "@sinclair/typebox";
import { AgentModel } from "../config/agent-schema.ts";
import { answer, type Detail, errorResponses, wildcard } from "../http/route-docs.ts";
import { RollBody } from "./models/roll-order.ts";

const TAGS = ["Operations"];
const EXAMPLE = {
	name: "qwen3-8b",
	model: "Qwen/Qwen3-8B",
	load: "on-demand",
	state: "ready",
	running: 2,
	waiting: 0,
	kv_cache: 0.12,
	max_model_len: 32768,
	replicas: [
		{
			replica: 0,
			state: "ready",
			container: "4f1c0f7a2b1d",
			port: 40123,
			gpus: [0],
			gpu_memory: 21474836480,
			running: 2,
			engine: {
				waiting: { capacity: 0, deferred: 0 },
				prompt_tokens: { computed: 48211, cached: 90112, transferred: 0 },
				refused: 0,
			},
		},
	],
};
const commonErrors = errorResponses("invalid_api_key", "foreign_host", "foreign_origin", "internal_error");
const unknownModelErrors = errorResponses("model_not_found", "invalid_api_key", "internal_error");
const parameter = {
	name: "name",
	in: "path",
	required: true,
	schema: { type: "string" },
	example: "qwen3-8b",
} as const;
const NAME = "The model's name; one with slashes may be written with them.";

/** `GET /models`. */
export const MODELS_DOC: Detail = {
	tags: TAGS,
	operationId: "agentModels",
	summary: "The agent's models and their states",
	responses: {
		200: answer("Every model that the agent may run.", { object: "list", data: [EXAMPLE] }),
		...commonErrors,
	},
};

/** `GET /models/{name}`. */
export const MODEL_DOC: Detail = {
	tags: TAGS,
	operationId: "agentModel",
	summary: "One model",
	description:
		"A LoRA adapter is shown as the model that it changes is, with `parent`; a model's `adapters` are their names.",
	...wildcard("name", NAME, "qwen3-8b"),
	responses: { 200: answer("The model.", EXAMPLE), ...unknownModelErrors },
};

/** How an API call describes a model that is not in the configuration. */
export const LoadBody = Type.Partial(Type.Omit(AgentModel, ["name", "mounts"]), {
	description: "For a model the agent does not know: what it is, with the keys of `agent.models`.",
	additionalProperties: false,
});

/** `POST /models/{name}/load`. */
export const LOAD_DOC: Detail = {
	tags: TAGS,
	operationId: "loadModel",
	summary: "Load a model",
	description: "Answers at once; the model's state says how far it is. Clears the wait after failures.",
	parameters: [{ ...parameter, description: NAME }],
	requestBody: {
		required: false,
		content: { "application/json": { schema: LoadBody as object, example: { model: "Qwen/Qwen3-8B", gpus: 1 } } },
	},
	responses: {
		202: answer("It is on its way.", { ...EXAMPLE, state: "starting", progress: "starting: loading, 40 %" }),
		...unknownModelErrors,
		...errorResponses("invalid_value", "invalid_json", "unsupported_media_type", "body_too_large"),
	},
};

/** `POST /models/{name}/unload`. */
export const UNLOAD_DOC: Detail = {
	tags: TAGS,
	operationId: "unloadModel",
	summary: "Unload a model",
	description:
		"Running calls finish first. An on-demand model is loaded again by its next call, others by `load` alone.",
	parameters: [{ ...parameter, description: NAME }],
	responses: { 202: answer("It is on its way out.", { ...EXAMPLE, state: "draining" }), ...unknownModelErrors },
};

/** `POST /models/{name}/roll`. */
export const ROLL_DOC: Detail = {
	tags: TAGS,
	operationId: "rollModel",
	summary: "Replace a model's containers while it serves",
	description:
		"By what its configuration says now, or by another image. A first new container gets a share of the calls; where it answers as well as the old ones they are replaced, else it goes. `roll` says how far that is. Answers at once; `roll_ordered` is there until the agent has decided, within seconds: with no other `roll` by then there was nothing to roll, since the model does not serve, and it starts with what is new.",
	parameters: [{ ...parameter, description: NAME }],
	requestBody: {
		required: false,
		content: {
			"application/json": { schema: RollBody as object, example: { image: "vllm/vllm-openai:v0.33.0", canary: "10%" } },
		},
	},
	responses: {
		202: answer("It begins.", {
			...EXAMPLE,
			roll_ordered: true,
			roll: { state: "starting", image: "vllm/vllm-openai:v0.33.0", canary: 0.1, at: "2026-11-30T12:00:00.000Z" },
		}),
		...unknownModelErrors,
		...errorResponses("invalid_value", "invalid_json", "body_too_large"),
	},
};

/** `GET /models/{name}/logs`. */
export const LOGS_DOC: Detail = {
	tags: TAGS,
	operationId: "modelLogs",
	summary: "A model's log",
	description: "What its container logged; once that is gone, its last lines. With `follow=1` as server-sent events.",
	parameters: [
		{ ...parameter, description: NAME },
		{
			name: "follow",
			in: "query",
			schema: { type: "string", enum: ["1", "0"] },
			description: "Go on as it is written.",
		},
		{
			name: "tail",
			in: "query",
			schema: { type: "integer", minimum: 0, maximum: 100000, default: 200 },
			description: "Lines to begin with.",
		},
		{
			name: "replica",
			in: "query",
			schema: { type: "integer", minimum: 0, default: 0 },
			description: "Which of its containers.",
		},
	],
	responses: {
		200: {
			description: "Lines of text; with `follow=1` an event each.",
			content: {
				"text/plain": {
					schema: { type: "string" },
					example: "INFO 09-01 12:00:00 [api_server.py:1772] vLLM API server\n",
				},
				"text/event-stream": { schema: { type: "string" }, example: "data: INFO 09-01 12:00:00 vLLM API server\n\n" },
			},
		},
		...unknownModelErrors,
		...errorResponses("invalid_value"),
	},
};

/** `GET /gpus`. */
export const GPUS_DOC: Detail = {
	tags: TAGS,
	operationId: "agentGpus",
	summary: "The host's GPUs and who holds their memory",
	responses: {
		200: answer("Every GPU that nvidia-smi lists.", {
			object: "list",
			accelerator: "nvidia",
			data: [
				{
					index: 0,
					name: "NVIDIA L4",
					memory_total: 24152899584,
					memory_used: 21474836480,
					utilization: 0.4,
					temperature: 61,
					power: 54.3,
					models: [{ model: "qwen3-8b", replica: 0, bytes: 21474836480 }],
				},
			],
		}),
		...commonErrors,
	},
};
