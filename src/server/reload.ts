/** Another configuration for a router that runs: when its file changes, and on SIGHUP. */

import { createKeyAuth, type KeyAuth } from "../accounts/auth/keys.ts";
import { saysOpen } from "../accounts/auth/listen-policy.ts";
import { ConfigError, located, mistakeLine, type Path } from "../config/config-error.ts";
import { type Difference, differenceLine, differences } from "../config/diff.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Loaded } from "../config/load.ts";
import { keepRestartOnly } from "../config/restart-only.ts";
import type { Config } from "../config/schema.ts";
import { hasSettled, type Signature, signature, watchFile } from "../config/watch.ts";
import { StartError } from "../errors.ts";
import type { StoredThoughts } from "../proxy/net/request-inputs.ts";
import { readCa } from "../proxy/net/transport.ts";
import type { SuspectsView } from "../proxy/suspects.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { shutOutAgents } from "./agents/agent-access.ts";
import type { AgentRegistry } from "./agents/agent-registry.ts";
import type { AgentTransport } from "./agents/agent-transport.ts";
import type { AgentFleet } from "./agents/fleet.ts";
import type { HostWakes } from "./agents/host-wakes.ts";
import type { TunnelHub } from "./agents/tunnels.ts";
import { plannedEntries, type RolePlan } from "./role-plan.ts";
import { routerPlan } from "./router-plan.ts";
import type { RouterState } from "./router-state.ts";
import { type RouterSnapshot, routerSnapshot } from "./snapshot.ts";

/** What a reload changes, and what it works with. */
export interface ReloadedRouter {
	/** The one reference that a reload replaces. */
	snapshot: RouterSnapshot;
	readonly env: Environment;
	/** There where the start made a key. */
	readonly generatedAuth: KeyAuth | undefined;
	readonly state: RouterState;
	readonly agents: AgentRegistry;
	readonly fleet: AgentFleet;
	readonly hostWakes: HostWakes;
	readonly agentTransport: AgentTransport;
	readonly hub: TunnelHub;
	readonly suspects: Pick<SuspectsView, "refuseMs">;
	readonly thinking: StoredThoughts;
	readonly log: Pick<Log, "logger">;
	readonly metrics: Pick<Metrics, "reloaded" | "refused" | "watchEnergy" | "watchRetirements">;
	/** Hears of a configuration that is in force now. */
	onReload?: (config: Config) => void;
	/** Hears that an agent can be called through its tunnel now, or not any more. */
	onTunnel?: () => void;
}

/** Most settings that one reload logs. */
const MOST_SHOWN = 50;

/** How long an answer of {@link LiveConfiguration.pending} is good for while its file stays, ms: another file may stand behind `${file:…}`. */
const PENDING_MS = 30_000;

const OPENED =
	"No key would be left, and everyone who reaches this port could call. If that is meant, write `keys: []` and name the loopback address under `server.host`, or write `keys: []` and `server: { insecure: true }`.";

/** What a reload would do now. */
export interface PendingReload {
	/** What would change. */
	readonly changes: readonly Difference[];
	/** What only a restart would change. */
	readonly waiting: readonly Difference[];
	/** What can't be used, a line each: nothing would change. */
	readonly mistakes: readonly string[];
}

/** An answer of {@link LiveConfiguration.pending}. */
interface KnownPending {
	readonly reload: PendingReload;
	/** What it was made of: of the file, and of what was in force. */
	readonly file: Signature;
	readonly snapshot: RouterSnapshot;
	/** When, by the clock of {@link LiveConfiguration}. */
	readonly at: number;
}

/** The configuration that a router runs by, and its file. */
export class LiveConfiguration {
	readonly #start: Loaded;
	#known: KnownPending | undefined;
	/** The file of which a fault of the router's own is in the log. */
	#faulty: Signature | undefined;

	/** @param time ms, never backwards */
	constructor(
		private readonly router: ReloadedRouter,
		private loaded: Loaded,
		private readonly time: () => number = () => performance.now(),
	) {
		this.#start = loaded;
	}

	/** What was loaded last, and could be used; settings that wait for a restart are in it, too. */
	get last(): Loaded {
		return this.loaded;
	}

	/** What is in force. */
	get config(): Config {
		return this.router.snapshot.config;
	}

	/** Where each setting in force comes from. One for which another value waits is as it was at the start. */
	get sources(): Loaded["sources"] {
		const { config, loaded } = this;
		return {
			of: (path) => {
				if (isSame(valueAt(config, path), valueAt(loaded.config, path))) return loaded.sources.of(path);
				const source = this.#start.sources.of(path);
				return source.from === "file" ? { ...source, isOfStart: true } : source;
			},
		};
	}

	/** What a reload would do with the file as it is now. Changes nothing. Not worked out again while nothing has changed. */
	pending(): PendingReload {
		const { snapshot } = this.router;
		const file = signature(this.loaded.watched);
		const at = this.time();
		const known = this.#known;
		const isCurrent = known?.file === file && known.snapshot === snapshot && at - known.at < PENDING_MS;
		if (isCurrent) return known.reload;
		const reload = this.#pendingOf(file);
		this.#known = { reload, file, snapshot, at };
		return reload;
	}

	#pendingOf(file: Signature): PendingReload {
		let locate: Loaded["locate"] | undefined;
		try {
			const read = this.loaded.again();
			locate = read.locate;
			const { snapshot, waiting } = planned(this.router, read);
			return { changes: differences(this.config, snapshot.config), waiting, mistakes: [] };
		} catch (thrown) {
			const error = locate ? located(thrown, locate) : thrown;
			if (!isMistake(error) && this.#faulty !== file) {
				this.#faulty = file;
				logRefusal(this.router.log, this.loaded.watched, error);
			}
			return { changes: [], waiting: [], mistakes: mistakesOf(error) };
		}
	}

	/** As {@link reload}, once the file has been the same for two looks: who is writing it may not have come to what a key may not do. */
	async reloadWhenWritten(): Promise<readonly string[]> {
		const { watched } = this.loaded;
		if (await hasSettled(watched)) return this.reload();
		return [mistakeLine({ file: watched, path: "", message: "is being written; ask again once it is whole" })];
	}

	/**
	 * Loads anew once, and puts another snapshot in the place of the one in force. What can't be used is logged and counted, and the last
	 * good configuration goes on. Returns why it can't be used, a line each; empty where it is in force.
	 */
	reload(): readonly string[] {
		const { log, metrics, snapshot: before } = this.router;
		const { watched } = this.loaded;
		let locate: Loaded["locate"] | undefined;
		try {
			const read = this.loaded.again();
			locate = read.locate;
			const next = planned(this.router, read, this.router.thinking);
			const { auth, config } = next.snapshot;
			const wereShutOut = shutOutAgents(before, this.router.env, this.router.state.store);
			putInForce(this.router, next);
			this.loaded = read;
			metrics.reloaded("loaded");
			logChanges(log, watched, before.config, config);
			const shutOut = shutOutAgents(next.snapshot, this.router.env, this.router.state.store);
			if (shutOut !== wereShutOut && shutOut !== undefined) log.logger.warn(shutOut);
			if (auth.isKeyless && !before.auth.isKeyless)
				log.logger.warn("No key is left: whoever reaches this port may call.");
			// Variables are as they were: the start has said what was mended in them.
			for (const warning of read.warnings) if (warning.file !== undefined) log.logger.warn(mistakeLine(warning));
			if (next.waiting.length > 0) {
				const changes = next.waiting.map(differenceLine);
				log.logger.warn({ changes }, "These settings take effect after a restart.");
			}
			return [];
		} catch (thrown) {
			const error = locate ? located(thrown, locate) : thrown;
			metrics.reloaded("refused");
			logRefusal(log, watched, error);
			return mistakesOf(error);
		} finally {
			this.#known = undefined;
		}
	}
}

/** Watches the configuration's file and hears SIGHUP (on Windows that is the closing of the console, and not heard). Returns how to end it. */
export function watchConfiguration(live: LiveConfiguration): () => void {
	const watch = watchFile(live.last, () => void live.reload());
	// Not at once: who is still writing the file may not have come to what a key may not do.
	const onSignal = () => watch.recheck();
	if (process.platform !== "win32") process.on("SIGHUP", onSignal);
	return () => {
		watch.stop();
		process.off("SIGHUP", onSignal);
	};
}

/** A configuration that could be in force. */
interface NextConfiguration {
	readonly snapshot: RouterSnapshot;
	readonly waiting: readonly Difference[];
	/** What is trusted besides the system's authorities, PEM. */
	readonly ca: ReturnType<typeof readCa>;
}

/**
 * What of a file that was read a reload would put in force. Throws what makes it unusable, all that a reload refuses. Changes nothing.
 * @param thinking what outlives a reload of what upstreams have signed; absent where the plan is not to be used
 */
function planned(router: ReloadedRouter, read: Loaded, thinking?: StoredThoughts): NextConfiguration {
	const { fleet, state, metrics } = router;
	const { config, waiting } = keepRestartOnly(router.snapshot.config, read.config);
	const plan = routerPlan(config, router.env);
	const auth = nextAuth(router, plan, saysOpen(config, read.sources));
	const entries = plannedEntries(plan, state.keys, thinking);
	const snapshot = routerSnapshot(config, entries, auth, { fleet, state, onRefused: metrics.refused });
	return { snapshot, waiting, ca: readCa(config.ca_file) };
}

/** Puts it in force. Nothing of it fails. */
function putInForce(router: ReloadedRouter, { snapshot, ca }: NextConfiguration): void {
	const { config } = snapshot;
	router.agentTransport.trust(ca);
	router.agents.setUpstream(snapshot.agentUpstream);
	router.fleet.bounds = config.agents.replicas;
	router.state.ledger.bounds = config.usage;
	router.suspects.refuseMs = config.poisonous_requests;
	router.snapshot = snapshot;
	router.onReload?.(config);
}

/** Who may call under another configuration. Throws StartError where it would need a key made, or would open without being told to. */
function nextAuth({ snapshot, generatedAuth, state }: ReloadedRouter, plan: RolePlan, mayOpen: boolean): KeyAuth {
	if (plan.generatesKey && !generatedAuth) {
		throw new StartError("without any key left one would have to be made, which takes a restart.");
	}
	const auth = plan.generatesKey ? generatedAuth! : createKeyAuth(plan.keys, undefined, undefined, state.keys);
	if (auth.isKeyless && !snapshot.auth.isKeyless && !mayOpen) throw new StartError(OPENED);
	return auth;
}

/** What stands at a path of a configuration; undefined where nothing does. */
const valueAt = (config: Config, path: Path): unknown =>
	path.reduce<unknown>((value, part) => (value as Record<string | number, unknown> | undefined)?.[part], config);

function isSame(a: unknown, b: unknown): boolean {
	return a === b || JSON.stringify(a) === JSON.stringify(b);
}

function logChanges({ logger }: Pick<Log, "logger">, file: string, before: Config, config: Config): void {
	const changes = differences(before, config).map(differenceLine);
	logger.info(
		{ file, changes: changes.slice(0, MOST_SHOWN), changed: changes.length },
		"The configuration was loaded anew.",
	);
}

function logRefusal({ logger }: Pick<Log, "logger">, file: string, error: unknown): void {
	const mistakes = isMistake(error) ? mistakesOf(error) : undefined;
	logger.error(
		{ file, ...(mistakes ? { mistakes } : { err: error }) },
		"The configuration can't be used; the last good one stays.",
	);
}

/** Their messages quote no value; any other error is a fault of ours. */
const isMistake = (error: unknown): error is ConfigError | StartError =>
	error instanceof ConfigError || error instanceof StartError;

function mistakesOf(error: unknown): string[] {
	if (!isMistake(error)) return ["It can't be used by a fault of the router's own, which its log has."];
	return error.message.split("\n").slice(0, MOST_SHOWN);
}
