/**
 * The agent's loop: sees what there is, asks the scheduler and the supervisor (both pure) what to do, does it, and lets
 * calls through to what is ready. One tick at a time; whatever happens asks for another one.
 */
import type { Environment } from "../../config/interpolate.ts";
import type { Transport } from "../../providers/provider.ts";
import { steadyTime } from "../../steady-time.ts";
import type { Log } from "../../telemetry/log.ts";
import type { Docker } from "../docker/docker.ts";
import { EngineLock } from "../docker/engine-lock.ts";
import { EngineWatch } from "../docker/engine-watch.ts";
import { Inventory, type InventoryItem } from "../docker/inventory.ts";
import type { GpuWatch } from "../gpu/gpu-watch.ts";
import { Hardware } from "../gpu/hardware.ts";
import type { ModelInfoCache } from "../gpu/model-infos.ts";
import { Placer } from "../gpu/placer.ts";
import type { Problem } from "../problem.ts";
import { Monitor } from "../vllm/monitor.ts";
import type { AgentFile } from "./agent-file.ts";
import type { AgentSettings } from "./agent-settings.ts";
import { ContainerSpecs } from "./container-spec.ts";
import type { EffectResult } from "./effects.ts";
import type { ModelRegistry, RegisteredModel } from "./model-registry.ts";
import type { ModelStatus } from "./model-state.ts";
import { ModelStatuses, replicaKeys } from "./model-status.ts";
import { RunningEffects } from "./running-effects.ts";
import { type Decision, type ModelDemand, type Residents, schedule } from "./scheduler.ts";
import {
	type Action,
	type DesiredReplica,
	INITIAL_STATE,
	modelOfKey,
	nextFailure,
	type ReplicaState,
	replicaKey,
	type SupervisorDecision,
	type SupervisorLimits,
	type SupervisorState,
	supervise,
} from "./supervisor.ts";
import type { Traffic } from "./traffic.ts";

/** How soon the next look is due, ms: while something is under way, and while nothing is. */
const BUSY_MS = 200;
const IDLE_MS = 1000;

/** What happened, for the metrics. */
export interface ModelEvents {
	loaded(model: string): void;
	woken(model: string): void;
	evicted(model: string): void;
	restarted(model: string): void;
}

/** What it works with. */
export interface ControllerOptions {
	readonly registry: ModelRegistry;
	readonly settings: AgentSettings;
	readonly docker: Docker;
	/** Of the engine's CLI. */
	readonly env: Environment;
	readonly http: Transport;
	readonly gpus: GpuWatch;
	readonly infos: ModelInfoCache;
	readonly file: AgentFile;
	readonly traffic: Traffic;
	readonly limits: SupervisorLimits;
	readonly switchAfterMs: number;
	readonly stallMs: number;
	readonly events: ModelEvents;
	readonly log: () => Log["logger"];
	/** States may have changed: whoever reports them should look. */
	readonly onChange: () => void;
}

/** The host's models and their containers. Inert until `start`. */
export class ModelController {
	readonly inventory: Inventory;
	readonly hardware: Hardware;
	readonly #specs: ContainerSpecs;
	readonly #watch: EngineWatch;
	readonly #placer: Placer;
	readonly #effects: RunningEffects;
	#supervisorState: SupervisorState = INITIAL_STATE;
	#residents: Residents = { awake: new Set(), asleep: new Set() };
	#decision: SupervisorDecision | undefined;
	readonly #statuses: ModelStatuses;
	#isAdopting = true;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#isTicking = false;
	#isTickRequested = false;
	readonly #end = new AbortController();

	constructor(private readonly options: ControllerOptions) {
		const { docker, settings, registry } = options;
		const claim = new EngineLock(settings.agent, settings.command, options.env);
		this.#watch = new EngineWatch(docker, settings.agent, claim, () => this.requestTick());
		this.hardware = new Hardware(settings, options.gpus, options.file);
		const specs = new ContainerSpecs(registry, settings, this.hardware);
		this.#specs = specs;
		this.inventory = new Inventory((container, origin) => {
			const model = container.labels["router.model"] ?? "";
			const entry = registry.get(model);
			return new Monitor({
				id: container.id,
				model,
				weights: entry?.spec.model ?? model,
				vllm: this.vllm(origin),
				canSleep: () => entry !== undefined && specs.canSleep(entry),
				docker,
				traffic: options.traffic,
				cacheDir: settings.cacheDir,
				stallMs: options.stallMs,
				startedAt: container.startedAt,
				onNews: () => this.requestTick(),
				isEngineAway: () => this.#watch.problem !== undefined,
			});
		});
		const { gpus, infos, log } = options;
		this.#statuses = new ModelStatuses(registry, options.traffic, log, options.onChange);
		this.#placer = new Placer(registry, gpus, infos, settings.cacheDir, (entry) => specs.canSleep(entry));
		this.#effects = new RunningEffects({
			docker,
			settings,
			specs,
			placer: this.#placer,
			inventory: this.inventory,
			vllm: (origin) => this.vllm(origin),
			log,
			onEnd: (action, outcome) => this.#effectEnded(action, outcome),
		});
	}

	/** Begins. */
	start(): void {
		this.#watch.start();
		void this.options.gpus.start().then(() => this.requestTick());
	}

	/** Another agent may take over the containers; until one does this one goes on. */
	releaseEngine(): void {
		this.#watch.releaseLock();
	}

	/** Ends the loop; containers stay as they are. */
	end(): void {
		this.#end.abort();
		clearTimeout(this.#timer);
		this.#watch.end();
		this.options.gpus.end();
		this.inventory.end();
		this.#effects.end();
	}

	/** Stops and removes all containers. For the very end, after `end`. */
	async stopContainers(): Promise<void> {
		const { docker, log } = this.options;
		const stop = async ({ id, key, state }: InventoryItem) => {
			try {
				if (state === "running") await docker.stop(id, this.#specs.stopGrace(key));
				await docker.remove(id);
			} catch (err) {
				log().error({ err, container: id }, "A container could not be stopped.");
			}
		};
		await Promise.all(this.inventory.items.map(stop));
	}

	/** Asks for a tick now. */
	requestTick(): void {
		this.#isTickRequested = true;
		if (this.#isTicking || this.#end.signal.aborted) return;
		clearTimeout(this.#timer);
		this.#timer = setTimeout(() => void this.#runTick(), 0);
	}

	/** A model as a whole, as of the last tick. */
	statusOf(model: string): ModelStatus {
		return this.#statuses.of(model);
	}

	/** A replica, as of the last tick. */
	replicaState(key: string): ReplicaState | undefined {
		return this.#decision?.states.get(key);
	}

	/** The image of a model, and how far its pull is in percent, where one runs. */
	pullOf(entry: RegisteredModel): { readonly image: string; readonly percent: number | undefined } | undefined {
		const image = this.#specs.image(entry);
		const { pulls } = this.#effects;
		return pulls.has(image) ? { image, percent: pulls.get(image) } : undefined;
	}

	/** The last words of a replica's container that is gone. */
	lastLog(key: string): readonly string[] {
		return this.#effects.lastLogs.get(key) ?? [];
	}

	/** Why Docker can't be used. */
	get engineProblem(): Problem | undefined {
		return this.#watch.problem;
	}

	vllm(origin: string) {
		return { origin, key: this.options.settings.variables["VLLM_API_KEY"], http: this.options.http };
	}

	/** What was ordered is tried at once, whatever failed before. */
	retryNow(model: string): void {
		const failures = new Map(this.#supervisorState.failures);
		for (const key of failures.keys()) if (key.startsWith(`${model}#`)) failures.delete(key);
		this.#supervisorState = { ...this.#supervisorState, failures };
		this.requestTick();
	}

	async #runTick(): Promise<void> {
		this.#isTicking = true;
		this.#isTickRequested = false;
		try {
			await this.#tick();
		} catch (err) {
			this.options.log().error({ err }, "The agent's loop failed by a fault of its own; it goes on.");
		}
		this.#isTicking = false;
		if (this.#end.signal.aborted) return;
		this.#timer = setTimeout(
			() => void this.#runTick(),
			this.#isTickRequested ? 0 : this.#isBusy() ? BUSY_MS : IDLE_MS,
		);
	}

	async #tick(): Promise<void> {
		const ended = this.#effects.endedKeys();
		const isNew = await this.#watch.refresh();
		if (this.#end.signal.aborted) return;
		if (isNew) this.#effects.confirm(ended);
		this.inventory.sync(this.#watch.containers);
		const { items } = this.inventory;
		this.options.traffic.retainContainers(new Set(items.map(({ id }) => id)));
		const entries = this.options.registry.all();
		// Without knowing what the models run on nothing may be started, stopped or replaced.
		if (!this.hardware.known) return this.#statuses.setUnknown(entries, this.hardware.problem);
		if (this.#watch.hasAnswered && this.#isAdopting) this.#adopt(entries, items);

		const now = steadyTime();
		const memory = this.#placer.snapshot(items);
		const room = this.#placer.capacity(memory);
		const rules = { switchAfterMs: this.options.switchAfterMs };
		const decision = schedule(
			entries.map((entry) => this.#demand(entry, items)),
			this.#residents,
			room,
			rules,
			now,
		);
		this.#residents = decision;
		for (const name of decision.evicted) this.#logEviction(name, decision);
		const wanted = entries.flatMap((entry) => this.#desired(entry, items, decision, memory));
		// Before its first answer the engine has not said what is not there.
		const engineProblem =
			this.#watch.problem ?? (this.#watch.hasAnswered ? undefined : { reason: "Docker is being asked", fix: "" });
		const { images, inFlight } = this.#effects;
		const observed = { engineProblem, containers: items, images, inFlight };
		const next = supervise(wanted, observed, this.#supervisorState, this.options.limits, now);
		this.#supervisorState = next;
		this.#decision = next;
		for (const action of next.actions) {
			const item = "id" in action ? items.find(({ id }) => id === action.id) : undefined;
			if (action.do === "stop" && action.failed) this.options.events.restarted(modelOfKey(action.key));
			this.#effects.begin(action, item);
		}
		const originOf = (id: string) => items.find((item) => item.id === id)?.origin;
		for (const entry of entries) {
			const states = replicaKeys(entry).flatMap((key) => next.states.get(key) ?? []);
			this.#statuses.update(entry, states, decision, room.why, originOf, now);
		}
	}

	/** What runs from before is kept: an on-demand model that is there has its place. */
	#adopt(entries: readonly RegisteredModel[], items: readonly InventoryItem[]): void {
		const awake = new Set(this.#residents.awake);
		const asleep = new Set(this.#residents.asleep);
		for (const { spec, load } of entries) {
			const own = items.filter(({ model, state }) => model === spec.name && state === "running");
			if (load !== "on-demand" || own.length === 0) continue;
			const isAsleep = own.some(({ health }) => health === "asleep");
			(isAsleep ? asleep : awake).add(spec.name);
			if (isAsleep) awake.delete(spec.name);
		}
		this.#residents = { awake, asleep };
		// Whether a container sleeps is known once it has answered, or once it has had its time.
		const open = items.some(
			({ state, health, monitor }) =>
				state === "running" && health === "unknown" && monitor && steadyTime() - monitor.firstSeenAt < 5000,
		);
		this.#isAdopting = open;
	}

	#demand({ spec, load, order }: RegisteredModel, items: readonly InventoryItem[]): ModelDemand {
		const { name, ttl } = spec;
		const { traffic } = this.options;
		const { count, oldestAt } = traffic.waiting(name);
		const { state, retryAt } = this.statusOf(name);
		const monitors = items.flatMap(({ model, monitor }) => (model === name && monitor ? [monitor] : []));
		const latest = (times: (number | undefined)[]) =>
			times.reduce((a, b) => Math.max(a ?? 0, b ?? 0) || undefined, undefined);
		return {
			name,
			load,
			order,
			state,
			waiting: count,
			oldestAt,
			running: traffic.running(name),
			usedAt: traffic.lastUsedAt(name),
			readyAt: latest(monitors.map(({ readyAt }) => readyAt)),
			loadMs: latest(monitors.map(({ loadMs }) => loadMs)),
			ttl,
			retryAt,
		};
	}

	#desired(
		entry: RegisteredModel,
		items: readonly InventoryItem[],
		{ awake, asleep }: Decision,
		memory: ReturnType<Placer["snapshot"]>,
	): DesiredReplica[] {
		const { spec } = entry;
		const desired = awake.has(spec.name) ? "up" : asleep.has(spec.name) ? "asleep" : "down";
		const hash = this.#specs.hash(entry);
		const image = this.#specs.image(entry);
		return Array.from({ length: spec.replicas ?? 1 }, (_, replica) => {
			const key = replicaKey(spec.name, replica);
			const own = items.find((item) => item.key === key);
			const needsPlace = desired === "up" && (!own || own.health === "asleep") && !this.#effects.inFlight.has(key);
			const others = items.filter(({ model }) => model !== spec.name);
			const leaving = others
				.filter(({ model, health }) => health !== "asleep" && !awake.has(model))
				.map(({ model }) => model);
			const place = needsPlace ? this.#placer.place(entry, replica, memory, leaving) : {};
			return { key, desired, hash, image, running: own ? this.options.traffic.runningIn(own.id) : 0, ...place };
		});
	}

	#logEviction(name: string, { asleep }: Decision): void {
		this.options.events.evicted(name);
		this.options.log().info({ model: name, asleep: asleep.has(name) }, "evicted: another model needs its memory");
	}

	#effectEnded(action: Action, outcome: EffectResult): void {
		const { key } = action;
		const { events, gpus, registry } = this.options;
		this.#watch.invalidate();
		if (outcome.ended === "engine") this.#watch.engineFailed(outcome.error);
		const isFailure = action.do === "stop" && action.failed;
		const past = this.#supervisorState.failures.get(key);
		if (isFailure) this.#effects.logFailure(key, outcome.ended === "failed" ? outcome.problem : past?.problem);
		const entry = registry.get(modelOfKey(key));
		if (outcome.ended === "failed" && entry) {
			const failures = new Map(this.#supervisorState.failures);
			// What failed was counted when it was seen; here comes why.
			if (isFailure && past) failures.set(key, { ...past, problem: outcome.problem });
			else if (!isFailure) failures.set(key, nextFailure(past, this.#specs.hash(entry), outcome.problem, steadyTime()));
			this.#supervisorState = { ...this.#supervisorState, failures };
		}
		if (outcome.ended === "well" && action.do === "start") events.loaded(modelOfKey(key));
		if (outcome.ended === "well" && action.do === "wake") events.woken(modelOfKey(key));
		if (action.do === "stop" || action.do === "sleep") gpus.readSoon();
		this.requestTick();
	}

	#isBusy(): boolean {
		if (this.#effects.inFlight.size > 0 || this.#watch.problem) return true;
		return this.options.registry
			.all()
			.some(
				({ spec: { name } }) =>
					this.options.traffic.waiting(name).count > 0 || /starting|pulling|draining/.test(this.statusOf(name).state),
			);
	}
}
