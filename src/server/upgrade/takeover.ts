/** How a router comes to its port: as the first one there, on a socket that was opened for it, or in the place of one that runs; and how another one takes its place later. */
import type { Role } from "../../config/overlay.ts";
import { StartError } from "../../errors.ts";
import { type InheritedSocket, inheritedSocket } from "../../http/inherited-socket.ts";
import type { Listening, PortPlace } from "../../http/listen.ts";
import type { DirectoryLock } from "../../store/directory-lock.ts";
import type { ReloadedRouter } from "../reload.ts";
import type { RoleServices } from "../role.ts";
import { REPLACE, type RolePlan } from "../role-plan.ts";
import { type HeirParts, Predecessor } from "./predecessor.ts";
import { serviceProblem, tellServiceManager } from "./service-manager.ts";
import { Upgrades } from "./upgrades.ts";

const NOT_INHERITED =
	"The router that runs listens on a socket that systemd has opened, which only a process that it starts gets: `router upgrade`, or SIGUSR2, has it start one.";

/** A router that listens. */
export interface OpenedRouter {
	readonly router: Pick<ReloadedRouter, "state" | "agents" | "hub">;
	readonly services: Pick<RoleServices, "log" | "lifecycle" | "upstreams">;
	readonly server: Pick<Listening, "port">;
	readonly hasRedis: boolean;
}

/** One start of a router. */
export class Takeover {
	private constructor(
		private readonly plan: Pick<RolePlan, "config" | "host" | "port" | "env">,
		private readonly role: Role,
		private readonly isSpread: boolean,
		private readonly predecessor: Predecessor | undefined,
		private readonly inherited: InheritedSocket | undefined,
	) {}

	/**
	 * Finds the router whose place is to be taken, where that is asked for and one runs.
	 * @param role of the whole process
	 * @param isSpread whether the system spreads the connections of a port over those that listen there
	 * @throws {StartError} where that one can't hand over, or a socket was opened for this process that is not the configuration's
	 */
	static async of(plan: RolePlan, role: Role, { waitsFor }: DirectoryLock, isSpread: boolean): Promise<Takeover> {
		const isAsked = plan.env[REPLACE] === "1";
		const { pid, ppid } = process;
		const inherited = inheritedSocket(plan.env, plan, { pid, before: isAsked ? ppid : undefined });
		const predecessor = isAsked ? await Predecessor.of(plan.config.data_dir, waitsFor) : undefined;
		return new Takeover(plan, role, isSpread, predecessor, inherited);
	}

	/**
	 * Where the router is to listen, at once: on its port, which others may share later, or on that of the one before, whose knowledge its parts
	 * have from then on.
	 * @throws {StartError} where that one does not hand over, has a socket that this process has not, or its database is a newer version's
	 */
	async place(parts: HeirParts): Promise<PortPlace> {
		const { port } = this.plan;
		if (this.predecessor) checkLedger(parts.state.store);
		const taken = await this.predecessor?.handOver(parts);
		if (!this.isSpread) return { port };
		if (this.inherited) return { port: this.inherited.port, sharing: "further", inherited: this.inherited };
		if (taken?.isInherited) throw new StartError(NOT_INHERITED);
		const isSame = taken !== undefined && (port === 0 || port === taken.port);
		return isSame ? { port: taken.port, sharing: "further" } : { port, sharing: "first" };
	}

	/** The router listens: it has the place from now on, and others may take it until it stops. */
	async opened(opened: OpenedRouter): Promise<void> {
		await this.predecessor?.listening(opened.router.hub.router);
		void tellServiceManager("READY=1");
		const { lifecycle } = opened.services;
		// With the main process the service ends, and with it whatever calls the one before still has.
		if (this.predecessor && this.plan.env["NOTIFY_SOCKET"]) lifecycle.stopsBehind(this.predecessor.ended);
		const upgrades = new Upgrades({
			...opened,
			dataDir: this.plan.config.data_dir,
			settled: this.predecessor?.settled ?? Promise.resolve(),
			inherited: this.inherited?.descriptor,
			forwardLimits: (owner) => this.predecessor?.forwardLimits(owner),
			refusal: refusalOf(this.role, this.isSpread) ?? serviceProblem(this.plan.env),
		});
		lifecycle.onStop(await upgrades.open());
	}
}

/** Whoever starts alone on a database that can't be read goes on in memory; the router that runs has read it. @throws {StartError} where it can't be read */
function checkLedger(store: HeirParts["state"]["store"]): void {
	store.keys();
	if (!store.isUnreadable) return;
	throw new StartError(
		`${store.problem}: without it keys, budgets and usage of before would be gone. Upgrade to the version that made it, or a later one.`,
	);
}

function refusalOf(role: Role, isSpread: boolean): string | undefined {
	if (!isSpread) return "A router is replaced while it runs on Linux only, where processes share a port.";
	if (role === "standalone")
		return "With --standalone the agent is in the same process, and can't be there twice: restart it (its models' containers stay), or run router and agent as two.";
	return undefined;
}
