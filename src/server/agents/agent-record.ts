/** An agent as the router knows it, and as it is stored and shown. */
import { RouterError } from "../../errors.ts";
import {
	type GpuReport,
	HEARTBEAT_MS,
	type ModelGoal,
	type ModelReport,
	modelReport,
	type RegisterAnswer,
	replicaStates,
} from "../../protocol/agent.ts";
import { withNamedShares } from "../../protocol/router-shares.ts";
import { tunnelEndpoint } from "../../protocol/tunnel.ts";
import { openAiCompatible } from "../../providers/openai/index.ts";
import type { Provider, Transport } from "../../providers/provider.ts";
import type { Upstream } from "../../providers/registry.ts";
import { BLOCK } from "../../routing/affinity.ts";
import type { AgentView } from "../../routing/agent-targets.ts";
import { type Lease, leaseAt, type WakeState } from "../../routing/lease.ts";
import type { StoredAgent } from "../../store/store.ts";
import type { TunnelHub } from "./tunnels.ts";

/** What is known of an agent. The registry alone changes it. */
export interface AgentRecord extends AgentView {
	readonly instance: string | undefined;
	readonly endpoint: string;
	readonly version: string | undefined;
	/** Unix time, ms. */
	readonly registeredAt: number;
	/** It runs in this process: no other router reaches it, and it comes and goes with this one, so it is neither shared nor stored. */
	readonly isInProcess: boolean;
	/** Calls its endpoint with its own secret. */
	provider: Provider;
	/** Its last registration gave it this one, with which it is called once its next heartbeat shows that it has it. */
	nextSecret: string | undefined;
	models: ReadonlyMap<string, ModelReport>;
	gpus: readonly GpuReport[] | undefined;
	/** What it is to do with its on-demand models: the answer to each of its heartbeats says it. Undefined: nothing was decided yet. */
	goals: readonly ModelGoal[] | undefined;
	/** The last heartbeat or registration, on the lease clock, ms. */
	heardAt: number;
	/** The same as Unix time, ms. */
	heardAtTime: number;
	isReachable: boolean;
	/** Why it can't be reached. */
	problem: string | undefined;
	/** See AgentView. */
	reopensUntil: number | undefined;
	isSuspect: boolean;
	/** Why a request in its name was refused since it was last heard of: a clause. */
	refused: string | undefined;
	/** Its host sleeps, and may be woken; undefined: it does not, or may not be. */
	wake: WakeState | undefined;
	/** `agents.wake` has its host: it is remembered however long it sleeps. */
	canWake: boolean;
	/** It does not know its secret: its next heartbeat is answered 404, so that it registers. */
	mustRegister: boolean;
	/** The lease that was last logged. */
	loggedLease: Lease;
	/** Heard of since it was last stored. */
	isDirty: boolean;
	/** When other routers were last told of it, on the lease clock, ms. */
	sharedAt: number;
}

/** Who an agent is. */
export type RegisteredAgent = Pick<
	AgentRecord,
	"name" | "instance" | "endpoint" | "version" | "registeredAt" | "isInProcess"
>;

/** What was heard of it. */
export type HeardOfAgent = Pick<AgentRecord, "heardAt" | "heardAtTime" | "gpus"> & {
	readonly models: readonly (string | ModelReport)[];
};

/** A record of what was just heard. @param now the time on the lease clock, ms */
export function agentRecord(
	who: RegisteredAgent,
	heard: HeardOfAgent,
	{
		now,
		...rest
	}: Pick<AgentRecord, "provider" | "nextSecret" | "problem" | "reopensUntil" | "goals"> & { readonly now: number },
): AgentRecord {
	return {
		...who,
		...heard,
		...rest,
		models: modelsByName(heard.models),
		isReachable: rest.problem === undefined,
		isSuspect: false,
		...{ refused: undefined, wake: undefined, canWake: false, mustRegister: false },
		loggedLease: leaseAt(heard.heardAt, now),
		isDirty: false,
		sharedAt: Number.NEGATIVE_INFINITY,
	};
}

/** A heartbeat has come. @param now on the lease clock, ms @param wall Unix time, ms */
export function hearAgain(
	agent: AgentRecord,
	{ models, gpus }: Pick<AgentRecord, "models" | "gpus">,
	now: number,
	wall: number,
): void {
	agent.models = models;
	agent.gpus = gpus ?? agent.gpus;
	agent.heardAt = now;
	agent.heardAtTime = nextHeardAt(agent, wall);
	Object.assign(agent, { isSuspect: false, isDirty: true, refused: undefined });
}

/** What a registration is answered. @param secret which it is given @param takesPrefixes whether reports of prefix caches are taken */
export const registerAnswer = (
	{ isReachable, problem }: Pick<AgentRecord, "isReachable" | "problem">,
	secret: string,
	takesPrefixes: boolean,
): RegisterAnswer => ({
	...{ secret, heartbeat_ms: HEARTBEAT_MS, reachable: isReachable },
	...(takesPrefixes && { prefix_blocks: BLOCK }),
	...(problem !== undefined && { problem }),
});

/** What a heartbeat is answered. @param missing replicas whose prefix caches are to be reported whole */
export const heartbeatAnswer = (missing: readonly string[], { goals }: Pick<AgentRecord, "goals">) => ({
	...(missing.length > 0 && { resend: missing }),
	// An agent that is told nothing goes on with what it was told before.
	...(goals && { goals }),
});

/** So long an agent whose tunnel has closed stays where calls may go, behind all others, ms: it opens another one within 8 s. */
export const REOPEN_MS = 10_000;

/** Its tunnel is not open any more. @param now the time on the lease clock, ms */
export function closeTunnel(agent: AgentRecord, problem: string, now: number): void {
	if (agent.isReachable) agent.reopensUntil = now + REOPEN_MS;
	agent.isReachable = false;
	agent.problem = problem;
}

/** Calls an agent. @param secret which it knows @param upstream what all agents have in common */
export function agentProvider(
	{ name, endpoint }: Pick<AgentRecord, "name" | "endpoint">,
	secret: string,
	upstream: Upstream,
	transport: Transport,
): Provider {
	const own: Upstream = {
		...upstream,
		baseUrl: `${endpoint}/v1`,
		apiKey: secret,
		otherKeys: [],
		state: "ready",
		keySetting: `agent "${name}", which has to register again`,
	};
	return openAiCompatible(own, transport);
}

/** Why an agent can't be called at its endpoint, as long as that is a tunnel which is not open; undefined where it may be. */
export function tunnelProblem(
	{ name, instance, endpoint }: Pick<AgentRecord, "name" | "instance" | "endpoint">,
	tunnels: Pick<TunnelHub, "isOpen"> | undefined,
): string | undefined {
	if (endpoint !== tunnelEndpoint(name) || tunnels?.isOpen(name, instance)) return undefined;
	return "Its tunnel is not open at this moment: the agent opens it by itself.";
}

/** A report's models by name; of two with one name the later counts. */
export function modelsByName(models: readonly (string | ModelReport)[]): ReadonlyMap<string, ModelReport> {
	return new Map(models.map((each) => withNamedShares(modelReport(each))).map((report) => [report.name, report]));
}

/** Of an agent's names those that are a model at one agent and an adapter at another, one sentence each. */
export function namesakes(agent: AgentRecord, agents: Iterable<AgentRecord>): string[] {
	const sentences: string[] = [];
	for (const other of agents) {
		for (const { name, parent } of other === agent ? [] : agent.models.values()) {
			const theirs = other.models.get(name);
			if (!theirs || (theirs.parent === undefined) === (parent === undefined)) continue;
			const [model, adapter] = parent === undefined ? [agent, other] : [other, agent];
			sentences.push(
				`"${name}" is a model of the agent "${model.name}" and an adapter at "${adapter.name}": calls by that name go to the model, those for the adapter by "${AGENT_PREFIX}${adapter.name}/${name}".`,
			);
		}
	}
	return sentences;
}

/** Whether the models do something else than before: that is stored at once, how busy they are is not. */
export function isSameWork(one: AgentRecord["models"], other: AgentRecord["models"]): boolean {
	const text = (models: AgentRecord["models"]) =>
		[...models.values()]
			.map(({ name, state, load, replicas }) => `${name} ${state} ${load} ${replicaStates(replicas)}`)
			.join("\n");
	return text(one) === text(other);
}

/** Targets at an agent that were ready and are not any more: whatever takes calls there next has an empty prefix cache. */
export function lostTargets(
	agent: string,
	before: AgentRecord["models"] | undefined,
	after: AgentRecord["models"],
): string[] {
	const lost: string[] = [];
	for (const { name, state, replicas = [] } of before?.values() ?? []) {
		const now = after.get(name);
		// By its name alone it may be another container now: those that were told apart in between have numbers.
		const isOther = replicas.length > 0 !== (now?.replicas?.length ?? 0) > 0;
		if (state === "ready" && (now?.state !== "ready" || isOther)) lost.push(targetId(agent, name));
		for (const { replica, state: was } of replicas) {
			const is = now?.replicas?.find((each) => each.replica === replica)?.state;
			if (was === "ready" && is !== "ready") lost.push(targetId(agent, name, replica));
		}
	}
	return lost;
}

/** Targets at an agent that are ready, and whether they are so again: its report before said that they were not. */
export function readyTargets(
	agent: string,
	before: AgentRecord["models"] | undefined,
	after: AgentRecord["models"],
): (readonly [target: string, isAgain: boolean])[] {
	const ready: (readonly [string, boolean])[] = [];
	for (const { name, state, replicas = [] } of after.values()) {
		const was = before?.get(name);
		const isWhole = replicas.every((each) => each.state === "ready");
		if (state === "ready" && isWhole) ready.push([targetId(agent, name), was !== undefined && was.state !== "ready"]);
		for (const each of replicas.filter((one) => one.state === "ready")) {
			const its = was?.replicas?.find(({ replica }) => replica === each.replica)?.state;
			ready.push([targetId(agent, name, each.replica), its !== undefined && its !== "ready"]);
		}
	}
	return ready;
}

/** The agent as it is stored. */
export function storedOf(agent: AgentRecord): StoredAgent {
	const { name, instance, endpoint, gpus, version, registeredAt, heardAtTime: heardAt } = agent;
	return { name, instance, endpoint, models: [...agent.models.values()], gpus, version, registeredAt, heardAt };
}

/** An agent as routers of one Redis tell each other of it: an older one tells no secret. */
export interface SharedAgent extends StoredAgent, Partial<AgentSecretsInUse> {}

/** What an agent is called with now, and from its next heartbeat on. Where that is not known its secret is derived. */
export interface AgentSecretsInUse {
	readonly secret: string;
	readonly nextSecret?: string | undefined;
}

/** The agent as other routers are told of it. */
export const sharedOf = (agent: AgentRecord): SharedAgent => ({
	...storedOf(agent),
	secret: agent.provider.secret!,
	nextSecret: agent.nextSecret,
});

/**
 * The secrets of an agent that registers. One that goes on where it was takes the secret that it has beside the new one, which it does not
 * have before the answer: no call may carry that until then. One that may have started anew knows no other.
 * @param given which the answer gives it @param lease of the record before
 */
export function secretsInUse(
	before: AgentRecord | undefined,
	{ instance, endpoint }: Pick<AgentRecord, "instance" | "endpoint">,
	given: string,
	lease: Lease | undefined,
): AgentSecretsInUse {
	const secret = before?.provider.secret ?? given;
	const isSame = before?.instance === instance && before?.endpoint === endpoint && !before.mustRegister;
	return isSame && lease === "fresh" && secret !== given ? { secret, nextSecret: given } : { secret: given };
}

/** What its last registration gave it. */
export const latestSecret = ({ nextSecret, provider }: Pick<AgentRecord, "nextSecret" | "provider">) =>
	nextSecret ?? provider.secret!;

/** An agent that is told of, or was stored: it is none of this process. */
export const otherProcess = (
	who: Omit<RegisteredAgent, "isInProcess" | "instance" | "version"> & Pick<StoredAgent, "instance" | "version">,
): RegisteredAgent => ({ ...who, instance: who.instance, version: who.version, isInProcess: false });

/** Whether what calls go by is another thing now. */
export function isOtherForCalls(before: AgentRecord | undefined, after: AgentRecord): boolean {
	return (
		before?.endpoint !== after.endpoint ||
		before.provider.secret !== after.provider.secret ||
		before.isReachable !== after.isReachable ||
		before.loggedLease !== after.loggedLease ||
		!isSameWork(before.models, after.models)
	);
}

/** The agent as `GET /agents` shows it. Of the instance only a part: whoever knows all of it could register as this agent. */
export function shownOf(agent: AgentRecord, state: Lease, inFlight: (model: string, replica?: number) => number) {
	const { name, instance, endpoint, isReachable, problem, refused, wake, gpus, version } = agent;
	return {
		...{ name, endpoint, state, reachable: isReachable },
		...(wake === undefined ? {} : { wake }),
		...(problem === undefined ? {} : { problem }),
		...(refused === undefined || state === "fresh" ? {} : { refused }),
		models: [...agent.models.values()].map((model) => ({
			...model,
			in_flight: inFlight(model.name),
			...(model.replicas && {
				replicas: model.replicas.map((each) => ({ ...each, in_flight: inFlight(model.name, each.replica) })),
			}),
		})),
		gpus: gpus ?? [],
		...(version === undefined ? {} : { version }),
		...(instance === undefined ? {} : { instance: instance.slice(0, 8) }),
		registered_at: new Date(agent.registeredAt).toISOString(),
		last_heartbeat: new Date(agent.heardAtTime).toISOString(),
	};
}

/** An agent in the answer of `GET /agents`. */
export type ShownAgent = ReturnType<typeof shownOf>;

/** The time of a heartbeat, Unix time, ms: later than the last one though the clock was set back, since routers that share agents take the newest. */
export const nextHeardAt = (before: Pick<AgentRecord, "heardAtTime"> | undefined, now: number): number =>
	Math.max(now, (before?.heardAtTime ?? 0) + 1);

/** The refusal of an agent whose name is that of another one that is alive. */
export function nameTaken(name: string): RouterError {
	const message = `Another agent is called "${name}" and is alive: give this one another name (ROUTER_AGENT_NAME).`;
	return new RouterError("agent_name_taken", message, { param: "name" });
}

/** The answer to an agent that this router does not know, or no longer: it registers again. */
export function unknownAgent(name: string): RouterError {
	return new RouterError("agent_not_found", `The agent "${name}" is not registered here.`, { param: "name" });
}

/** What the names of agents' models begin with. */
export const AGENT_PREFIX = "local/";

/** The id of a model at an agent, or of one of its replicas. State is keyed by it: the same across restarts of router and agent. */
export function targetId(agent: string, model: string, replica?: number): string {
	// No model's name has a `#`.
	return `${AGENT_PREFIX}${agent}/${model}${replica === undefined ? "" : `#${replica}`}`;
}
