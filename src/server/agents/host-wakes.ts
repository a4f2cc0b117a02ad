/**
 * Hosts that sleep and that a call, or `agents.replicas`, may have woken (`agents.wake`): which may be, one wake for all calls that wait for it, its packets, and how it
 * ended. The main thread's; a worker asks for one (`WakingHosts`).
 */
import type { CancelSignal } from "../../providers/provider.ts";
import { canServe } from "../../routing/agent-targets.ts";
import type { Lease, WakeState } from "../../routing/lease.ts";
import type { Log } from "../../telemetry/log.ts";
import type { AgentRecord } from "./agent-record.ts";
import { sendMagicPacket, type WakeSettings } from "./magic-packet.ts";

/** From one packet to the next, ms: cards miss some. */
const REPEAT_MS = 5_000;
/** A host that did not wake up is not woken again for so long, ms. */
const REST_MS = 600_000;
const TICK_MS = 1_000;
/** How often a call looks whether its host is there, ms. */
const LOOK_MS = 100;
/** How long an agent that is heard of again may be out of reach before it is called all the same, and the call told why that failed, ms. */
const REACH_MS = 30_000;

/** What is read of the registry. */
export interface WakeRegistry {
	readonly agents: ReadonlyMap<string, AgentRecord>;
	leaseOf(agent: AgentRecord): Lease;
}

/** What they work with. */
export interface HostWakesOptions {
	readonly registry: WakeRegistry;
	readonly log: Pick<Log, "logger">;
	/** Counts how a wake ended. */
	readonly ended: (agent: string, result: "woken" | "failed") => void;
	/** Tests: in place of the network, and a clock that never goes back, ms. */
	readonly send?: (settings: WakeSettings, endpoint: string) => Promise<string | undefined>;
	readonly time?: () => number;
}

/** `agents` of a configuration. */
export interface WakingSettings {
	readonly wake: Readonly<Record<string, WakeSettings>>;
	/** ms */
	readonly wake_wait: number;
}

interface Wake {
	readonly since: number;
	sentAt: number;
	packets: number;
	/** Why the last packet was not sent. */
	problem: string | undefined;
}

const NONE: WakingSettings = { wake: {}, wake_wait: 0 };

/** All hosts of one router. */
export class HostWakes {
	/** Under way, by agent. */
	readonly #wakes = new Map<string, Wake>();
	/** When the last one failed, by agent. */
	readonly #failedAt = new Map<string, number>();
	/** Of the configuration in force. */
	#settings: () => WakingSettings = () => NONE;
	#isReplaced = false;
	readonly #send: NonNullable<HostWakesOptions["send"]>;
	readonly #time: () => number;

	constructor(private readonly options: HostWakesOptions) {
		this.#send = options.send ?? sendMagicPacket;
		this.#time = options.time ?? (() => performance.now());
	}

	/** Begins to look which hosts sleep, and which have come. Returns how to end that. @param settings of the configuration in force */
	open(settings: () => WakingSettings): () => void {
		this.#settings = settings;
		const timer = setInterval(() => this.tick(), TICK_MS);
		timer.unref();
		return () => clearInterval(timer);
	}

	/** Another process has this one's place, and hears of agents: no further host is taken for asleep. Wakes that are under way go on to their end. */
	replaced(): void {
		this.#isReplaced = true;
	}

	/** A host is needed: it is woken, unless that is under way, or it may not be. @param why for the log */
	begin(name: string, why = "a call waits for it"): void {
		const agent = this.options.registry.agents.get(name);
		if (!agent || this.#stateOf(agent) !== "asleep") return;
		const now = this.#time();
		this.#wakes.set(name, { since: now, sentAt: Number.NEGATIVE_INFINITY, packets: 0, problem: undefined });
		this.options.log.logger.info({ agent: name, why }, "The agent's host sleeps, and is woken.");
		this.tick();
	}

	/** Every second: packets, ends, and what each agent's record says. */
	tick(): void {
		const now = this.#time();
		for (const [name, wake] of this.#wakes) this.#go(name, wake, now);
		const { wake } = this.#settings();
		for (const agent of this.options.registry.agents.values()) {
			agent.wake = this.#stateOf(agent);
			agent.canWake = Object.hasOwn(wake, agent.name);
		}
	}

	#go(name: string, wake: Wake, now: number): void {
		const { registry, log, ended } = this.options;
		const agent = registry.agents.get(name);
		const { wake: entries, wake_wait } = this.#settings();
		const how = entries[name];
		const seconds = Math.round((now - wake.since) / 1000);
		if (!agent || !how) {
			this.#wakes.delete(name);
			return;
		}
		if (registry.leaseOf(agent) !== "gone") {
			this.#wakes.delete(name);
			this.#failedAt.delete(name);
			log.logger.info({ agent: name, seconds, packets: wake.packets }, "The agent's host woke up.");
			ended(name, "woken");
			return;
		}
		if (now - wake.since >= wake_wait) {
			this.#wakes.delete(name);
			this.#failedAt.set(name, now);
			const fields = { agent: name, seconds, packets: wake.packets, ...(wake.problem && { problem: wake.problem }) };
			log.logger.warn(fields, `The agent's host did not wake up: it is left alone for ${REST_MS / 60_000} minutes.`);
			ended(name, "failed");
			return;
		}
		if (now - wake.sentAt < REPEAT_MS) return;
		wake.sentAt = now;
		void this.#send(how, agent.endpoint).then((problem) => {
			if (problem === undefined) wake.packets++;
			else if (wake.problem === undefined) {
				log.logger.warn({ agent: name, code: problem }, "No packet could be sent to wake the agent's host.");
			}
			wake.problem = problem;
		});
	}

	/**
	 * One that has an entry, is not heard of, and last said that it could serve something: an agent that is stopped says that it is going, and its
	 * host is left alone.
	 */
	#stateOf(agent: AgentRecord): WakeState | undefined {
		const { registry } = this.options;
		const { wake } = this.#settings();
		if (!Object.hasOwn(wake, agent.name) || agent.isInProcess || registry.leaseOf(agent) !== "gone") return undefined;
		if (this.#wakes.has(agent.name)) return "waking";
		if (this.#isReplaced) return undefined;
		const failedAt = this.#failedAt.get(agent.name);
		if (failedAt !== undefined && this.#time() - failedAt < REST_MS) return undefined;
		return [...agent.models.values()].some(canServe) ? "asleep" : undefined;
	}
}

/** Its host did not wake up. The code says it to those who read failures of connections. */
export class HostAsleep extends Error {
	override readonly name = "HostAsleep";
	readonly code = "ERR_HOST_ASLEEP";
}

/** The hosts as a thread's calls wait for them. */
export class WakingHosts {
	/**
	 * @param begin has a host woken, once for all calls of all threads
	 * @param time a clock that never goes back, ms
	 */
	constructor(
		private readonly registry: WakeRegistry,
		private readonly begin: (agent: string) => void,
		private readonly time: () => number = () => performance.now(),
	) {}

	/** Resolves once the agent can be called. Rejects with HostAsleep once its host is given up, and with the signal's reason. */
	async wait(name: string, signal: CancelSignal): Promise<AgentRecord> {
		this.begin(name);
		let heardAt: number | undefined;
		for (;;) {
			signal.throwIfAborted();
			const agent = this.registry.agents.get(name);
			const isHeard = agent !== undefined && this.registry.leaseOf(agent) !== "gone";
			heardAt = isHeard ? (heardAt ?? this.time()) : undefined;
			if (isHeard && (agent.isReachable || this.time() - heardAt! >= REACH_MS)) return agent;
			// It was heard of, and fell asleep again.
			if (agent?.wake === "asleep") this.begin(name);
			if (!isHeard && agent?.wake === undefined) throw new HostAsleep(`the host of ${name} did not wake up`);
			await pause(LOOK_MS, signal);
		}
	}
}

/** Waits so long, less where the signal is aborted. */
function pause(ms: number, signal: CancelSignal): Promise<void> {
	const { promise, resolve } = Promise.withResolvers<void>();
	const timer = setTimeout(resolve, ms);
	const leave = () => resolve();
	signal.addEventListener("abort", leave, { once: true });
	return promise.finally(() => {
		clearTimeout(timer);
		signal.removeEventListener("abort", leave);
	});
}
