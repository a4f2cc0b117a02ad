/**
 * The agent's tunnels: a WebSocket to the router, opened again and again as long as the agent runs. Of several routers of one Redis behind one
 * address each has one of its own: the agent opens further ones until it has met them all.
 */
import { AGENT_HEADER } from "../../protocol/agent.ts";
import {
	PING_MS,
	TUNNEL_CLOSE,
	TUNNEL_INSTANCE_HEADER,
	TUNNEL_PATH,
	TUNNEL_PROCESS_HEADER,
	TUNNEL_ROUTERS_HEADER,
	TUNNEL_STANDBY_HEADER,
} from "../../protocol/tunnel.ts";
import type { Transport } from "../../providers/provider.ts";
import type { ProxyChoice } from "../../proxy/net/environment-proxy.ts";
import { readText } from "../../proxy/net/read-body.ts";
import { shortText } from "../../short-text.ts";
import type { Log } from "../../telemetry/log.ts";
import { TunnelConnection, type TunnelEnd } from "./tunnel-connection.ts";
import type { AgentAddress } from "./tunnel-pipe.ts";

/** First and longest wait until one is opened again, ms. */
const FIRST_MS = 250;
const LONGEST_MS = 8_000;
/** Longest wait where it was open, if not for long: the way to the router is there. */
const LONGEST_AFTER_OPEN_MS = 1_000;
/** Longest wait until another router is looked for, ms, where the way there has led to one that has a tunnel again and again. */
const LONGEST_SEARCH_MS = 30_000;
/** It is opened again at once only where it was open for so long, ms: a proxy may close each at once. */
const STEADY_MS = PING_MS;
/** How long the router has to say why it refuses, ms. */
const ASK_MS = 10_000;
const MAX_REFUSAL = 64 * 1024;

/** Where they lead, and who opens them. */
export interface TunnelOptions {
	/** The router's base URL, with or without a closing slash or `/v1`. */
	readonly router: string;
	/** The agents' shared token. */
	readonly token?: string | undefined;
	readonly name: string;
	readonly instance?: string | undefined;
	/** A UUID of this start of the agent. */
	readonly process?: string | undefined;
	/** Where the agent listens: what the router asks goes there. */
	readonly site: AgentAddress;
	/** Asks the router why it refuses. */
	readonly transport: Transport;
	/** PEM with further certificate authorities. */
	readonly ca?: string | undefined;
	readonly proxyFor?: ProxyChoice | undefined;
	readonly log: Pick<Log, "logger">;
}

/** The tunnels. Nothing of them throws or rejects. */
export class TunnelClient {
	readonly #base: string;
	readonly #headers: Record<string, string>;
	/** Those that are open, by their routers' names. */
	readonly #open = new Map<string, TunnelConnection>();
	#opening: TunnelConnection | undefined;
	#timer: ReturnType<typeof setTimeout> | undefined;
	/** How often in a row one could not be opened, or not for long. */
	#failures = 0;
	/** How often in a row the way to a router that is missed has led to another one. */
	#searches = 0;
	#missed = "";
	/** Another agent has this one's name and installation: it has the tunnel while it is there. */
	#standsBack = false;
	#isDraining = false;
	#isStopped = false;
	#lastProblem: string | undefined;
	#whenOpen = Promise.withResolvers<void>();

	constructor(private readonly options: TunnelOptions) {
		const { router, token, name, instance, process } = options;
		this.#base = router.replace(/\/+$/, "").replace(/\/v1$/, "");
		this.#headers = {
			[AGENT_HEADER]: name,
			...(instance === undefined ? {} : { [TUNNEL_INSTANCE_HEADER]: instance }),
			...(process === undefined ? {} : { [TUNNEL_PROCESS_HEADER]: process }),
			...(token ? { authorization: `Bearer ${token}` } : {}),
		};
	}

	/** Whether a router can call this agent through one. */
	get isOpen(): boolean {
		return this.#open.size > 0;
	}

	/** To how many routers there is one. */
	get size(): number {
		return this.#open.size;
	}

	/** Opens one, and again whenever it closes. */
	open(): void {
		if (this.#isStopped || this.#opening || (this.isOpen && this.#missing().length === 0)) return;
		clearTimeout(this.#timer);
		const { site, ca, proxyFor } = this.options;
		const headers = {
			...this.#headers,
			...(this.isOpen && { [TUNNEL_ROUTERS_HEADER]: [...this.#open.keys()].join() }),
			...(this.#standsBack && { [TUNNEL_STANDBY_HEADER]: "1" }),
		};
		const url = `${this.#base.replace(/^http/, "ws")}${TUNNEL_PATH}`;
		this.#opening = new TunnelConnection({ url, headers, site, ca, proxy: proxyFor?.(this.#base)?.url }, this);
	}

	/** Opens one, and resolves once one is open, or after so many ms. */
	async opened(ms: number): Promise<void> {
		this.open();
		const { promise, resolve } = Promise.withResolvers<void>();
		const timer = setTimeout(resolve, ms);
		await Promise.race([promise, this.#whenOpen.promise]);
		clearTimeout(timer);
	}

	/** Breaks the connections, as a network does: they are opened again. */
	cut(): void {
		for (const connection of this.#open.values()) connection.cut();
	}

	/** The agent ends once its calls are over: where another one opens a tunnel that is its successor, to which it leaves that. */
	drain(): void {
		this.#isDraining = true;
	}

	/** Ends them. */
	stop(): void {
		this.#isStopped = true;
		clearTimeout(this.#timer);
		this.#opening?.close();
		for (const connection of this.#open.values()) connection.close();
	}

	/** See TunnelListener. */
	told(connection: TunnelConnection): void {
		const { router = "" } = connection;
		if (this.#opening === connection) {
			this.#opening = undefined;
			// One that it has been told of twice is another connection to the same router, which has closed the first.
			this.#open.set(router, connection);
			this.#standsBack = false;
			this.#searches = 0;
			this.#whenOpen.resolve();
			const what = { router: this.options.router, open: this.size, routers: connection.routers.length };
			this.options.log.logger.info(what, "The tunnel to the router is open.");
			this.#lastProblem = undefined;
		}
		const missed = this.#missing().join();
		if (missed !== this.#missed) this.#searches = 0;
		this.#missed = missed;
		if (missed !== "") this.#openAfter(this.#searchMs());
	}

	/** See TunnelListener. */
	closed(connection: TunnelConnection, { openMs, code, why }: TunnelEnd): void {
		const wasOpening = this.#opening === connection;
		if (wasOpening) this.#opening = undefined;
		const { router = "" } = connection;
		const wasOpen = this.#open.get(router) === connection;
		if (wasOpen) this.#open.delete(router);
		if (wasOpen && !this.isOpen) this.#whenOpen = Promise.withResolvers<void>();
		// One that is neither has been replaced by another one of this agent's.
		if (this.#isStopped || !(wasOpen || wasOpening)) return;
		if (code === TUNNEL_CLOSE.replaced) {
			if (!this.#isDraining) this.#standBack();
			return;
		}
		if (code === TUNNEL_CLOSE.duplicate) {
			this.#searches++;
			this.#openAfter(this.#searchMs());
			return;
		}
		if (openMs !== undefined) this.#warnOnce(`The tunnel to the router is closed, and opened again: ${why}.`);
		else if (!this.#standsBack) {
			void this.#reasonOfRefusal().then((reason) => this.#warnOnce(`The tunnel can't be opened: ${reason}`));
		}
		const wasSteady = openMs !== undefined && openMs >= STEADY_MS;
		const mostMs = openMs === undefined ? LONGEST_MS : LONGEST_AFTER_OPEN_MS;
		this.#openAfter(wasSteady ? 0 : pauseMs(this.#failures, mostMs));
		this.#failures = wasSteady ? 0 : this.#failures + 1;
	}

	/** Routers that have no tunnel to this agent. */
	#missing(): string[] {
		const all = [...this.#open.values()].flatMap(({ routers }) => routers);
		return [...new Set(all)].filter((router) => !this.#open.has(router)).sort();
	}

	#searchMs(): number {
		return this.#searches === 0 ? 0 : pauseMs(this.#searches, LONGEST_SEARCH_MS);
	}

	#openAfter(ms: number): void {
		clearTimeout(this.#timer);
		this.#timer = setTimeout(() => this.open(), ms * (1 - Math.random() / 4));
	}

	/** Another agent with this one's name and installation has opened a tunnel: of both the later one has it, or they would take turns. */
	#standBack(): void {
		const { name } = this.options;
		this.#standsBack = true;
		this.#warnOnce(
			`Another agent called "${name}" with the same data directory, or a copy of it, has opened the tunnel: this one stands back while that is there. ` +
				"If both are to serve, delete agent-instance in this one's data directory, and give it another name (ROUTER_AGENT_NAME).",
		);
		this.#openAfter(LONGEST_MS);
	}

	/** A WebSocket does not tell what its handshake was answered. */
	async #reasonOfRefusal(): Promise<string> {
		const request = { url: this.#base + TUNNEL_PATH, headers: { ...this.#headers, accept: "application/json" } };
		try {
			const answer = await this.options.transport.send(request, AbortSignal.timeout(ASK_MS));
			const { error } = JSON.parse(await readText(answer, MAX_REFUSAL)) as {
				error?: { message?: unknown; code?: unknown };
			};
			// So it answers who asks for no WebSocket: something between the two opens none.
			if (error?.code === "method_not_allowed")
				return `${this.#base} opens no WebSocket: a proxy in between may not let it pass.`;
			if (typeof error?.message === "string") return shortText(error.message, 500);
			return `${this.#base} answers ${answer.status}: is that the router?`;
		} catch (thrown) {
			const code = thrown instanceof Error && "code" in thrown ? ` (${thrown.code})` : "";
			return `${this.#base} can't be reached${code}.`;
		}
	}

	/** Once for each problem, however often it is met. */
	#warnOnce(sentence: string): void {
		const { router, log } = this.options;
		if (sentence !== this.#lastProblem) log.logger.warn({ router }, sentence);
		this.#lastProblem = sentence;
	}
}

/** 250 ms, 500 ms, 1 s, … after so many failures. */
function pauseMs(failures: number, mostMs: number): number {
	return Math.min(mostMs, FIRST_MS * 2 ** Math.min(failures, 10));
}
