/** What a link to a router is made from, and what it shows. */
import type { GpuReport, ModelGoal, ModelReport, PrefixReport } from "../../protocol/agent.ts";
import type { Transport } from "../../providers/provider.ts";
import type { Log } from "../../telemetry/log.ts";
import type { Notify } from "../notify.ts";
import type { RouterClient } from "./link-client.ts";
import type { TunnelClient } from "./tunnel-client.ts";

/** What the agent serves at this moment. A bare name counts as ready. */
export interface LinkReport {
	readonly models: readonly (string | ModelReport)[];
	readonly gpus?: readonly GpuReport[] | undefined;
}

/** How to reach the router, and what to report. */
export interface LinkOptions {
	/** The router's base URL. */
	readonly router: string;
	/** The agents' shared token; a router on loopback wants none. */
	readonly token?: string | undefined;
	readonly name: string;
	readonly instance?: string | undefined;
	/** A UUID of this start of the agent. */
	readonly process?: string | undefined;
	/** The origin at which the router reaches this agent; by default the address from which this host reaches the router. */
	readonly advertise?: string | undefined;
	/** The port this agent listens on. */
	readonly port: number;
	readonly transport: Transport;
	/** In place of an address: from the start, or (`auto`) once the router can't call that. */
	readonly tunnel?: { readonly mode: "always" | "auto"; readonly client: AgentTunnel } | undefined;
	/** Takes the place of requests to `router`: that is in this process. */
	readonly client?: RouterClient | undefined;
	/** Called every second and with every heartbeat: has to be cheap. */
	report(): LinkReport;
	/** What is in the prefix caches of its engines: reported to a router that takes it. */
	readonly prefixes?: PrefixSource | undefined;
	/** Takes the secret that the router's calls carry from then on. */
	onSecret(secret: string): void;
	/** Takes what the router wants of on-demand models, with each answer to a heartbeat; undefined: that says nothing of it. */
	onGoals?(goals: readonly ModelGoal[] | undefined): void;
	readonly log: Pick<Log, "logger">;
	/** Notified when the models of the report, their states or prefix caches have changed. */
	readonly changes?: Notify;
	/** For tests: this host's addresses. */
	readonly addresses?: LocalAddresses;
}

/** Tells what is in prefix caches. */
export interface PrefixSource {
	/** Whether the router takes reports: else nobody is notified of changes. */
	isTaken: boolean;
	/** There is something that `take` has not given, or that was not heard. */
	readonly hasNews: boolean;
	take(): PrefixReport[];
	/** Was not heard. @param keys see `prefixKey`; undefined: nothing was */
	unheard(keys?: readonly string[]): void;
}

/** The part of a tunnel that a link uses. */
type AgentTunnel = Pick<TunnelClient, "opened" | "isOpen">;

/** The address from which this host reaches a router, and all addresses it has. */
export interface LocalAddresses {
	to(router: string): Promise<string>;
	now(): string;
}

/** What the link is doing. */
export interface LinkStatus {
	/** `joining`: not registered yet; `joined`; `away`: the router does not answer; `refused`: it does not accept the agent. */
	readonly state: "joining" | "joined" | "away" | "refused" | "stopped";
	/** The origin that was registered last. */
	readonly endpoint?: string | undefined;
	/** Whether the router can call back. */
	readonly reachable?: boolean | undefined;
	/** What is wrong, one sentence. */
	readonly problem?: string | undefined;
}
