/**
 * The protocol between an agent and its router: `POST /register`, `POST /heartbeat`. Every object lets unknown fields
 * through, so that either side may be upgraded first; every size is bounded, since the other side may be anyone.
 */
import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { RouterShares } from "./router-shares.ts";

const open = <T extends Record<string, TSchema>>(properties: T, description: string) =>
	Type.Object(properties, { additionalProperties: true, description });
const count = (description: string) => Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description });

const watts = () =>
	Type.Number({
		minimum: 0,
		maximum: 1_000_000,
		description:
			"What its GPUs draw, W; of one that it shares with other models a part. For routers that do not know `gpus`.",
	});

const gpuIndexes = () =>
	Type.Array(Type.Integer({ minimum: 0, maximum: 1023 }), {
		maxItems: MAX_GPUS,
		description: "Indexes of the GPUs that it is on, none where it is on none: what those draw its calls get.",
	});

/** Time between two heartbeats, ms. */
export const HEARTBEAT_MS = 5_000;
/** Most models and GPUs of one agent. */
export const MAX_MODELS = 256;
export const MAX_GPUS = 64;
/** Most replicas of one model. */
export const MAX_REPLICAS = 64;
/** Largest body of a registration or a heartbeat, bytes: 256 models with a reason each stay below. */
export const MAX_REPORT_BYTES = 1024 * 1024;

/** Header of a refused registration: the address that the router saw it come from. */
export const PEER_HEADER = "x-router-peer";

/** Header of an agent's registrations, heartbeats and tunnels: its name, which the router knows before it reads a body. Older agents send it with tunnels alone. */
export const AGENT_HEADER = "x-router-agent";

/**
 * Names one replica of a model, as its report numbers it. On the router's call: the replica that is to take it. On the agent's answer: the
 * one that did. No client's header of this name goes further than the router.
 */
export const REPLICA_HEADER = "x-router-replica";

/** An agent's name: it is part of paths, labels and logs, so it can be neither a path nor a flag. */
export const AgentName = Type.String({
	maxLength: 64,
	pattern: "^[A-Za-z0-9][A-Za-z0-9._-]*$",
	expects: "a name of letters, digits, `.`, `_` and `-` that begins with a letter or a digit",
	description: "The agent's name: letters, digits, `.`, `_` and `-`.",
	examples: ["gpu-1"],
});

/**
 * A model's name, as the agent's OpenAI API knows it: `qwen3-8b`, `Qwen/Qwen3-8B`, `/models/qwen3` (what a vLLM that was
 * started on a directory calls it). No part of it is `..` and none begins with a dash: no name is a flag or leads out of a
 * directory.
 */
export const ModelName = Type.String({
	maxLength: 200,
	pattern: "^/?[.]?\\w[\\w.:@+=-]*(/[.]?\\w[\\w.:@+=-]*)*$",
	expects: "a model name of letters, digits and `._-:@+=`, with `/` between its parts",
	description: "The model's name at the agent: letters, digits and `._-:@+=`, with `/` between its parts.",
	examples: ["qwen3-8b"],
});

/** What a model is doing. `sleeping`: its weights wait in host memory; it wakes in seconds. */
export const ModelState = Type.Union([
	Type.Literal("stopped"),
	Type.Literal("pulling"),
	Type.Literal("starting"),
	Type.Literal("ready"),
	Type.Literal("sleeping"),
	Type.Literal("draining"),
	Type.Literal("failed"),
]);
export type ModelState = Static<typeof ModelState>;

/** When a model is loaded: at once, for its first call, or only by the API. */
export const LoadMode = Type.Union([Type.Literal("always"), Type.Literal("on-demand"), Type.Literal("manual")]);
export type LoadMode = Static<typeof LoadMode>;

/** One replica of a model: one container, whatever restarts it. */
export const ReplicaReport = open(
	{
		replica: Type.Integer({ minimum: 0, maximum: 1023, description: "Its number among the model's, from 0." }),
		gpus: Type.Optional(gpuIndexes()),
		power: Type.Optional(watts()),
		energy_shares: Type.Optional(RouterShares),
		state: ModelState,
		running: Type.Optional(count("Requests it works on.")),
		waiting: Type.Optional(count("Requests that wait at its engine.")),
		kv_cache: Type.Optional(
			Type.Number({ minimum: 0, maximum: 1, description: "Share of its KV cache in use, 0 to 1." }),
		),
		generation: Type.Optional(
			Type.String({
				maxLength: 64,
				description:
					"What it is made from: another text for another image, arguments or version. There while several are.",
			}),
		),
		canary: Type.Optional(
			Type.Number({
				minimum: 0,
				maximum: 1,
				description: "It is new and on trial: the share of conversations that it gets, 0 to 1.",
			}),
		),
	},
	"One replica of the model.",
);
export type ReplicaReport = Static<typeof ReplicaReport>;

/**
 * What becomes of an on-demand model's memory if it is loaded now. `now`: it is free, or the model has it; `evicting`: once idle models have gone;
 * `busy`: once models with calls have; `no`: it would not fit if all that may go went.
 */
export const Fit = Type.Union([
	Type.Literal("now"),
	Type.Literal("evicting"),
	Type.Literal("busy"),
	Type.Literal("no"),
]);
export type Fit = Static<typeof Fit>;

/** What an agent has to offer an on-demand model of its. An agent that reports it takes `goals`. */
export const PlacementReport = open(
	{
		fits: Fit,
		download: Type.Optional(count("Bytes of its weights that are not on this host's disk; absent: not known.")),
		memory: Type.Optional(
			count("Bytes that each replica takes on each of its GPUs, where the agent's file says that."),
		),
	},
	"What loading it here would take.",
);
export type PlacementReport = Static<typeof PlacementReport>;

/** One model of an agent. */
export const ModelReport = open(
	{
		name: ModelName,
		model: Type.Optional(Type.String({ maxLength: 512, description: "Where its weights are: `Qwen/Qwen3-8B`." })),
		parent: Type.Optional({ ...ModelName, description: "Of a LoRA adapter: the model that it changes." }),
		state: ModelState,
		load: Type.Optional(LoadMode),
		reason: Type.Optional(Type.String({ maxLength: 2048, description: "Why it is in that state, and what to do." })),
		running: Type.Optional(count("Requests it works on.")),
		waiting: Type.Optional(count("Requests that wait for it.")),
		kv_cache: Type.Optional(
			Type.Number({ minimum: 0, maximum: 1, description: "Share of its KV cache in use, 0 to 1." }),
		),
		max_model_len: Type.Optional(count("Longest context, tokens.")),
		gpus: Type.Optional(gpuIndexes()),
		power: Type.Optional(watts()),
		energy_shares: Type.Optional(RouterShares),
		time_shares: Type.Optional(RouterShares),
		placement: Type.Optional(PlacementReport),
		replicas: Type.Optional(
			Type.Array(ReplicaReport, {
				maxItems: MAX_REPLICAS,
				description: "All that it has, where they are several. Calls may name one with `x-router-replica`.",
			}),
		),
		roll: Type.Optional(
			Type.String({ maxLength: 2048, description: "How far a rolling change is, or how the last one ended, and why." }),
		),
	},
	"One model of the agent.",
);
export type ModelReport = Static<typeof ModelReport>;

/** One GPU of an agent. What a driver does not report is left out. */
export const GpuReport = open(
	{
		index: Type.Integer({ minimum: 0, maximum: 1023 }),
		name: Type.String({ maxLength: 128, examples: ["NVIDIA L4"] }),
		uuid: Type.Optional(Type.String({ maxLength: 128 })),
		memory_total: count("Bytes."),
		memory_used: count("Bytes."),
		utilization: Type.Optional(Type.Number({ minimum: 0, maximum: 1, description: "0 to 1." })),
		temperature: Type.Optional(Type.Number({ description: "°C." })),
		power: Type.Optional(Type.Number({ minimum: 0, description: "W." })),
		power_limit: Type.Optional(
			Type.Number({ minimum: 0, description: "W: it is slowed down so that it draws no more." }),
		),
	},
	"One GPU of the host.",
);
export type GpuReport = Static<typeof GpuReport>;

const models = Type.Array(Type.Union([ModelName, ModelReport]), {
	maxItems: MAX_MODELS,
	description: "What it serves. A bare name counts as ready.",
});
const gpus = Type.Optional(Type.Array(GpuReport, { maxItems: MAX_GPUS }));
const uuid = (description: string) =>
	Type.Optional(Type.String({ maxLength: 64, pattern: "^[A-Za-z0-9-]+$", expects: "a UUID", description }));
const ofAgent = {
	instance: uuid("A UUID of this installation: tells a changed address from a second agent of that name."),
	process: uuid("A UUID of this start of the agent: tells it from one with a copy of its data directory."),
};

/** Largest list of blocks in one report, characters of base64: 16,384 of 4 bytes. */
const MAX_BLOCKS_TEXT = 87_384;
const blocks = (description: string) =>
	Type.Optional(
		Type.String({
			maxLength: MAX_BLOCKS_TEXT,
			description: `${description} 4 bytes each, the lowest first, as base64.`,
		}),
	);

/**
 * What one replica's engine has in its prefix cache, as blocks of the prompts that it was given: hashes of 256 characters and all before
 * them, as `promptOf` (routing/affinity.ts) makes them of the same call.
 */
export const PrefixReport = open(
	{
		model: ModelName,
		replica: Type.Integer({ minimum: 0, maximum: 1023 }),
		version: Type.Integer({ minimum: 1, description: "Of what it has; one more with each report." }),
		since: Type.Optional(
			Type.Integer({ minimum: 1, description: "The version to which this comes; absent: it has nothing but this." }),
		),
		added: blocks("Blocks that it has now."),
		removed: blocks("Blocks that it has no more."),
	},
	"What one replica's engine has in its prefix cache, or what of that has changed.",
);
export type PrefixReport = Static<typeof PrefixReport>;

/** `POST /register`. */
export const Register = open(
	{
		name: AgentName,
		endpoint: Type.String({
			minLength: 1,
			maxLength: 300,
			description: "Where the router reaches it: an origin, without `/v1`.",
			examples: ["http://10.0.0.7:5000"],
		}),
		models,
		...ofAgent,
		gpus,
		version: Type.Optional(Type.String({ maxLength: 64 })),
	},
	"An agent that wants to serve.",
);
export type Register = Static<typeof Register>;

/** What `POST /register` answers. */
export const RegisterAnswer = open(
	{
		secret: Type.String({
			description: "What the router's calls to this agent will carry as `Authorization: Bearer …`.",
		}),
		heartbeat_ms: Type.Integer({ minimum: 1, description: "How often it wants to hear of the agent." }),
		reachable: Type.Boolean({ description: "Whether the router could call the endpoint." }),
		prefix_blocks: Type.Optional(
			Type.Integer({ description: "Characters a block of the reports of prefix caches that it takes; absent: none." }),
		),
		problem: Type.Optional(Type.String({ description: "If not, why, and what to do." })),
	},
	"The router takes it.",
);
export type RegisterAnswer = Static<typeof RegisterAnswer>;

/**
 * `POST /heartbeat`. 404 where the router does not know the agent, which then registers; 409 where another agent of that
 * name is alive.
 */
export const Heartbeat = open(
	{
		name: AgentName,
		...ofAgent,
		models,
		gpus,
		prefixes: Type.Optional(
			Type.Array(PrefixReport, {
				maxItems: MAX_MODELS,
				description: "Of replicas whose caches have changed. Absent: the agent does not report that.",
			}),
		),
	},
	"An agent that is alive.",
);
export type Heartbeat = Static<typeof Heartbeat>;

/**
 * What a router wants of an on-demand model at an agent, as long as it says so. `keep`: loaded, whether or not calls come; nothing evicts it. `load`:
 * loaded as by a call that waits. `unload`: not loaded, once it has had no call for `idle_ms`.
 */
export const ModelGoal = open(
	{
		model: ModelName,
		goal: Type.Union([Type.Literal("keep"), Type.Literal("load"), Type.Literal("unload")]),
		idle_ms: Type.Optional(count("Of `unload`, ms; 0 without it.")),
	},
	"What the router wants of a model.",
);
export type ModelGoal = Static<typeof ModelGoal>;

/** How long a goal holds that is not said again, ms: as long as an agent counts at the router that is not heard of. */
export const GOAL_MS = 30_000;

/** What `POST /heartbeat` answers: `{}`, or what is wrong with the way back. */
export const HeartbeatAnswer = open(
	{
		reachable: Type.Optional(Type.Boolean()),
		problem: Type.Optional(Type.String()),
		resend: Type.Optional(
			Type.Array(Type.String(), {
				description: "Replicas whose prefix caches it wants to hear of whole: `<model>#<replica>`.",
			}),
		),
		goals: Type.Optional(
			Type.Array(ModelGoal, {
				maxItems: MAX_MODELS,
				description:
					"What it wants of on-demand models from now on, for 30 s; of those that are not named, nothing. Absent: it has not decided, and what was said before holds on.",
			}),
		),
	},
	"The router has heard it.",
);
export type HeartbeatAnswer = Static<typeof HeartbeatAnswer>;

/** The router's side for an agent in the same process: no HTTP and no token. Both reject with the RouterError that the routes would answer. */
export interface AgentRegistrar {
	register(body: Register): Promise<RegisterAnswer>;
	heartbeat(body: Heartbeat): Promise<HeartbeatAnswer>;
}

/** How a router names a replica that is to report its whole prefix cache. */
export const prefixKey = (model: string, replica: number): string => `${model}#${replica}`;

/** What a model's replicas do, as text to compare: how busy they are is no part of it. */
export function replicaStates(replicas: readonly ReplicaReport[] = []): string {
	return replicas.map(({ replica, state, canary }) => `${replica}:${state}${canary ?? ""}`).join();
}

/** The report of a model that may be given by its bare name. */
export function modelReport(model: string | ModelReport): ModelReport {
	return typeof model === "string" ? { name: model, state: "ready" } : model;
}
