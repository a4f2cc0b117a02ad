/**
 * The agent's loop: sees what there is, asks the scheduler and the supervisor (both pure) what to do, does it, and lets
 * calls through to what is ready. One tick at a time; whatever happens asks for another one.
 */
import type { Environment } from "../../config/interpolate.ts";
import type { Transport } from "../../providers/provider.ts";
import { steadyTime } from "../../steady-time.ts";
import type { Log } from "../../telemetry/log.ts";
import { EngineClaim } from "../docker/engine-lock";
import type { Docker } from "../docker/docker.ts";
import { EngineWatch } from "../docker/engine-watch.ts";
import { Inventory, type Item } from "../docker/inventory.ts";
import type { GpuWatch } from "../gpu/gpu-watch.ts";
import { Hardware } from "../gpu/hardware.ts";
import type { ModelInfos } from "../gpu/model-infos.ts";
import { Placer } from "../gpu/placer.ts";
import { Monitor } from "../vllm/monitor.ts";
import type { AgentFile } from "./agent-file.ts";
import type { AgentSettings } from "./agent-settings.ts";
import { Blueprints, modelOfKey } from "./container-specs.ts";
import type { EffectResult } from "./effects.ts";
import type { ModelRegistry, RegisteredModel } from "./model-registry.ts";
import type { WholeState } from "./model-state.ts";
import { keysOf, ModelStatus } from "./model-status.ts";
import { Deeds } from "./running-effects.ts";
import { type Decision, type Demand, type Residents, schedule } from "./scheduler.ts";
import {
	type Action,
	type Backoffs,
	failure,
	NO_ACTIVITY,
	type Reason,
	type ReplicaState,
	replicaKey,
	type Supervised,
	type SupervisorLimits,
	supervise,
	type Wanted,
} from "./supervisor.ts";
import type { Traffic } from "./traffic.ts";

/** How soon the next look is due, ms: while something is under way, and while nothing is. */
const BUSY_MS = 200;
const IDLE_MS = 1000;

/** What happened, for the metrics. */
export interface HostEvents {
	loaded(model: string): void;
	woken(model: string): void;
	evicted(model: string): void;
	restarted(model: string): void;
}

/** What it works with. */
export interface HostOptions {
	readonly book: ModelRegistry;
	readonly settings: AgentSettings;
	readonly docker: Docker;
	/** Of the engine's CLI. */
	readonly env: Environment;
	readonly http: Transport;
	readonly gpus: GpuWatch;
	readonly infos: ModelInfos;
	readonly file: AgentFile;
	readonly traffic: Traffic;
	readonly limits: SupervisorLimits;
	readonly switchAfterMs: number;
	readonly stallMs: number;
	readonly events: HostEvents;
	readonly log: () => Log["logger"];
	/** States may have changed: whoever reports them should look. */
	readonly onChange: () => void;
}

/** The host's models and their containers. Inert until `start`. */
export class ModelController {
	readonly inventory: Inventory;
	readonly hardware: Hardware;
	readonly #blueprints: Blueprints;
	readonly #watch: EngineWatch;
	readonly #placer: Placer;
	readonly #deeds: Deeds;
	#memory: Backoffs = NO_ACTIVITY;
	#residents: Residents = { awake: new Set(), asleep: new Set() };
	#supervised: Supervised | undefined;
	readonly #standing: ModelStatus;
	#isAdopting = true;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#isTicking = false;
	#isWanted = false;
	readonly #end = new AbortController();

	constructor(private readonly options: HostOptions) {
		const { docker, settings, book } = options;
		const claim = new EngineClaim(settings.agent, settings.command, options.env);
		this.#watch = new EngineWatch(docker, settings.agent, claim, () => this.look());
		this.hardware = new Hardware(settings, options.gpus, options.file);
		const blueprints = new Blueprints(book, settings, this.hardware);
		this.#blueprints = blueprints;
		this.inventory = new Inventory((container, origin) => {
			const model = container.labels["router.model"] ?? "";
			const entry = book.get(model);
			return new Monitor({
				id: container.id,
				model,
				weights: entry?.spec.model ?? model,
				vllm: this.vllm(origin),
				sleeps: () => entry !== undefined && blueprints.sleeps(entry),
				docker,
				traffic: options.traffic,
				cacheDir: settings.cacheDir,
				stallMs: options.stallMs,
				startedAt: container.startedAt,
				onNews: () => this.look(),
				isEngineAway: () => this.#watch.problem !== undefined,
			});
		});
		const { gpus, infos, log } = options;
		this.#standing = new ModelStatus(book, options.traffic, log, options.onChange);
		this.#placer = new Placer(book, gpus, infos, settings.cacheDir, (entry) => blueprints.sleeps(entry));
		this.#deeds = new Deeds({
			docker,
			settings,
			blueprints,
			placer: this.#placer,
			inventory: this.inventory,
			vllm: (origin) => this.vllm(origin),
			log,
			onEnd: (action, outcome) => this.#finished(action, outcome),
		});
	}

	/** Begins. */
	start(): void {
		this.#watch.start();
		void this.options.gpus.start().then(() => this.look());
	}

	/** Another agent may take over the containers; until one does this one goes on. */
	yield(): void {
		this.#watch.yield();
	}

	/** Ends the loop; containers stay as they are. */
	end(): void {
		this.#end.abort();
		clearTimeout(this.#timer);
		this.#watch.end();
		this.options.gpus.end();
		this.inventory.end();
		this.#deeds.end();
	}

	/** Stops and removes all containers. For the very end, after `end`. */
	async stopContainers(): Promise<void> {
		const { docker, log } = this.options;
		const stop = async ({ id, key, state }: Item) => {
			try {
				if (state === "running") await docker.stop(id, this.#blueprints.grace(key));
				await docker.remove(id);
			} catch (err) {
				log().error({ err, container: id }, "A container could not be stopped.");
			}
		};
		await Promise.all(this.inventory.items.map(stop));
	}

	/** Asks for a tick now. */
	look(): void {
		this.#isWanted = true;
		if (this.#isTicking || this.#end.signal.aborted) return;
		clearTimeout(this.#timer);
		this.#timer = setTimeout(() => void this.#turn(), 0);
	}

	/** A model as a whole, as of the last tick. */
	whole(model: string): WholeState {
		return this.#standing.of(model);
	}

	/** A replica, as of the last tick. */
	replica(key: string): ReplicaState | undefined {
		return this.#supervised?.states.get(key);
	}

	/** The image of a model, and how far its pull is in percent, where one runs. */
	pullOf(entry: RegisteredModel): { readonly image: string; readonly percent: number | undefined } | undefined {
		const image = this.#blueprints.image(entry);
		const { pulls } = this.#deeds;
		return pulls.has(image) ? { image, percent: pulls.get(image) } : undefined;
	}

	/** The last words of a replica's container that is gone. */
	lastWords(key: string): readonly string[] {
		return this.#deeds.lastWords.get(key) ?? [];
	}

	/** Why Docker can't be used. */
	get engineProblem(): Reason | undefined {
		return this.#watch.problem;
	}

	vllm(origin: string) {
		return { origin, key: this.options.settings.variables["VLLM_API_KEY"], http: this.options.http };
	}

	/** What was ordered is tried at once, whatever failed before. */
	ordered(model: string): void {
		const history = new Map(this.#memory.history);
		for (const key of history.keys()) if (key.startsWith(`${model}#`)) history.delete(key);
		this.#memory = { ...this.#memory, history };
		this.look();
	}

	async #turn(): Promise<void> {
		this.#isTicking = true;
		this.#isWanted = false;
		try {
			await this.#tick();
		} catch (err) {
			this.options.log().error({ err }, "The agent's loop failed by a fault of its own; it goes on.");
		}
		this.#isTicking = false;
		if (this.#end.signal.aborted) return;
		this.#timer = setTimeout(() => void this.#turn(), this.#isWanted ? 0 : this.#isBusy() ? BUSY_MS : IDLE_MS);
	}

	async #tick(): Promise<void> {
		const ended = this.#deeds.ended();
		const isNew = await this.#watch.refresh();
		if (this.#end.signal.aborted) return;
		if (isNew) this.#deeds.seen(ended);
		this.inventory.sync(this.#watch.containers);
		const { items } = this.inventory;
		this.options.traffic.keepOnly(new Set(items.map(({ id }) => id)));
		const entries = this.options.book.all();
		// Without knowing what the models run on nothing may be started, stopped or replaced.
		if (!this.hardware.known) return this.#standing.blind(entries, this.hardware.problem);
		if (this.#watch.isKnown && this.#isAdopting) this.#adopt(entries, items);

		const now = steadyTime();
		const memory = this.#placer.see(items);
		const room = this.#placer.room(memory);
		const rules = { switchAfterMs: this.options.switchAfterMs };
		const decision = schedule(
			entries.map((entry) => this.#demand(entry, items)),
			this.#residents,
			room,
			rules,
			now,
		);
		this.#residents = decision;
		for (const name of decision.evicted) this.#evicted(name, decision);
		const wanted = entries.flatMap((entry) => this.#wanted(entry, items, decision, memory));
		// Before its first answer the engine has not said what is not there.
		const engine =
			this.#watch.problem ?? (this.#watch.isKnown ? undefined : { reason: "Docker is being asked", fix: "" });
		const observed = { engine, containers: items, images: this.#deeds.images, working: this.#deeds.working };
		const supervised = supervise(wanted, observed, this.#memory, this.options.limits, now);
		this.#memory = supervised;
		this.#supervised = supervised;
		for (const action of supervised.actions) {
			const item = "id" in action ? items.find(({ id }) => id === action.id) : undefined;
			if (action.do === "stop" && action.failed) this.options.events.restarted(modelOfKey(action.key));
			this.#deeds.act(action, item);
		}
		const originOf = (id: string) => items.find((item) => item.id === id)?.origin;
		for (const entry of entries) {
			const states = keysOf(entry).flatMap((key) => supervised.states.get(key) ?? []);
			this.#standing.tell(entry, states, decision, room.why, originOf, now);
		}
	}

	/** What runs from before is kept: an on-demand model that is there has its place. */
	#adopt(entries: readonly RegisteredModel[], items: readonly Item[]): void {
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
				state === "running" && health === "unknown" && monitor && steadyTime() - monitor.seenAt < 5000,
		);
		this.#isAdopting = open;
	}

	#demand({ spec, load, order }: RegisteredModel, items: readonly Item[]): Demand {
		const { name, ttl } = spec;
		const { traffic } = this.options;
		const { count, oldestAt } = traffic.waiting(name);
		const { state, retryAt } = this.whole(name);
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
			usedAt: traffic.usedAt(name),
			readyAt: latest(monitors.map(({ readyAt }) => readyAt)),
			loadMs: latest(monitors.map(({ loadMs }) => loadMs)),
			ttl,
			retryAt,
		};
	}

	#wanted(
		entry: RegisteredModel,
		items: readonly Item[],
		{ awake, asleep }: Decision,
		memory: ReturnType<Placer["see"]>,
	): Wanted[] {
		const { spec } = entry;
		const want = awake.has(spec.name) ? "up" : asleep.has(spec.name) ? "asleep" : "down";
		const hash = this.#blueprints.hash(entry);
		const image = this.#blueprints.image(entry);
		return Array.from({ length: spec.replicas ?? 1 }, (_, replica) => {
			const key = replicaKey(spec.name, replica);
			const own = items.find((item) => item.key === key);
			const needsPlace = want === "up" && (!own || own.health === "asleep") && !this.#deeds.working.has(key);
			const others = items.filter(({ model }) => model !== spec.name);
			const leaving = others
				.filter(({ model, health }) => health !== "asleep" && !awake.has(model))
				.map(({ model }) => model);
			const place = needsPlace ? this.#placer.place(entry, replica, memory, leaving) : {};
			return { key, want, hash, image, busy: own ? this.options.traffic.runningIn(own.id) : 0, ...place };
		});
	}

	#evicted(name: string, { asleep }: Decision): void {
		this.options.events.evicted(name);
		this.options.log().info({ model: name, asleep: asleep.has(name) }, "evicted: another model needs its memory");
	}

	#finished(action: Action, outcome: EffectResult): void {
		const { key } = action;
		const { events, gpus, book } = this.options;
		this.#watch.stale();
		if (outcome.ended === "engine") this.#watch.failed(outcome.error);
		const isFailure = action.do === "stop" && action.failed;
		const past = this.#memory.history.get(key);
		if (isFailure) this.#deeds.tell(key, outcome.ended === "failed" ? outcome.why : past?.why);
		const entry = book.get(modelOfKey(key));
		if (outcome.ended === "failed" && entry) {
			const history = new Map(this.#memory.history);
			// What failed was counted when it was seen; here comes why.
			if (isFailure && past) history.set(key, { ...past, why: outcome.why });
			else if (!isFailure) history.set(key, failure(past, this.#blueprints.hash(entry), outcome.why, steadyTime()));
			this.#memory = { ...this.#memory, history };
		}
		if (outcome.ended === "well" && action.do === "start") events.loaded(modelOfKey(key));
		if (outcome.ended === "well" && action.do === "wake") events.woken(modelOfKey(key));
		if (action.do === "stop" || action.do === "sleep") gpus.soon();
		this.look();
	}

	#isBusy(): boolean {
		if (this.#deeds.working.size > 0 || this.#watch.problem) return true;
		return this.options.book
			.all()
			.some(
				({ spec: { name } }) =>
					this.options.traffic.waiting(name).count > 0 || /starting|pulling|draining/.test(this.whole(name).state),
			);
	}
}
