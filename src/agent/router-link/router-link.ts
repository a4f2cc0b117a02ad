/**
 * The agent's link to its router: registers, is heard of every few seconds, and finds back by itself when the router, this
 * agent or an address on the way has changed. It never gives up.
 */
import { type GpuReport, HEARTBEAT_MS, type ModelReport, modelReport } from "../../protocol/agent.ts";
import type { Transport } from "../../providers/provider.ts";
import type { Log } from "../../telemetry/log.ts";
import { VERSION } from "../../version.ts";
import { type RouterReply, routerClient } from "./link-client.ts";
import { type LinkOutcome, type LinkPhase, NOT_JOINED, nextLinkStep } from "./link-step.ts";
import { localAddresses, localAddressTo, originOf } from "./local-address.ts";

/** How often it looks whether the report says something new, ms. */
const POLL_MS = 1_000;
/** How long the farewell may take, ms. */
const LAST_HEARTBEAT_MS = 2_000;

/** What the agent serves at this moment. A bare name counts as ready. */
export interface LinkReport {
	readonly models: readonly (string | ModelReport)[];
	readonly gpus?: readonly GpuReport[] | undefined;
}

/** How to reach the router, and what to tell it. */
export interface LinkOptions {
	/** The router's base URL. */
	readonly router: string;
	/** The agents' shared token; a router on loopback wants none. */
	readonly token?: string | undefined;
	readonly name: string;
	readonly instance?: string | undefined;
	/** The origin at which the router reaches this agent; by default the address from which this host reaches the router. */
	readonly advertise?: string | undefined;
	/** The port this agent listens on. */
	readonly port: number;
	readonly transport: Transport;
	/** Asked every second and with every heartbeat: has to be cheap. */
	report(): LinkReport;
	/** Hears the secret that the router's calls carry from then on. */
	onSecret(secret: string): void;
	readonly log: Pick<Log, "logger">;
	/** Tests: stand-ins for this host's addresses. */
	readonly addresses?: { to(router: string): Promise<string>; now(): string };
}

/** What the link is doing. */
export interface LinkStatus {
	/** `joining`: not yet taken; `joined`; `away`: the router does not answer; `refused`: it says no, and why. */
	readonly state: "joining" | "joined" | "away" | "refused" | "stopped";
	/** The origin that was registered last. */
	readonly endpoint?: string | undefined;
	/** Whether the router can call back. */
	readonly reachable?: boolean | undefined;
	/** What is wrong, one sentence. */
	readonly problem?: string | undefined;
}

/** A running link. */
export interface RouterLink {
	readonly state: LinkStatus;
	/** The report says something new: it is told now, not within the next second. */
	changed(): void;
	/**
	 * Tells the router that all models are draining, so that it sends no further calls, and ends the link. To be called when
	 * the process begins to drain. Takes 2 s at most; safe to call twice.
	 */
	stop(): Promise<void>;
}

/** Starts it. Call it once the agent listens: the router calls back. Nothing of it throws or rejects. */
export function startLink(options: LinkOptions): RouterLink {
	const { router, token, name, instance, log, report } = options;
	const addresses = options.addresses ?? { to: localAddressTo, now: localAddresses };
	const client = routerClient(router, token, options.transport);
	const ending = new AbortController();
	let position: LinkPhase = NOT_JOINED;
	let state: LinkStatus = { state: "joining" };
	let heartbeatMs = HEARTBEAT_MS;
	let lastReported = "";
	let knownAddresses = "";
	/** The address of this host that the router saw, where that is not the one found here (IPv4 and IPv6). */
	let seenAs: string | undefined;
	let lastProblem: string | undefined;
	let wake = () => {};

	/** Once for each thing that is wrong, however often it is met. */
	const warnOnce = (sentence: string) => {
		if (sentence !== lastProblem) log.logger.warn({ router }, sentence);
		lastProblem = sentence;
	};
	const markJoined = (reachable: boolean | undefined, problem: string | undefined) => {
		const { endpoint } = state;
		if (reachable === false) warnOnce(`The router can't call this agent back: ${problem ?? "it does not say why"}`);
		else if (lastProblem !== undefined) {
			log.logger.info({ router }, "The router takes this agent again.");
			lastProblem = undefined;
		}
		state = { state: "joined", endpoint, reachable: reachable ?? true, problem };
	};
	const body = () => {
		const { models, gpus } = report();
		lastReported = signature(models);
		return { name, ...(instance ? { instance } : {}), models: [...models], ...(gpus ? { gpus: [...gpus] } : {}) };
	};

	async function endpoint(): Promise<string> {
		if (options.advertise) return options.advertise.replace(/\/+$/, "").replace(/\/v1$/, "");
		return originOf(seenAs ?? (await addresses.to(router)), options.port);
	}

	/** Whether the router would have to look for this agent elsewhere: most changes are of other networks, Docker's for one. */
	async function hasMoved(): Promise<boolean> {
		const now = addresses.now();
		if (now === knownAddresses) return false;
		knownAddresses = now;
		if (seenAs !== undefined && !now.split(" ").includes(seenAs)) seenAs = undefined;
		try {
			return (await endpoint()) !== state.endpoint;
		} catch {
			// The heartbeat will tell that the router is away.
			return false;
		}
	}

	async function register(): Promise<LinkOutcome> {
		knownAddresses = addresses.now();
		let origin: string;
		try {
			origin = await endpoint();
		} catch (thrown) {
			const { code, message } = thrown as NodeJS.ErrnoException;
			return failed({ outcome: "away", message: `${router} can't be reached (${code ?? message})` });
		}
		const result = await client.register({ ...body(), endpoint: origin, version: VERSION }, ending.signal);
		if (result.outcome !== "ok") {
			// Only an address of its own: a router behind a proxy sees the proxy's.
			const seen = result.seenAs?.replace(/^::ffff:(?=\d+\.)/i, "");
			if (seen && seen !== seenAs && knownAddresses.split(" ").includes(seen)) {
				seenAs = seen;
				return "unknown";
			}
			return failed(result);
		}
		const { secret, heartbeat_ms, reachable, problem } = result.answer;
		heartbeatMs = Math.min(60_000, Math.max(100, heartbeat_ms));
		options.onSecret(secret);
		if (state.endpoint !== origin) log.logger.info({ router, endpoint: origin }, "The router has this agent.");
		state = { state: "joined", endpoint: origin };
		markJoined(reachable, problem);
		return "ok";
	}

	async function sendHeartbeat(): Promise<LinkOutcome> {
		const result = await client.heartbeat(body(), ending.signal);
		if (result.outcome !== "ok") return failed(result);
		markJoined(result.answer.reachable, result.answer.problem);
		return "ok";
	}

	function failed(result: Exclude<RouterReply<never>, { outcome: "ok" }>): LinkOutcome {
		const { outcome, message } = result;
		if (ending.signal.aborted || outcome === "unknown") return outcome;
		const isAway = outcome === "away";
		warnOnce(isAway ? `The router is away, it is tried again and again: ${message}` : `The router refuses: ${message}`);
		state = { ...state, state: isAway ? "away" : "refused", problem: message };
		return outcome;
	}

	async function attempt(): Promise<LinkOutcome> {
		try {
			return await (position.isJoined ? sendHeartbeat() : register());
		} catch (err) {
			log.logger.error({ err }, "The link to the router failed by a fault of its own; it is tried again.");
			return "away";
		}
	}

	/** Waits that long; less where something is new to tell. */
	async function pause(ms: number): Promise<void> {
		const { promise, resolve } = Promise.withResolvers<void>();
		wake = resolve;
		const timer = setTimeout(resolve, ms);
		await promise;
		clearTimeout(timer);
	}

	async function run(): Promise<void> {
		while (!ending.signal.aborted) {
			if (position.isJoined && (await hasMoved())) position = { ...position, isJoined: false };
			const outcome = await attempt();
			const next = nextLinkStep(position, outcome, heartbeatMs, Math.random());
			position = next.position;
			if (!ending.signal.aborted) await pause(next.waitMs);
		}
	}

	/** While the router is away a new report has to wait: it must not hurry the tries. */
	const changed = () => {
		if (position.isJoined && position.failures === 0) wake();
	};
	const look = setInterval(() => {
		if (position.isJoined && (signature(report().models) !== lastReported || addresses.now() !== knownAddresses))
			changed();
	}, POLL_MS);
	look.unref();
	const running = run();

	let stopping: Promise<void> | undefined;
	async function stop(): Promise<void> {
		clearInterval(look);
		const wasJoined = position.isJoined;
		ending.abort();
		wake();
		await running;
		state = { ...state, state: "stopped" };
		if (!wasJoined) return;
		const { models, ...rest } = body();
		const draining = models.map((model): ModelReport => {
			return { name: modelReport(model).name, state: "draining", reason: "the agent is stopping" };
		});
		await client.heartbeat({ ...rest, models: draining }, AbortSignal.timeout(LAST_HEARTBEAT_MS));
	}
	return {
		get state() {
			return state;
		},
		changed,
		stop() {
			stopping ??= stop();
			return stopping;
		},
	};
}

/** What of a report the router should know at once: which models there are and what they do, not how busy they are. */
function signature(models: LinkReport["models"]): string {
	return models
		.map((each) => {
			const { name, state, load, reason } = modelReport(each);
			return [name, state, load, reason].join(" ");
		})
		.join("\n");
}
