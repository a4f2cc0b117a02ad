/**
 * The agent's link to its router: it registers, sends a heartbeat every few seconds, and registers again by itself when the
 * router, this agent or an address of either has changed. It never gives up.
 */
import { HEARTBEAT_MS, type ModelReport, modelReport, replicaStates } from "../../protocol/agent.ts";
import { tunnelEndpoint } from "../../protocol/tunnel.ts";
import { BLOCK } from "../../routing/affinity.ts";
import { VERSION } from "../../version.ts";
import { Notify } from "../notify.ts";
import { type RouterClient, type RouterReply, routerClient } from "./link-client.ts";
import type { LinkOptions, LinkReport, LinkStatus, LocalAddresses } from "./link-options.ts";
import { type LinkOutcome, type LinkPhase, NOT_JOINED, nextLinkStep } from "./link-step.ts";
import { httpOrigin, localAddresses, localAddressTo } from "./local-address.ts";

/** How often the report is compared with the last one that was sent, ms. */
const POLL_MS = 1_000;
/** How long the last heartbeat may take, ms. */
const LAST_HEARTBEAT_MS = 2_000;
/**
 * So often in a row the router has to say that it can't call the address before a tunnel takes its place: of several routers only one has
 * that, and one try may fail by chance.
 */
const UNREACHED = 2;
/** How long a tunnel is waited for before the agent registers, ms. */
const OPEN_MS = 2_000;

/** Starts a link. To be called once the agent listens: the router calls back. Nothing of it throws or rejects. */
export function startLink(options: LinkOptions): RouterLink {
	const link = new RouterLink(options);
	link.start();
	return link;
}

/** A link, from its start to its end. */
export class RouterLink {
	readonly #options: LinkOptions;
	readonly #changes: Notify;
	readonly #addresses: LocalAddresses;
	readonly #client: RouterClient;
	readonly #end = new AbortController();
	#status: LinkStatus = { state: "joining" };
	#phase: LinkPhase = NOT_JOINED;
	#heartbeatMs = HEARTBEAT_MS;
	/** Signature of the models that were reported last. */
	#lastReported = "";
	#knownAddresses = "";
	/** The address of this host that the router saw, where that is not the one found here (IPv4 and IPv6). */
	#seenAs: string | undefined;
	/** How often in a row the router has said that it can't call the address. */
	#unreached = 0;
	/** A tunnel was to be opened, since the router can't call the address. */
	#hasTried = false;
	/** The router calls this agent through its tunnel. */
	#isTunnelled: boolean;
	/** The problem that was logged last. */
	#lastProblem: string | undefined;
	#poll: ReturnType<typeof setInterval> | undefined;
	#running: Promise<void> = Promise.resolve();
	#stopping: Promise<void> | undefined;

	constructor(options: LinkOptions) {
		this.#options = options;
		this.#changes = options.changes ?? new Notify();
		this.#addresses = options.addresses ?? { to: localAddressTo, now: localAddresses };
		this.#isTunnelled = options.tunnel?.mode === "always";
		this.#client = options.client ?? routerClient(options.router, options.token, options.transport, options.name);
	}

	get state(): LinkStatus {
		return this.#status;
	}

	start(): void {
		this.#poll = setInterval(() => {
			if (!this.#phase.isJoined) return;
			const isChanged = signature(this.#options.report().models) !== this.#lastReported;
			if (isChanged || this.#addresses.now() !== this.#knownAddresses) this.changed();
		}, POLL_MS);
		this.#poll.unref();
		this.#running = this.#run();
	}

	/** The report has changed: it is sent now, not within the next second. */
	changed(): void {
		this.#changes.notify();
	}

	/**
	 * Tells the router that all models are draining, so that it sends no further calls, and ends the link. To be called when
	 * the process begins to drain. Takes 2 s at most; safe to call twice.
	 */
	stop(): Promise<void> {
		this.#stopping ??= this.#stop();
		return this.#stopping;
	}

	async #run(): Promise<void> {
		const { signal } = this.#end;
		while (!signal.aborted) {
			if (this.#phase.isJoined && (await this.#hasMoved())) this.#phase = { ...this.#phase, isJoined: false };
			const outcome = await this.#attempt();
			const { phase, waitMs } = nextLinkStep(this.#phase, outcome, this.#heartbeatMs, Math.random());
			this.#phase = phase;
			await this.#pause(waitMs);
		}
	}

	/** Waits that long; less where something new is to be reported. While the router is away a report must not hurry the tries. */
	async #pause(ms: number): Promise<void> {
		const until = performance.now() + ms;
		while (!this.#end.signal.aborted) {
			const left = until - performance.now();
			if (left <= 0) return;
			await this.#changes.wait(left);
			if (this.#phase.isJoined && this.#phase.failures === 0) return;
		}
	}

	async #attempt(): Promise<LinkOutcome> {
		try {
			return await (this.#phase.isJoined ? this.#heartbeat() : this.#register());
		} catch (err) {
			this.#options.log.logger.error(
				{ err },
				"The link to the router failed by a fault of its own; it is tried again.",
			);
			return "away";
		}
	}

	async #register(): Promise<LinkOutcome> {
		const { router, log, onSecret, tunnel, prefixes } = this.#options;
		if (this.#isTunnelled) await tunnel!.client.opened(OPEN_MS);
		// An older router has none: it is called as before, until it opens one.
		if (tunnel?.mode === "auto" && !tunnel.client.isOpen) this.#isTunnelled = false;
		this.#knownAddresses = this.#addresses.now();
		let origin: string;
		try {
			origin = await this.#endpoint();
		} catch (thrown) {
			const { code, message } = thrown as NodeJS.ErrnoException;
			return this.#failed({ outcome: "away", message: `${router} can't be reached (${code ?? message})` });
		}
		const request = { ...this.#body(), endpoint: origin, version: VERSION };
		const result = await this.#client.register(request, this.#end.signal);
		if (result.outcome !== "ok") {
			// Only an address of this host: a router behind a proxy sees the proxy's.
			const seen = result.seenAs?.replace(/^::ffff:(?=\d+\.)/i, "");
			if (seen && seen !== this.#seenAs && this.#knownAddresses.split(" ").includes(seen)) {
				this.#seenAs = seen;
				return "unknown";
			}
			if (result.seenAs !== undefined && this.#takeTunnel()) return "unknown";
			return this.#failed(result);
		}
		const { secret, heartbeat_ms, reachable, problem, prefix_blocks } = result.answer;
		if (prefixes) prefixes.isTaken = prefix_blocks === BLOCK;
		prefixes?.unheard();
		if (prefixes?.isTaken && prefixes.hasNews) this.changed();
		this.#heartbeatMs = Math.min(60_000, Math.max(100, heartbeat_ms));
		onSecret(secret);
		if (this.#status.endpoint !== origin) log.logger.info({ router, endpoint: origin }, "The router has this agent.");
		this.#status = { state: "joined", endpoint: origin };
		this.#unreached = reachable ? 0 : 1;
		this.#joined(reachable, problem);
		return "ok";
	}

	/** Whether it is called through a tunnel from now on: where it is to, and was not. */
	#takeTunnel(): boolean {
		const { tunnel, log, router } = this.#options;
		if (!tunnel || this.#isTunnelled || (this.#hasTried && !tunnel.client.isOpen)) return false;
		this.#isTunnelled = true;
		this.#hasTried = true;
		log.logger.info({ router }, "The router can't call this agent's address: it gets a tunnel.");
		return true;
	}

	async #heartbeat(): Promise<LinkOutcome> {
		const { prefixes } = this.#options;
		const reports = prefixes?.isTaken ? prefixes.take() : undefined;
		const result = await this.#client.heartbeat(
			{ ...this.#body(), ...(reports && { prefixes: reports }) },
			this.#end.signal,
		);
		if (result.outcome !== "ok") {
			prefixes?.unheard();
			return this.#failed(result);
		}
		this.#options.onGoals?.(result.answer.goals);
		if (result.answer.resend) prefixes?.unheard(result.answer.resend);
		// More than one report holds, or what the router asks for again.
		if (reports && prefixes!.hasNews) this.changed();
		this.#unreached = result.answer.reachable === false ? this.#unreached + 1 : 0;
		if (this.#unreached >= UNREACHED && this.#takeTunnel()) return "unknown";
		this.#joined(result.answer.reachable, result.answer.problem);
		return "ok";
	}

	#body() {
		// A change from here on is not in this report.
		this.#changes.clear();
		const { name, instance, process, report } = this.#options;
		const { models, gpus } = report();
		this.#lastReported = signature(models);
		const who = { name, ...(instance ? { instance } : {}), ...(process ? { process } : {}) };
		return { ...who, models: [...models], ...(gpus ? { gpus: [...gpus] } : {}) };
	}

	async #endpoint(): Promise<string> {
		const { advertise, router, port, name } = this.#options;
		if (this.#isTunnelled) return tunnelEndpoint(name);
		if (advertise) return advertise.replace(/\/+$/, "").replace(/\/v1$/, "");
		return httpOrigin(this.#seenAs ?? (await this.#addresses.to(router)), port);
	}

	/** Whether the router would have to look for this agent elsewhere: most changes are of other networks, Docker's for one. */
	async #hasMoved(): Promise<boolean> {
		const now = this.#addresses.now();
		if (now === this.#knownAddresses) return false;
		this.#knownAddresses = now;
		if (this.#seenAs !== undefined && !now.split(" ").includes(this.#seenAs)) this.#seenAs = undefined;
		try {
			return (await this.#endpoint()) !== this.#status.endpoint;
		} catch {
			// The router is away: the heartbeat finds that out.
			return false;
		}
	}

	#joined(reachable: boolean | undefined, problem: string | undefined): void {
		const { router, log, tunnel } = this.#options;
		const { endpoint } = this.#status;
		// Of several routers at one address one has the tunnel: that the others can't call this agent is no problem.
		const isElsewhere = reachable === false && this.#isTunnelled && tunnel?.client.isOpen === true;
		if (reachable === false && !isElsewhere) {
			this.#warnOnce(`The router can't call this agent back: ${problem ?? "it does not say why"}`);
		} else if (!isElsewhere && this.#lastProblem !== undefined) {
			log.logger.info({ router }, "The router takes this agent again.");
			this.#lastProblem = undefined;
		}
		this.#status = { state: "joined", endpoint, reachable: reachable ?? true, problem };
	}

	#failed({ outcome, message }: Exclude<RouterReply<never>, { outcome: "ok" }>): LinkOutcome {
		if (this.#end.signal.aborted || outcome === "unknown") return outcome;
		const isAway = outcome === "away";
		this.#warnOnce(
			isAway ? `The router is away, it is tried again and again: ${message}` : `The router refuses: ${message}`,
		);
		this.#status = { ...this.#status, state: isAway ? "away" : "refused", problem: message };
		return outcome;
	}

	/** Once for each problem, however often it is met. */
	#warnOnce(sentence: string): void {
		const { router, log } = this.#options;
		if (sentence !== this.#lastProblem) log.logger.warn({ router }, sentence);
		this.#lastProblem = sentence;
	}

	async #stop(): Promise<void> {
		clearInterval(this.#poll);
		const wasJoined = this.#phase.isJoined;
		this.#end.abort();
		this.#changes.notify();
		await this.#running;
		this.#status = { ...this.#status, state: "stopped" };
		if (!wasJoined) return;
		const { models, ...rest } = this.#body();
		const draining = models.map((model): ModelReport => {
			const { name, gpus } = modelReport(model);
			return { name, state: "draining", reason: "the agent is stopping", ...(gpus && { gpus }) };
		});
		await this.#client.heartbeat({ ...rest, models: draining }, AbortSignal.timeout(LAST_HEARTBEAT_MS));
	}
}

/** The part of a report that is sent as soon as it changes: which models there are, where and what they do, not how busy they are. */
function signature(models: LinkReport["models"]): string {
	return models
		.map((each) => {
			const { name, state, load, reason, replicas = [], ...model } = modelReport(each);
			const places = [model, ...replicas].map(({ gpus }) => gpus?.join("+")).join();
			return [name, state, load, reason, replicaStates(replicas), places].join(" ");
		})
		.join("\n");
}
