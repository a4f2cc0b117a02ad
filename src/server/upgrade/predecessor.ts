/** The router whose place this process takes, as this one sees it. See "An upgrade" in ../design.md. */
import { type LimitsOwner, PredecessorLimits } from "../../accounts/limits/handed-limits.ts";
import { isHandable } from "../../accounts/limits/shared-limiter.ts";
import { StartError } from "../../errors.ts";
import { portSockets } from "../../http/port-sockets.ts";
import { handedState, takeRouting } from "../../routing/handed-routing.ts";
import type { RoutingState } from "../../routing/target-state.ts";
import { VERSION } from "../../version.ts";
import type { AgentRegistry } from "../agents/agent-registry.ts";
import { expectTunnels } from "../agents/expected-tunnels.ts";
import type { TunnelHub } from "../agents/tunnels.ts";
import type { RouterState } from "../router-state.ts";
import { ControlPeer, connectToRouter } from "./control-socket.ts";
import { type FromRouter, type HandedRouter, type ToRouter, UPGRADE_PROTOCOL } from "./upgrade-messages.ts";

/** How long it may take to say what it knows, ms. */
const STATE_MS = 5_000;

/** What of this router goes on with what the one before knew. */
export interface HeirParts {
	readonly state: Pick<RouterState, "limiter" | "store">;
	readonly targets: RoutingState;
	readonly agents: Pick<AgentRegistry, "adopt" | "agents" | "now">;
	readonly hub: Pick<TunnelHub, "isOpen" | "expect">;
	/** Routers that share a Redis count there. */
	readonly hasRedis: boolean;
}

/** A connection to it. */
export class Predecessor {
	#limits: PredecessorLimits | undefined;
	#isSpread = false;
	#state: HandedRouter | undefined;
	/** Why it hands over no longer. */
	#refusal: StartError | undefined;
	readonly #stated = Promise.withResolvers<HandedRouter>();
	readonly #settled = Promise.withResolvers<void>();
	/** Resolves when that one no longer listens: until then no further process can take its place in the order of listeners. */
	readonly settled: Promise<void> = this.#settled.promise;

	/** Resolves when that one has ended, with its last call. */
	readonly ended: Promise<unknown>;

	private constructor(private readonly peer: ControlPeer<ToRouter, FromRouter>) {
		this.ended = peer.closed;
		peer.onMessage = (message) => this.#take(message);
		void peer.closed.then(() => {
			this.#stated.reject(new StartError("The router that runs has ended while this one was taking its place."));
			this.#limits?.ended();
			void this.#spread();
		});
	}

	/**
	 * Finds the router that runs on this data directory; undefined where none does. It has a socket there, also where it does not hold the directory:
	 * in the moment after it has taken a place itself, and where there are no locks.
	 * @param holder who holds the directory, as text; undefined where nobody does
	 * @throws {StartError} where that one has no socket: it is of a version that can't be replaced so
	 */
	static async of(dataDir: string, holder: string | undefined): Promise<Predecessor | undefined> {
		const socket = await connectToRouter(dataDir);
		if (socket) return new Predecessor(new ControlPeer(socket));
		if (holder === undefined) return undefined;
		throw new StartError(
			`The router that runs on ${dataDir} (${holder}) can't hand over: it is of a version before upgrades without interruption, or could not make its socket, as its log says. Stop it, and start this one without --replace; the next upgrade can be one.`,
		);
	}

	/**
	 * Asks it for what it knows, which has to be taken over at once: from then on it asks this process for its calls' limits.
	 * @throws {StartError} with its reason, where it does not hand over
	 */
	async handOver({ state: { limiter }, targets, agents, hub, hasRedis }: HeirParts): Promise<HandedRouter> {
		const timer = setTimeout(() => {
			this.#stated.reject(new StartError("The router that runs does not say what it knows."));
			this.peer.end();
		}, STATE_MS);
		const own = !hasRedis && isHandable(limiter) ? limiter : undefined;
		this.peer.send({
			...{ type: "replace", protocol: UPGRADE_PROTOCOL, version: VERSION, pid: process.pid },
			...{ takesLimits: own !== undefined, takesHashes: own !== undefined },
		});
		const state = await this.#stated.promise.finally(() => clearTimeout(timer));
		this.#state = state;
		const known = handedState(targets);
		if (state.routing && known) takeRouting(known, state.routing);
		if (state.limits && own) this.#limits = new PredecessorLimits(own, state.limits);
		for (const agent of state.agents) agents.adopt(agent);
		expectTunnels(agents.agents.values(), hub, agents.now());
		return state;
	}

	/**
	 * This process listens: all further connections come here.
	 * @param router names it to agents
	 * @throws {StartError} where the one before has given it up meanwhile, and goes on
	 */
	async listening(router: string): Promise<void> {
		const { port, listeners } = this.#state!;
		const sockets = portSockets();
		if (this.#refusal) throw this.#refusal;
		const own = sockets?.count(port).listening[0];
		// Where its listeners are not known some connections still go there, and are reset when it stops. One that has ended has none.
		if (sockets && own !== undefined && listeners > 0 && !this.#isSpread) sockets.direct(own, listeners);
		this.peer.send({ type: "listening", router });
	}

	/** A process that takes this one's place counts from now on, for that one's calls, too. Undefined: it has gone again. */
	forwardLimits(next: LimitsOwner | undefined): void {
		this.#limits?.forward(next);
	}

	#take(message: FromRouter): void {
		if (message.type === "state") this.#stated.resolve(message.state);
		else if (message.type === "done") {
			this.#refusal = new StartError(message.text);
			this.#stated.reject(this.#refusal);
		} else if (message.type === "closed") void this.#spread();
		else if (message.type === "end") this.#limits?.end(message.end);
		else if (message.type === "take") {
			this.peer.send({ type: "decided", call: message.call, decision: this.#limits?.take(message.limits) });
		}
	}

	/** All listeners of the port are this process's now. Once: later another one may have the system give it all connections. */
	async #spread(): Promise<void> {
		if (this.#isSpread) return;
		this.#isSpread = true;
		const sockets = portSockets();
		const { port, listeners = 0 } = this.#state ?? {};
		const own = port !== undefined && listeners > 0 ? sockets?.count(port).listening[0] : undefined;
		if (own !== undefined) sockets?.spread(own);
		this.#settled.resolve();
	}
}
