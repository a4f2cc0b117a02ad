/** A router as another process may take its place: where it listens, and what it can't hand on. */

import type { Role } from "../../config/overlay.ts";
import type { Config } from "../../config/schema.ts";
import type { Listening, ListenOptions, PortSharing } from "../../http/listen.ts";
import type { ReloadedRouter } from "../reload.ts";
import type { RoleServices } from "../role.ts";
import type { Predecessor } from "./predecessor.ts";
import { tellServiceManager } from "./service-manager.ts";
import type { HandedState } from "./upgrade-messages.ts";
import { Upgrades } from "./upgrades.ts";

/** What is to be replaced. */
export interface OpenUpgradesOptions {
	readonly config: Pick<Config, "data_dir">;
	/** Of the whole process. */
	readonly role: Role;
	readonly router: Pick<ReloadedRouter, "state" | "agents" | "hub">;
	readonly services: Pick<RoleServices, "log" | "lifecycle" | "upstreams">;
	readonly server: Pick<Listening, "port">;
	readonly hasRedis: boolean;
	/** Whether the system spreads the connections of a port over those that listen there. */
	readonly isSpread: boolean;
	/** The process whose place this one has taken. */
	readonly predecessor: Pick<Predecessor, "settled"> | undefined;
}

/**
 * Where a router listens: on its port, which others may share later, or on that of the process whose place it takes.
 * @param port of the configuration; 0 picks one, or takes that of the process before
 */
export function listeningPlace(
	port: number,
	isSpread: boolean,
	taken: Pick<HandedState, "port"> | undefined,
): Pick<ListenOptions, "port"> & { readonly sharing: PortSharing | undefined } {
	if (!isSpread) return { port, sharing: undefined };
	const isSame = taken !== undefined && (port === 0 || port === taken.port);
	return isSame ? { port: taken.port, sharing: "further" } : { port, sharing: "first" };
}

/** Says that the router is ready, and lets other processes take its place from now on. Returns how to end that. */
export async function openUpgrades({
	config,
	role,
	router,
	services,
	server,
	hasRedis,
	isSpread,
	predecessor,
}: OpenUpgradesOptions): Promise<() => void> {
	void tellServiceManager("READY=1");
	const upgrades = new Upgrades({
		...{ dataDir: config.data_dir, router, services, server, hasRedis },
		settled: predecessor?.settled ?? Promise.resolve(),
		refusal: refusalOf(role, isSpread),
	});
	return await upgrades.open();
}

function refusalOf(role: Role, isSpread: boolean): string | undefined {
	if (!isSpread) return "A router is replaced while it runs on Linux only, where processes share a port.";
	if (role === "standalone")
		return "With --standalone the agent is in the same process, and can't be there twice: restart it (its models' containers stay), or run router and agent as two.";
	return undefined;
}
