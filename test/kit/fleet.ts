/** The router's agents in this process: a fleet whose clock the test winds, and whose call backs it answers. */
import { type AgentSecrets, agentSecrets } from "../../src/accounts/auth/agent-secrets.ts";
import type { ModelReport } from "../../src/protocol/agent.ts";
import type { Transport } from "../../src/providers/provider.ts";
import { configureUpstreams } from "../../src/providers/registry.ts";
import { responseAnswer } from "../../src/proxy/net/transport.ts";
import { LocalRoutingState } from "../../src/routing/local-routing-state.ts";
import { AgentPrefixes } from "../../src/server/agents/agent-prefixes.ts";
import { AgentRegistry } from "../../src/server/agents/agent-registry.ts";
import type { AgentRegistryOptions } from "../../src/server/agents/agent-registry-options.ts";
import { AgentFleet } from "../../src/server/agents/fleet.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { configOf } from "./pipeline.ts";

/** It, and the hands on it. */
export interface FleetRig {
	readonly registry: AgentRegistry;
	readonly fleet: AgentFleet;
	readonly secrets: AgentSecrets;
	/** What is known of its targets. */
	readonly targets: LocalRoutingState;
	/** What it logged. */
	readonly lines: string[];
	/** Origins that don't answer call backs. */
	readonly blocked: Set<string>;
	/** Agents that have a tunnel to this router. */
	readonly tunnels: Set<string>;
	/** By agent, which start of it has that tunnel; of one that is not there an older agent has it. */
	readonly tunnelProcesses: Map<string, string>;
	/** Addresses that were called back. */
	readonly calledBack: string[];
	/** Lets time pass, a second at a time, as the running process has it. */
	pass(ms: number): void;
	/** The process stands still: the clock jumps. */
	standStill(ms: number): void;
	/** Registers an agent at 10.0.0.<n>, n being the number in its name. */
	register(
		name: string,
		models: (string | ModelReport)[],
		over?: { instance?: string; endpoint?: string },
	): Promise<object>;
	heartbeat(name: string, models: (string | ModelReport)[], instance?: string): Promise<object>;
	/** Somebody sets the wall clock: that much off the time that has passed, ms. */
	setWall(ms: number): void;
	/** Another one on the same data, as after a restart. */
	restarted(): FleetRig;
	close(): void;
}

/** `gpu-7` → `http://10.0.0.7:5000`. */
export function endpointOf(name: string): string {
	return `http://10.0.0.${/\d+$/.exec(name)?.[0] ?? 1}:5000`;
}

/** Makes one on a data directory. @param random chance; 0 unless told, so that the order is the agents' own */
export function fleetRig(
	dataDir: string,
	random: () => number = () => 0,
	start = 0,
	isCutOff: () => boolean = () => false,
): FleetRig {
	const lines: string[] = [];
	const blocked = new Set<string>();
	const tunnels = new Set<string>();
	const tunnelProcesses = new Map<string, string>();
	const calledBack: string[] = [];
	let now = start;
	let off = 0;
	const transport: Transport = {
		send({ url }) {
			calledBack.push(url);
			if (blocked.has(new URL(url).origin)) return Promise.reject(new Error("blocked"));
			return Promise.resolve(responseAnswer(new Response("{}")));
		},
	};
	const config = configOf();
	const write = (_fields: unknown, text: string) => void lines.push(text);
	const log = { logger: { info: write, warn: write, error: write } } as unknown as AgentRegistryOptions["log"];
	const store = sqliteStore(dataDir, (problem) => lines.push(problem));
	const targets = new LocalRoutingState(() => now);
	const secrets = agentSecrets(dataDir);
	const registry = new AgentRegistry({
		upstream: configureUpstreams(config, {}).find(({ name }) => name === "local")!,
		transport,
		store,
		secrets,
		log,
		link: {
			get isUp() {
				return !isCutOff();
			},
		},
		tunnels: { isOpen: (agent) => tunnels.has(agent), processOf: (agent) => tunnelProcesses.get(agent) },
		prefixes: new AgentPrefixes(targets),
		time: () => now,
		wall: () => 1_790_000_000_000 + now + off,
	});
	const fleet = new AgentFleet(registry, targets, random);
	const closeRegistry = registry.open();
	const close = () => {
		closeRegistry();
		store.close();
	};
	const jump = (ms: number) => {
		now += ms;
		registry.tick();
	};
	return {
		registry,
		fleet,
		secrets,
		targets,
		lines,
		blocked,
		tunnels,
		tunnelProcesses,
		calledBack,
		pass(ms) {
			for (let left = ms; left > 0; left -= 1000) jump(Math.min(left, 1000));
		},
		standStill: jump,
		setWall(ms) {
			off = ms;
		},
		register: (name, models, { instance = `${name}-a`, endpoint = endpointOf(name) } = {}) =>
			registry.register({ name, models, instance, endpoint }, endpoint),
		heartbeat: (name, models, instance = `${name}-a`) => registry.heartbeat({ name, models, instance }, () => true),
		restarted: () => fleetRig(dataDir, random, now),
		close,
	};
}
