/** What `local…` leads to: agents that have registered, or the one at LOCAL_AGENT_URL. */
import type { Upstream } from "../providers/registry.ts";
import { hasOwnAddress } from "./addressed-agents.ts";
import { type Fleet, type FleetTarget, GONE } from "./agent-targets.ts";
import { WOKEN } from "./alias.ts";
import type { Route, RouteTarget, Tier } from "./route.ts";

/** Names of the fleet. `Absent`: agents know the model and none serves it; the clause says why. */
export interface LocalNames {
	/** Where a name that begins with `local` leads; `fixed` is where it leads without agents. */
	find(name: string, fixed: Route | undefined): Route | undefined;
	/** Where a model's plain name leads: agents alone. */
	plain(name: string): Route | undefined;
	/** Why a name leads nowhere although agents know it. */
	absence(name: string): string | undefined;
}

/** A model at an agent as a target. `tier` and `position`: of the alias's entry that it comes from. */
export function replica(target: FleetTarget, tier: Tier = "targets", position = 0): RouteTarget {
	return { ...target, tier, kind: "local", position, isReplica: true };
}

/** `local`, `local-small`: whatever model is ready. */
export const ANY_LOCAL = /^local(?:$|[-_])/;
const OWN = "local/";
/** Who runs an agent without a router had it at the default address until one registered. */
const ADDRESS = "; an agent that does not register is called where LOCAL_AGENT_URL says that it is";

/** @param local the provider `local`; undefined where the configuration made something else of that name */
export function localNames(local: Upstream | undefined, fleet: Fleet): LocalNames {
	/** It stays in use beside those that register. */
	const hasAddress = local !== undefined && hasOwnAddress(local);

	function modelOf(name: string): string | undefined {
		if (name.startsWith(OWN)) return name.slice(OWN.length);
		if (!ANY_LOCAL.test(name) || fleet.targets(name).length > 0) return name;
		return fleet.first;
	}

	/** By an agent, be it forgotten by now; `agent/model`, too. */
	function wasServed(model: string | undefined): boolean {
		if (model === undefined) return false;
		return fleet.served.has(model) || fleet.served.has(model.slice(model.indexOf("/") + 1));
	}

	return {
		find(name, fixed) {
			const model = local && modelOf(name);
			const targets = model === undefined ? [] : fleet.targets(model);
			if (targets.length > 0) return routeTo(targets);
			if (!local || hasAddress) return fixed;
			// Nobody has said that there is an agent at the default address, least of all those that are known, or gone.
			return fleet.isEmpty && !wasServed(model) ? fixed : undefined;
		},
		plain(name) {
			const targets = fleet.targets(name);
			return targets.length > 0 ? routeTo(targets) : undefined;
		},
		absence(name) {
			const isOwn = name.startsWith(OWN);
			const model = isOwn ? name.slice(OWN.length) : name;
			// `agent/model` alone leads nowhere, whoever serves it.
			const known = isOwn || fleet.served.has(name) ? fleet.absence(model) : undefined;
			const address = local && !hasAddress ? ADDRESS : "";
			// `agent/model` is asked of that agent, and of no other one.
			if (known !== undefined) return known.includes(GONE) && fleet.served.has(model) ? known + address : known;
			if (fleet.served.has(model))
				return `the agents that had it are gone, and its prompts stay on your own machines unless \`models:\` says otherwise${address}`;
			if (fleet.isEmpty || !ANY_LOCAL.test(name)) return undefined;
			return `no agent has a model that is ready or can be loaded; GET /agents says what each is doing${address}`;
		},
	};
}

function routeTo(found: readonly FleetTarget[]): Route {
	const [{ model }] = found as readonly [FleetTarget];
	const targets = found.map((target) => replica(target));
	return { targets, reason: reasonOf(found), label: model };
}

/** `agent`, `2 agents`, `agent, 3 replicas`. */
function reasonOf(found: readonly FleetTarget[]): string {
	if (found[0]?.isAsleep) return `agent, ${WOKEN}`;
	const agents = new Set(found.map(({ agent }) => agent)).size;
	const replicas = found.filter((target) => target.replica !== undefined).length;
	return `${agents > 1 ? `${agents} agents` : "agent"}${replicas > 1 ? `, ${replicas} replicas` : ""}`;
}
