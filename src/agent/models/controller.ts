/**
 * The agent's loop. Each tick reads what there is, has the scheduler and the supervisor (both pure) decide, begins the effects
 * they decided on and publishes the outcome. One tick at a time; a notification brings the next one forward.
 */
import { asWall, steadyTime } from "../../steady-time.ts";
import type { Log } from "../../telemetry/log.ts";
import type { Docker } from "../docker/docker.ts";
import { endedByProblem } from "../docker/ended-by.ts";
import type { EngineWatch } from "../docker/engine-watch.ts";
import type { GpuWatch } from "../gpu/gpu-watch.ts";
import type { Hardware } from "../gpu/hardware.ts";
import type { Placer } from "../gpu/placer.ts";
import type { Notify } from "../notify.ts";
import { type Problem, problemOf, problemText } from "../problem.ts";
import type { KvSockets } from "../vllm/kv-sockets.ts";
import type { ContainerSpecs } from "./container-spec.ts";
import { adoptRunning, desiredReplicas, modelDemand } from "./decision-inputs.ts";
import type { EffectRecords } from "./effects.ts";
import type { Generations, RollNews } from "./generations.ts";
import type { Inventory, InventoryItem } from "./inventory.ts";
import type { ModelRegistry, RegisteredModel } from "./model-registry.ts";
import type { ModelStatuses } from "./model-status.ts";
import type { PlacementOffers } from "./placement-offers.ts";
import type { PrefixReports } from "./prefix-reports.ts";
import { modelOfKey, nextFailure, replicaKey } from "./replica-state.ts";
import type { RouterGoals } from "./router-goals.ts";
import type { EndedEffect, RunningEffects } from "./running-effects.ts";
import { type Decision, type Residents, schedule } from "./scheduler.ts";
import type { StatusPublisher } from "./status-publisher.ts";
import { INITIAL_STATE, type SupervisorLimits, type SupervisorState, supervise } from "./supervisor.ts";
import type { Traffic } from "./traffic.ts";
import type { WarmUpEnd, WarmUps } from "./warm-ups.ts";

/** Longest wait between two ticks, ms: while something is under way, and while nothing is. */
const BUSY_MS = 200;
const IDLE_MS = 1000;
/** Longest wait before the first tick, ms; the first reading of the GPUs brings it forward. */
const FIRST_MS = 15_000;
/** The share of calls that a canary gets where the configuration does not say. */
const DEFAULT_SHARE = 0.1;

/** What happens to models, for the metrics. */
export interface ModelEvents {
	loaded(model: string): void;
	woken(model: string): void;
	evicted(model: string): void;
	restarted(model: string): void;
	/** A rolling change ended. */
	rolled(model: string, result: "promoted" | "taken back"): void;
	/** A new replica's warm-up ended. */
	warmed(end: WarmUpEnd): void;
}

/** What the loop reads, decides with and acts on. */
export interface ControllerOptions {
	readonly registry: ModelRegistry;
	readonly docker: Docker;
	readonly engine: EngineWatch;
	readonly hardware: Hardware;
	readonly gpus: GpuWatch;
	readonly inventory: Inventory;
	readonly prefixes: PrefixReports;
	readonly warmUps: WarmUps;
	readonly kvSockets: Pick<KvSockets, "sweep" | "remove">;
	readonly specs: ContainerSpecs;
	readonly placer: Placer;
	readonly traffic: Traffic;
	readonly effects: RunningEffects;
	readonly records: EffectRecords;
	readonly statuses: ModelStatuses;
	readonly publisher: StatusPublisher;
	readonly generations: Generations;
	readonly goals: Pick<RouterGoals, "of">;
	readonly offers: Pick<PlacementOffers, "set">;
	/** Longest that a replica which is replaced while others serve waits for its calls, ms. */
	readonly rollDrainMs: number;
	readonly limits: SupervisorLimits;
	/** How long calls wait before a busy model in their way takes no further ones, ms. */
	readonly switchAfterMs: number;
	readonly events: ModelEvents;
	readonly log: Pick<Log, "logger">;
	/** Brings the next tick forward. */
	readonly tick: Notify;
}

/** The loop. Inert until `start`. */
export class ModelController {
	#supervisorState: SupervisorState = INITIAL_STATE;
	#residents: Residents = { awake: new Set(), asleep: new Set() };
	/** Of containers that went while no agent ran something may be left. */
	#hasSwept = false;
	/** Containers that ran before this agent are not all known yet. */
	#isAdopting = true;
	readonly #end = new AbortController();

	constructor(private readonly options: ControllerOptions) {}

	/** Begins. */
	start(): void {
		const { engine, gpus, tick } = this.options;
		engine.start();
		void gpus.start().then(() => tick.notify());
		void this.#run();
	}

	/** Ends the loop; containers stay as they are. */
	end(): void {
		const { engine, gpus, inventory, prefixes, warmUps, effects, tick } = this.options;
		this.#end.abort();
		engine.end();
		gpus.end();
		inventory.end();
		prefixes.end();
		warmUps.end();
		effects.end();
		tick.notify();
	}

	/** Stops and removes all containers, after `end`. Never rejects. */
	async stopContainers(): Promise<void> {
		const { docker, specs, inventory, kvSockets, log } = this.options;
		const stop = async ({ id, key, state, kvEvents }: InventoryItem) => {
			try {
				if (state === "running") await docker.stop(id, specs.stopGrace(key));
				await docker.remove(id);
				if (kvEvents) await kvSockets.remove(kvEvents.directory);
			} catch (err) {
				log.logger.error({ err, container: id }, "A container could not be stopped.");
			}
		};
		await Promise.all(inventory.items.map(stop));
	}

	async #run(): Promise<void> {
		const { signal } = this.#end;
		const { tick, log } = this.options;
		await tick.wait(FIRST_MS);
		while (!signal.aborted) {
			try {
				await this.#tick();
			} catch (err) {
				log.logger.error({ err }, "The agent's loop failed by a fault of its own; it goes on.");
			}
			if (!signal.aborted) await tick.wait(this.#isBusy() ? BUSY_MS : IDLE_MS);
		}
	}

	async #tick(): Promise<void> {
		const { registry, engine, effects, inventory, prefixes, traffic, hardware, publisher, generations } = this.options;
		for (const ended of effects.collect()) this.#effectEnded(ended);
		for (const model of registry.takeOrders()) this.#retryNow(model);
		const endedKeys = effects.endedKeys();
		const before = inventory.items.filter(({ key, id }) => !effects.inFlight.has(key) && !effects.inFlight.has(id));
		const isListed = await engine.refresh();
		if (this.#end.signal.aborted) return;
		if (isListed) effects.confirm(endedKeys);
		inventory.sync(engine.containers);
		const { items } = inventory;
		prefixes.sync(items);
		if (isListed && !engine.problem) this.#sweepOnce(items);
		// With a problem of the engine's the list may be that of another agent's containers.
		const gone = isListed && !engine.problem ? before.filter(({ id }) => !items.some((item) => item.id === id)) : [];
		for (const each of gone) {
			this.#removedBySomebody(each);
			if (each.kvEvents) void this.options.kvSockets.remove(each.kvEvents.directory);
		}
		generations.retain(new Set(registry.all().map(({ spec }) => spec.name)));
		traffic.retainContainers(new Set(items.map(({ id }) => id)));
		const entries = registry.all();
		// Without knowing what the models run on nothing may be started, stopped or replaced.
		if (!hardware.known) return publisher.publishUnknown(hardware.problem, items);
		if (engine.hasAnswered && this.#isAdopting) {
			const { residents, isComplete } = adoptRunning(this.#residents, entries, items);
			this.#residents = residents;
			this.#isAdopting = !isComplete;
		}
		this.#decide(entries, items);
	}

	#sweepOnce(items: readonly InventoryItem[]): void {
		if (this.#hasSwept) return;
		this.#hasSwept = true;
		void this.options.kvSockets.sweep(new Set(items.flatMap(({ kvEvents }) => kvEvents?.directory ?? [])));
	}

	#decide(entries: readonly RegisteredModel[], items: readonly InventoryItem[]): void {
		const { engine, effects, records, placer, specs, statuses, traffic, switchAfterMs, limits, publisher } =
			this.options;
		const { generations, warmUps, rollDrainMs, goals, offers } = this.options;
		warmUps.step(items);
		const now = steadyTime();
		const memory = placer.snapshot(items);
		const capacity = placer.capacity(memory);
		const demands = entries.map((entry) => {
			const { name } = entry.spec;
			return modelDemand(entry, statuses.of(name), items, traffic, goals.of(name));
		});
		const decision = schedule(demands, this.#residents, capacity, { switchAfterMs }, now);
		this.#residents = decision;
		const downloadOf = (entry: RegisteredModel) => placer.downloadOf(entry);
		const isMisfit = (entry: RegisteredModel) => placer.isMisfit(entry, memory);
		offers.set({ demands, residents: decision, capacity, now, downloadOf, isMisfit });
		for (const name of decision.evicted) this.#evicted(name, decision);
		if (engine.hasAnswered && !engine.problem && !this.#isAdopting)
			for (const entry of entries) this.#roll(entry, decision, items);
		const { inFlight } = effects;
		const inputs = { items, decision, memory, inFlight, specs, placer, traffic, generations, rollDrainMs };
		const isPartial = ({ spec }: RegisteredModel) => Number(decision.partial?.has(spec.name) ?? false);
		const inOrder = [...entries].sort((a, b) => isPartial(a) - isPartial(b));
		const desired = inOrder.flatMap((entry) => desiredReplicas(entry, inputs));
		// Before its first list nothing may be concluded from what is missing.
		const engineProblem =
			engine.problem ?? (engine.hasAnswered ? undefined : { reason: `${specs.command} is being asked`, fix: "" });
		const containers = warmUps.marked(items);
		const observed = { command: specs.command, engineProblem, containers, images: records.images, inFlight };
		const next = supervise(desired, observed, this.#supervisorState, limits, now);
		this.#supervisorState = next;
		for (const action of next.actions) {
			const item = "id" in action ? items.find(({ id }) => id === action.id) : undefined;
			if (action.do === "stop" && action.failed) {
				this.options.events.restarted(modelOfKey(action.key));
				generations.failed(action.key);
			}
			effects.begin(action, item);
		}
		publisher.publish({ states: next.states, decision, items, whyMisfit: capacity.whyMisfit, now });
	}

	/** What becomes of a model's generations. */
	#roll(entry: RegisteredModel, { awake }: Decision, items: readonly InventoryItem[]): void {
		const { generations, specs, statuses, effects, records } = this.options;
		const { spec } = entry;
		const { name, replicas: count = 1, canary: share = DEFAULT_SHARE } = spec;
		const own = items.filter(({ model }) => model === name);
		const made = specs.generation(entry);
		generations.begin(
			name,
			made,
			count,
			own.filter(({ hash }) => hash === made.hash),
		);
		const wanted = specs.generation(generations.ordered(entry));
		const roll = generations.of(name)?.roll;
		const keys = (roll?.replicas ?? []).map((replica) => replicaKey(name, replica));
		const seen = {
			wanted,
			count,
			share,
			isUp: awake.has(name),
			now: Math.round(asWall(steadyTime())),
			isReady: (replica: number) => statuses.replica(replicaKey(name, replica))?.state === "ready",
			isThere: (replica: number) =>
				own.some((item) => item.replica === replica) || effects.inFlight.has(replicaKey(name, replica)),
			isPulled: records.images.has(wanted.image),
			problem: keys.map((key) => this.#supervisorState.failures.get(key)?.problem).find((each) => each),
			isReadingLog: keys.some((key) => effects.inFlight.get(key) === "stop"),
		};
		const news = generations.step(name, seen, spec.image);
		if (news) this.#rolled(name, news);
	}

	#rolled(model: string, news: RollNews): void {
		const { log, events } = this.options;
		if (news.what === "ended") {
			const { result, image, reason } = news.end;
			events.rolled(model, result);
			const fields = { model, image, reason };
			if (result === "promoted") log.logger.info(fields, "rolling change: promoted");
			else log.logger.warn(fields, "rolling change: taken back");
			return;
		}
		const { to, share, reason, isInPlace } = news.roll;
		const fields = { model, image: to.image, ...(reason !== undefined && { reason }) };
		if (news.what === "canary") log.logger.info({ ...fields, share }, "rolling change: its canary takes calls");
		else log.logger.info({ ...fields, isInPlace }, `rolling change: ${news.what}`);
	}

	/** An order of the API is tried at once, however often the model failed before. */
	#retryNow(model: string): void {
		const failures = new Map(this.#supervisorState.failures);
		for (const key of failures.keys()) if (modelOfKey(key) === model) failures.delete(key);
		this.#supervisorState = { ...this.#supervisorState, failures };
	}

	/** It was there and is not any more, and the agent did not remove it. */
	#removedBySomebody({ key, model, hash }: InventoryItem): void {
		const { generations, specs, log } = this.options;
		// One that was to go went.
		if (generations.of(model)?.leaving.some((replica) => replicaKey(model, replica) === key)) return;
		if (generations.at(key)?.hash !== hash) return;
		const problem = endedByProblem({ by: "removed" }, specs.command);
		log.logger.warn({ model, replica: key, reason: problemText(problemOf(model, problem)) }, "a container is gone");
		this.#recordFailure(key, hash, problem);
	}

	#recordFailure(key: string, hash: string, problem: Problem): void {
		this.options.generations.failed(key);
		const failures = new Map(this.#supervisorState.failures);
		failures.set(key, nextFailure(failures.get(key), hash, problem, steadyTime()));
		this.#supervisorState = { ...this.#supervisorState, failures };
	}

	#evicted(model: string, { asleep }: Decision): void {
		this.options.events.evicted(model);
		this.options.log.logger.info({ model, asleep: asleep.has(model) }, "evicted: another model needs its memory");
	}

	#effectEnded({ action, result }: EndedEffect): void {
		const { key } = action;
		const model = modelOfKey(key);
		const { events, gpus, registry, engine, specs, generations, log } = this.options;
		engine.invalidate();
		if (result.ended === "engine") engine.engineFailed(result.error);
		const isFailure = action.do === "stop" && action.failed;
		const past = this.#supervisorState.failures.get(key);
		if (isFailure) {
			const problem = result.ended === "failed" ? result.problem : past?.problem;
			const reason = problem && problemText(problemOf(model, problem));
			log.logger.warn({ model, replica: key, reason }, "a container failed and was removed");
		}
		const entry = registry.get(model);
		if (result.ended === "failed" && entry) {
			if (!isFailure) this.#recordFailure(key, generations.at(key)?.hash ?? specs.hash(entry), result.problem);
			else if (past) {
				// The failure was counted when it was seen; now its log has been read.
				const failures = new Map(this.#supervisorState.failures).set(key, { ...past, problem: result.problem });
				this.#supervisorState = { ...this.#supervisorState, failures };
			}
		}
		if (result.ended === "well" && action.do === "start") events.loaded(model);
		if (result.ended === "well" && action.do === "wake") events.woken(model);
		if (action.do === "stop" || action.do === "sleep") gpus.readSoon();
	}

	#isBusy(): boolean {
		const { effects, engine, registry, traffic, statuses, generations } = this.options;
		if (effects.inFlight.size > 0 || engine.problem) return true;
		return registry
			.all()
			.some(
				({ spec: { name } }) =>
					traffic.waiting(name).count > 0 ||
					generations.of(name)?.roll !== undefined ||
					/starting|pulling|draining/.test(statuses.of(name).state),
			);
	}
}
