/** What the registry of agents works with. */
import type { AgentSecrets } from "../../accounts/auth/agent-secrets.ts";
import type { Transport } from "../../providers/provider.ts";
import type { Upstream } from "../../providers/registry.ts";
import type { Store } from "../../store/store.ts";
import type { Log } from "../../telemetry/log.ts";
import type { AgentPrefixes } from "./agent-prefixes.ts";
import type { TunnelHub } from "./tunnels.ts";

/** What it works with. */
export interface AgentRegistryOptions {
	/** What all agents have in common: the provider `local`. */
	readonly upstream: Upstream;
	readonly transport: Transport;
	readonly store: Store;
	readonly secrets: AgentSecrets;
	readonly log: Pick<Log, "logger">;
	/** To the routers that share agents. While it is not up leases do not age: others may hear of agents, and can't pass that on. */
	readonly link?: { readonly isUp: boolean } | undefined;
	/** Which agents have a tunnel: those whose endpoints say so can be called while it is open. */
	readonly tunnels?: Pick<TunnelHub, "isOpen" | "processOf">;
	/** Takes what agents report of their engines' prefix caches; without it they are not asked to. */
	readonly prefixes?: AgentPrefixes | undefined;
	/** Tests: clocks, ms; the first never goes back. */
	readonly time?: () => number;
	readonly wall?: () => number;
}
