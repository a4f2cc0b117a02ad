/**
 * The agent's loop: sees what there is, asks the scheduler and the supervisor (both pure) what to do, does it, and lets
 * calls through to what is ready. One tick at a time; whatever happens asks for another one.
 */
import type { Transport } from "../providers/provider.ts";
import type { Log } from "../telemetry/log.ts";
import type { AgentFile } from "./agent-file.ts";
import type { Book, Entry } from "./book.ts";
import type { Docker } from "./docker.ts";
import { type EffectTools, type Outcome, perform } from "./effects.ts";
import { EngineWatch } from "./engine-watch.ts";
import type { GpuWatch } from "./gpu-watch.ts";
import { Hardware } from "./hardware.ts";
import { Inventory, type Item } from "./inventory.ts";
import type { ModelInfos } from "./model-infos.ts";
import { reasonText, refusalOf, type WholeState, wholeState } from "./model-state.ts";
import { Monitor } from "./monitor.ts";
import { Placer } from "./placer.ts";
import { type Decision, type Demand, type Residents, schedule } from "./scheduler.ts";
import type { AgentSettings } from "./settings.ts";
import { containerSpec, imageOf, type SpecSettings, specHash } from "./spec.ts";
import {
	type Action,
	failure,
	type Limits,
	type Memory,
	NOTHING,
	type Reason,
	type ReplicaState,
	replicaKey,
	type Supervised,
	supervise,
	type Wanted,
	type Work,
} from "./supervisor.ts";
import type { Destination, Traffic } from "./traffic.ts";
import { canSleep, stopGraceS } from "./vllm-args.ts";

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

export interface HostOptions {
	readonly book: Book;
	readonly settings: AgentSettings;
	readonly docker: Docker;
	readonly http: Transport;
	readonly gpus: GpuWatch;
	readonly infos: ModelInfos;
	readonly file: AgentFile;
	readonly traffic: Traffic;
	readonly limits: Limits;
	readonly switchAfterMs: number;
	readonly stallMs: number;
	readonly events: HostEvents;
	readonly log: () => Log["logger"];
	/** States may have changed: whoever reports them should look. */
	readonly onChange: () => void;
}

/** The host's models and their containers. Inert until `start`. */
export class Host {
	readonly inventory: Inventory;
	readonly hardware: Hardware;
	/** Percent of the pull of an image; undefined inside while it has not said. */
	readonly pulls = new Map<string, number | undefined>();
	/** Last words of containers that are gone, by replica. */
	readonly logs = new Map<string, readonly string[]>();
	readonly #watch: EngineWatch;
	readonly #placer: Placer;
	#memory: Memory = NOTHING;
	#residents: Residents = { awake: new Set(), asleep: new Set() };
	#supervised: Supervised | undefined;
	#wholes = new Map<string, WholeState>();
	readonly #images = new Set<string>();
	readonly #working = new Map<string, Work>();
	/** Effects that have ended; what they did shows in the next list. */
	readonly #ended = new Set<string>();
	#isAdopting = true;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#isTicking = false;
	#isWanted = false;
	readonly #end = new AbortController();

	constructor(private readonly options: HostOptions) {
		const { docker, settings, book } = options;
		this.#watch = new EngineWatch(docker, settings.agent, () => this.look());
		this.hardware = new Hardware(settings, options.gpus, options.file);
		this.inventory = new Inventory((container, origin) => {
			const model = container.labels["router.model"] ?? "";
			const entry = book.get(model);
			return new Monitor({
				id: container.id,
				model,
				weights: entry?.spec.model ?? model,
				vllm: this.vllm(origin),
				sleeps: entry !== undefined && this.#sleeps(entry),
				docker,
				traffic: options.traffic,
				cacheDir: settings.cacheDir,
				stallMs: options.stallMs,
				startedAt: container.startedAt,
				onNews: () => this.look(),
				isEngineAway: () => this.#watch.problem !== undefined,
			});
		});
		this.#placer = new Placer(book, options.gpus, options.infos, settings.cacheDir, (entry) => this.#sleeps(entry));
	}

	/** Begins. */
	start(): void {
		this.#watch.start();
		void this.options.gpus.start().then(() => this.look());
	}

	/** Ends the loop; containers stay as they are. */
	end(): void {
		this.#end.abort();
		clearTimeout(this.#timer);
		this.#watch.end();
		this.options.gpus.end();
		this.inventory.end();
	}

	/** Stops and removes all containers. For the very end, after `end`. */
	async stopContainers(): Promise<void> {
		const { docker, log } = this.options;
		const stop = async ({ id, key, state }: Item) => {
			try {
				if (state === "running") await docker.stop(id, this.#graceOf(key));
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
		return this.#wholes.get(model) ?? { state: "stopped" };
	}

	/** A replica, as of the last tick. */
	replica(key: string): ReplicaState | undefined {
		return this.#supervised?.states.get(key);
	}

	/** The image of a model, and how far its pull is in percent, where one runs. */
	pullOf(entry: Entry): { readonly image: string; readonly percent: number | undefined } | undefined {
		const image = imageOf(entry.spec, this.#settingsOf(entry));
		return this.pulls.has(image) ? { image, percent: this.pulls.get(image) } : undefined;
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
		const ended = [...this.#ended];
		const isNew = await this.#watch.refresh();
		if (this.#end.signal.aborted) return;
		if (isNew) {
			for (const key of ended) {
				this.#ended.delete(key);
				this.#working.delete(key);
				this.#placer.release(key);
			}
		}
		this.inventory.sync(this.#watch.containers);
		const { items } = this.inventory;
		this.options.traffic.keepOnly(new Set(items.map(({ id }) => id)));
		const entries = this.options.book.all();
		if (!this.hardware.known) return this.#blind(entries);
		if (this.#watch.isKnown && this.#isAdopting) this.#adopt(entries, items);

		const now = Date.now();
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
		const observed = { engine, containers: items, images: this.#images, working: this.#working };
		const supervised = supervise(wanted, observed, this.#memory, this.options.limits, now);
		this.#memory = supervised;
		this.#supervised = supervised;
		for (const action of supervised.actions) this.#act(action, items);
		for (const entry of entries) this.#let(entry, decision, room.why, now);
	}

	/** What runs from before is kept: an on-demand model that is there has its place. */
	#adopt(entries: readonly Entry[], items: readonly Item[]): void {
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
				state === "running" && health === "unknown" && monitor && Date.now() - monitor.seenAt < 5000,
		);
		this.#isAdopting = open;
	}

	#demand({ spec, load, order }: Entry, items: readonly Item[]): Demand {
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
		entry: Entry,
		items: readonly Item[],
		{ awake, asleep }: Decision,
		memory: ReturnType<Placer["see"]>,
	): Wanted[] {
		const { spec } = entry;
		const settings = this.#settingsOf(entry);
		const want = awake.has(spec.name) ? "up" : asleep.has(spec.name) ? "asleep" : "down";
		const hash = specHash(spec, settings);
		const image = imageOf(spec, settings);
		return Array.from({ length: spec.replicas ?? 1 }, (_, replica) => {
			const key = replicaKey(spec.name, replica);
			const own = items.find((item) => item.key === key);
			const needsPlace = want === "up" && (!own || own.health === "asleep") && !this.#working.has(key);
			const others = items.filter(({ model }) => model !== spec.name);
			const leaving = others
				.filter(({ model, health }) => health !== "asleep" && !awake.has(model))
				.map(({ model }) => model);
			const place = needsPlace ? this.#placer.place(entry, replica, memory, leaving) : {};
			return { key, want, hash, image, busy: own ? this.options.traffic.runningIn(own.id) : 0, ...place };
		});
	}

	/** Says what is so, and lets calls through, or waits, or refuses them. */
	#let(
		entry: Entry,
		{ awake, closed, misfits }: Decision,
		why: (name: string, awake: ReadonlySet<string>) => string,
		now: number,
	): void {
		const { spec, load, order } = entry;
		const { name } = spec;
		const { traffic, book } = this.options;
		const keys = Array.from({ length: spec.replicas ?? 1 }, (_, replica) => replicaKey(name, replica));
		const states = keys.flatMap((key) => this.#supervised?.states.get(key) ?? []);
		let whole = wholeState(states, name);
		let misfit: Reason | undefined;
		if (misfits.has(name)) {
			const fixed = new Set(
				book
					.all()
					.filter((each) => each.load === "always" || each.order === "load")
					.map((each) => each.spec.name),
			);
			misfit = {
				reason: why(name, fixed),
				fix: "unload a model that holds the memory, or give this one less (`gpu_memory`, `args`)",
			};
			whole = { state: "failed", why: misfit };
		}
		this.#say(name, whole);
		const isOpen = awake.has(name) && !closed.has(name);
		const destinations = states.flatMap(({ id }): Destination[] => {
			const origin = this.inventory.items.find((item) => item.id === id)?.origin;
			return isOpen && id && origin ? [{ id, origin }] : [];
		});
		traffic.open(name, destinations);
		if (destinations.length === 0)
			traffic.refuse(name, closed.has(name) ? undefined : refusalOf({ name, load, order, whole, misfit }, now));
		// An on-demand model that was told to go is gone; its next call may bring it back.
		if (load === "on-demand" && order === "unload" && whole.state === "stopped") book.settle(name);
	}

	/** Without knowing what the models run on nothing may be started, stopped or replaced. */
	#blind(entries: readonly Entry[]): void {
		const why = this.hardware.problem;
		for (const { spec, load, order } of entries) {
			const whole: WholeState = why ? { state: "failed", why } : { state: "starting" };
			this.#say(spec.name, whole);
			this.options.traffic.refuse(spec.name, refusalOf({ name: spec.name, load, order, whole }, Date.now()));
		}
	}

	#say(name: string, whole: WholeState): void {
		const before = this.#wholes.get(name);
		this.#wholes.set(name, whole);
		if (before?.state === whole.state && before.why?.reason === whole.why?.reason) return;
		const { log, onChange } = this.options;
		const reason = whole.why && reasonText(whole.why);
		const fields = { model: name, state: whole.state, ...(reason && { reason }) };
		if (whole.state === "failed") log().warn(fields, "model");
		else if (before || whole.state !== "stopped") log().info(fields, "model");
		onChange();
	}

	#evicted(name: string, { asleep }: Decision): void {
		this.options.events.evicted(name);
		this.options.log().info({ model: name, asleep: asleep.has(name) }, "evicted: another model needs its memory");
	}

	#act(action: Action, items: readonly Item[]): void {
		const { key } = action;
		const { events, log } = this.options;
		this.#working.set(key, action.do);
		const item = "id" in action ? items.find(({ id }) => id === action.id) : undefined;
		const model = item?.model ?? key.slice(0, key.lastIndexOf("#"));
		if (action.do === "start") this.#placer.reserve(key);
		if (action.do === "stop" && action.failed) events.restarted(model);
		log().debug({ model, key, action: action.do }, "effect");
		const run = async () => {
			const outcome = await perform(action, item, this.#tools());
			this.#finished(action, model, outcome);
		};
		run().catch((err) => {
			log().error({ err, model, action: action.do }, "An effect failed by a fault of the agent's own.");
			this.#finished(action, model, {
				ended: "failed",
				why: { reason: "the agent failed on it", fix: "see agent.log" },
			});
		});
	}

	#finished(action: Action, model: string, outcome: Outcome): void {
		const { key } = action;
		const { events, gpus, book, log } = this.options;
		this.#ended.add(key);
		this.#watch.stale();
		if (outcome.ended === "engine") this.#watch.failed(outcome.error);
		const entry = book.get(model);
		if (action.do === "stop" && action.failed) {
			const why = outcome.ended === "failed" ? outcome.why : this.#memory.history.get(key)?.why;
			log().warn(
				{ model, replica: key, reason: why && reasonText(why).replaceAll("{name}", model) },
				"a container failed and was removed",
			);
		}
		// What failed was counted when it was seen; here comes why.
		if (outcome.ended === "failed" && entry) {
			const history = new Map(this.#memory.history);
			const past = history.get(key);
			const hash = specHash(entry.spec, this.#settingsOf(entry));
			if (action.do === "stop" && action.failed && past) history.set(key, { ...past, why: outcome.why });
			else if (action.do !== "stop") history.set(key, failure(past, hash, outcome.why, Date.now()));
			this.#memory = { ...this.#memory, history };
		}
		if (outcome.ended === "well" && action.do === "start") events.loaded(model);
		if (outcome.ended === "well" && action.do === "wake") events.woken(model);
		if (action.do === "stop" || action.do === "sleep") gpus.soon();
		this.look();
	}

	#tools(): EffectTools {
		const { docker, settings, book } = this.options;
		return {
			docker,
			env: settings.variables,
			signal: this.#end.signal,
			runOf: (key, port) => {
				const entry = book.get(key.slice(0, key.lastIndexOf("#")));
				const placement = this.#placer.placement(key);
				if (!entry || !placement) return undefined;
				const spec = this.#settingsOf(entry);
				const { args } = containerSpec(entry.spec, { ...placement, port }, spec);
				return { args, env: settings.variables, image: imageOf(entry.spec, spec) };
			},
			graceOf: (key) => this.#graceOf(key),
			vllmOf: (id) => {
				const origin = this.inventory.items.find((item) => item.id === id)?.origin;
				return origin ? this.vllm(origin) : undefined;
			},
			imageIsThere: (image, isThere) => void (isThere ? this.#images.add(image) : this.#images.delete(image)),
			pulling: (image, percent) =>
				void (percent === "over" ? this.pulls.delete(image) : this.pulls.set(image, percent)),
			onSlept: (id, what) => this.inventory.monitor(id)?.became(what),
			onSick: (id, why) => this.inventory.monitor(id)?.fail(why),
			keepLog: (key, lines) => void this.logs.set(key, lines),
		};
	}

	#graceOf(key: string): number {
		const entry = this.options.book.get(key.slice(0, key.lastIndexOf("#")));
		return entry ? stopGraceS(entry.spec, this.#settingsOf(entry)) : 10;
	}

	#settingsOf(entry: Entry): SpecSettings {
		const { accelerator, driver } = this.hardware.known ?? { accelerator: "cpu" as const };
		const { sleep, ...settings } = this.options.settings;
		// What is never evicted needs no development mode.
		return { ...settings, accelerator, ...(driver && { driver }), sleep: sleep && entry.load === "on-demand" };
	}

	#sleeps(entry: Entry): boolean {
		return canSleep(entry.spec, this.#settingsOf(entry));
	}

	#isBusy(): boolean {
		if (this.#working.size > 0 || this.#watch.problem) return true;
		return this.options.book
			.all()
			.some(
				({ spec: { name } }) =>
					this.options.traffic.waiting(name).count > 0 || /starting|pulling|draining/.test(this.whole(name).state),
			);
	}
}
