/**
 * Replicas that have just become ready compute ahead what calls of their model begin with (../vllm/hot-prefixes.ts), one prompt after the other.
 * While others serve, such a replica takes no calls until it is done, or calls wait; one that is alone takes them at once, and its first call ends
 * that. What it costs is nobody's call: no key, row of a ledger or account of energy has it.
 */
import { steadyTime } from "../../steady-time.ts";
import type { Log } from "../../telemetry/log.ts";
import type { Notifier } from "../notify.ts";
import { prefill } from "../vllm/vllm-probe.ts";
import type { InventoryItem } from "./inventory.ts";
import type { PrefixReports } from "./prefix-reports.ts";
import type { Traffic } from "./traffic.ts";

/** Of a replica's KV cache, what is filled at most. */
const SHARE_OF_CACHE = 0.25;
/** Where its engine does not say how large that is, tokens. */
const USUAL_ROOM = 32_768;

/** How a warm-up ended: all was computed, calls came, its time was over, its engine was put to sleep, or refused all. */
export type WarmUpResult = "whole" | "calls" | "time" | "asleep" | "failed";

/** What came of one. */
export interface WarmUpEnd {
	readonly model: string;
	readonly result: WarmUpResult;
	/** Computed or found in its cache. */
	readonly tokens: number;
	readonly ms: number;
}

/** What a warm-up looks at of a container. */
export type WarmUpItem = Pick<InventoryItem, "id" | "model" | "key" | "state" | "health" | "vllm"> & {
	readonly monitor?: Pick<NonNullable<InventoryItem["monitor"]>, "readyAt" | "metrics"> | undefined;
};

/** What they work with. */
export interface WarmUpOptions {
	readonly prefixes: Pick<PrefixReports, "hottest" | "forgetTokens">;
	readonly traffic: Pick<Traffic, "waiting" | "runningIn">;
	/** How long one may take, ms (`agent.warm_up`); 0: there is none. */
	readonly mostMs: number;
	/** Whether a replica took calls at the last tick. */
	readonly isServing: (key: string) => boolean;
	/** Where its weights are from: those of others have other tokens. */
	readonly weightsOf: (key: string) => string | undefined;
	readonly ended: (end: WarmUpEnd) => void;
	readonly log: Pick<Log, "logger">;
	/** Brings the next tick forward. */
	readonly tick: Notifier;
}

/** The warm-up of one container, since it became ready. */
interface WarmUp {
	readonly model: string;
	readonly readyAt: number;
	/** Absent once it is over. */
	running: { readonly stop: (why: WarmUpResult) => void; isHeld: boolean } | undefined;
	/** Resolves once its engine computes nothing of it any more. */
	whenOver: Promise<void>;
}

/** All of an agent. */
export class WarmUps {
	/** By container. */
	readonly #warmUps = new Map<string, WarmUp>();
	/** By model: whose tokens are known. */
	readonly #weights = new Map<string, string>();
	/** Models of which it was told that nobody knows their tokens. */
	readonly #told = new Set<string>();

	constructor(private readonly options: WarmUpOptions) {}

	/** At each tick, before it is decided. */
	step(items: readonly WarmUpItem[]): void {
		if (this.options.mostMs === 0) return;
		for (const [id, { model, running }] of this.#warmUps) {
			if (items.some((each) => each.id === id && each.health === "up")) continue;
			this.#warmUps.delete(id);
			if (!running) continue;
			running.stop("failed");
			// What its engine computed may be what it died of: the next one is not given that again.
			this.options.prefixes.forgetTokens(model);
		}
		this.#noteWeights(items);
		for (const item of items) {
			const { id, model, health, vllm, monitor } = item;
			const readyAt = monitor?.readyAt;
			if (health !== "up" || readyAt === undefined || !vllm) continue;
			const known = this.#warmUps.get(id);
			if (known?.readyAt !== readyAt) this.#begin(item, readyAt, items);
			else if (known.running) {
				known.running.isHeld &&= this.#othersServe(item, items);
				if (this.#isWaitedFor(model, items)) known.running.stop("calls");
			}
		}
	}

	/** These, with what they are at. */
	marked<T extends WarmUpItem>(items: readonly T[]): readonly (T & { readonly isWarming?: boolean })[] {
		return items.map((item) =>
			this.#warmUps.get(item.id)?.running?.isHeld === true ? { ...item, isWarming: true } : item,
		);
	}

	/** A container is given a call, which is not to wait for it. */
	given(id: string): void {
		this.#warmUps.get(id)?.running?.stop("calls");
	}

	/** A container's engine is to sleep: resolves once it computes nothing ahead. */
	async stopped(id: string): Promise<void> {
		const warmUp = this.#warmUps.get(id);
		warmUp?.running?.stop("asleep");
		await warmUp?.whenOver;
	}

	end(): void {
		for (const { running } of this.#warmUps.values()) running?.stop("calls");
	}

	#begin(item: WarmUpItem, readyAt: number, items: readonly WarmUpItem[]): void {
		const { prefixes, traffic, weightsOf } = this.options;
		const { id, model, key } = item;
		const warmUp: WarmUp = { model, readyAt, running: undefined, whenOver: Promise.resolve() };
		this.#warmUps.set(id, warmUp);
		const weights = weightsOf(key);
		if (weights === undefined || this.#weights.get(model) !== weights) return;
		if (this.#isWaitedFor(model, items) || traffic.runningIn(id) > 0) return;
		const hot = prefixes.hottest(id, this.#room(item, items));
		const isHeld = this.#othersServe(item, items);
		if (!hot) this.#tellOnce(model);
		else if (hot.length > 0) warmUp.whenOver = this.#run(item, warmUp, hot, isHeld);
	}

	async #run(
		{ id, model, key, vllm }: WarmUpItem,
		warmUp: WarmUp,
		hot: readonly { readonly tokens: Uint32Array }[],
		isHeld: boolean,
	): Promise<void> {
		const { mostMs, log, tick, ended } = this.options;
		const begun = steadyTime();
		const abort = new AbortController();
		let why: WarmUpResult = "whole";
		const stop = (reason: WarmUpResult) => {
			if (abort.signal.aborted) return;
			why = reason;
			abort.abort();
			// Calls may go there at once.
			warmUp.running = undefined;
			tick.notify();
		};
		const timer = setTimeout(() => stop("time"), mostMs);
		warmUp.running = { stop, isHeld };
		let tokens = 0;
		for (const prefix of hot) {
			const status = await prefill(vllm!, model, prefix.tokens, abort.signal);
			// A prompt that is longer than this engine takes them is no reason to leave out the others.
			if (!abort.signal.aborted && status !== 200 && status !== 400) stop("failed");
			if (abort.signal.aborted) break;
			if (status === 200) tokens += prefix.tokens.length;
		}
		clearTimeout(timer);
		if (!abort.signal.aborted) stop(tokens > 0 ? "whole" : "failed");
		const end = { model, result: why, tokens, ms: steadyTime() - begun };
		const container = id.slice(0, 12);
		log.logger.info({ ...end, replica: key, container, prompts: hot.length }, "prefix cache warmed");
		ended(end);
	}

	/** Tokens that a replica computes ahead at most. */
	#room({ model }: WarmUpItem, items: readonly WarmUpItem[]): number {
		const sizes = items.flatMap((each) => (each.model === model ? (each.monitor?.metrics?.kvTokens ?? []) : []));
		return sizes.length > 0 ? Math.floor(Math.min(...sizes) * SHARE_OF_CACHE) : USUAL_ROOM;
	}

	/** What serves says whose tokens are learned. */
	#noteWeights(items: readonly WarmUpItem[]): void {
		for (const { model, key } of items) {
			const weights = this.options.isServing(key) ? this.options.weightsOf(key) : undefined;
			const before = this.#weights.get(model);
			if (weights === undefined || weights === before) continue;
			// While some of the weights before serve, tokens of both come: of those nothing is known for sure.
			this.#weights.set(model, weights);
			if (before !== undefined) this.options.prefixes.forgetTokens(model);
		}
	}

	#othersServe({ id, model }: WarmUpItem, items: readonly WarmUpItem[]): boolean {
		return items.some(
			(each) => each.id !== id && each.model === model && each.health === "up" && this.options.isServing(each.key),
		);
	}

	/** Calls of the model wait, here or in an engine. */
	#isWaitedFor(model: string, items: readonly WarmUpItem[]): boolean {
		if (this.options.traffic.waiting(model).count > 0) return true;
		// What waits in an engine that is warmed is what that computes ahead.
		const others = items.filter((each) => each.model === model && !this.#warmUps.get(each.id)?.running);
		return others.some(({ monitor }) => (monitor?.metrics?.waiting ?? 0) > 0);
	}

	#tellOnce(model: string): void {
		if (this.#told.has(model)) return;
		this.#told.add(model);
		this.options.log.logger.info(
			{ model },
			"New replicas begin with an empty prefix cache: their containers publish no KV events (agent.kv_events), so that nobody knows what calls begin with.",
		);
	}
}
