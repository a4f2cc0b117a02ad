/**
 * The calls of this host: those that wait for their model, first come first served, and those in flight, by container.
 * What may be loaded, and when, others decide; here calls are let through to the containers that are said to be open.
 */
import { steadyTime } from "../../steady-time.ts";
import type { Notifier } from "../notify.ts";

/** Where a model's calls may go now. */
export interface ContainerAddress {
	/** Of the container. */
	readonly id: string;
	/** `http://127.0.0.1:<port>` */
	readonly origin: string;
}

/** A call's place in a container. */
export interface ContainerLease extends ContainerAddress {
	/** Bytes came. */
	bytesCame(): void;
	/** The container may be ill: it gets no further calls until it has been asked. */
	suspect(): void;
	/** The call has ended. The first call counts. */
	release(): void;
}

/** Why a call is not let through. The message says what was wrong and what to do. */
export class QueueRefusal extends Error {
	override readonly name = "Refused";
	constructor(
		readonly status: 429 | 503,
		message: string,
		/** Seconds. */
		readonly retryAfter: number,
	) {
		super(message);
	}
}

/** How many calls are held, and for how long. */
export interface QueueLimits {
	/** Calls that may wait for one model. */
	readonly size: number;
	/** Calls that one container is sent at a time. */
	readonly running: number;
	/** Longest wait, ms. */
	readonly waitMs: number;
}

interface WaitingCall {
	readonly since: number;
	readonly admit: (lease: ContainerLease) => void;
	readonly refuse: (why: unknown) => void;
}

interface ModelQueue {
	readonly waiting: Set<WaitingCall>;
	addresses: readonly ContainerAddress[];
	refusal: QueueRefusal | undefined;
	running: number;
	lastUsedAt: number;
}

/** What is known of one container's calls. Times are of `steadyTime`. */
interface ContainerUse {
	running: number;
	/** When bytes last came, or the first of its calls was sent. */
	lastByteAt: number;
	/** Since when it may be ill; 0 for no. */
	suspectSince: number;
}

/** A doubt that nobody looks into ends by itself, ms. */
const SUSPECT_MS = 10_000;

/** What a call that has waited too long is told. */
export interface ProgressTexts {
	/** How far a model is: `starting: loading, 40 %`. */
	progressText(model: string): string;
}

/** All calls of an agent. */
export class Traffic {
	readonly #queues = new Map<string, ModelQueue>();
	readonly #containers = new Map<string, ContainerUse>();

	constructor(
		private readonly limits: QueueLimits,
		private readonly progress: ProgressTexts,
		/** Told when a call began to wait, or a container is suspected. */
		private readonly tick: Notifier,
	) {}

	/**
	 * Waits for a place in one of the model's containers. Rejects with Refused, or with the signal's reason. The signal
	 * ends the wait only: the lease is the caller's to release.
	 */
	acquire(model: string, signal: AbortSignal): Promise<ContainerLease> {
		const lane = this.#queue(model);
		if (signal.aborted) return Promise.reject(signal.reason);
		if (lane.refusal) return Promise.reject(lane.refusal);
		const free = lane.waiting.size === 0 ? this.#best(lane) : undefined;
		if (free) return Promise.resolve(this.#lease(lane, free));
		if (lane.waiting.size >= this.limits.size) {
			const full = `${this.limits.size} calls wait for "${model}" already (agent.queue.size): call again in a moment`;
			return Promise.reject(new QueueRefusal(429, full, 5));
		}
		return this.#wait(model, lane, signal);
	}

	/** Where a model's calls may go from now on; none: they wait. */
	open(model: string, destinations: readonly ContainerAddress[]): void {
		const lane = this.#queue(model);
		lane.addresses = destinations;
		if (destinations.length > 0) lane.refusal = undefined;
		this.#dispatch(lane);
	}

	/** Refuses the model's calls from now on, those that wait among them; undefined: they may wait again. */
	refuse(model: string, why: QueueRefusal | undefined): void {
		const lane = this.#queue(model);
		lane.refusal = why;
		if (!why) return;
		const refused = [...lane.waiting];
		lane.waiting.clear();
		for (const each of refused) each.refuse(why);
	}

	/** Calls that wait for a model, and since when the first of them. */
	waiting(model: string): { readonly count: number; readonly oldestAt?: number } {
		const waiting = this.#queues.get(model)?.waiting;
		const first = waiting?.values().next().value;
		return first ? { count: waiting!.size, oldestAt: first.since } : { count: 0 };
	}

	/** Calls of a model in flight. */
	running(model: string): number {
		return this.#queues.get(model)?.running ?? 0;
	}

	/** When a call of a model last began or ended; 0 for never. */
	lastUsedAt(model: string): number {
		return this.#queues.get(model)?.lastUsedAt ?? 0;
	}

	/** Calls in flight in one container. */
	runningIn(id: string): number {
		return this.#containers.get(id)?.running ?? 0;
	}

	/** Since when its calls have brought no byte; undefined while it has none. */
	quietSince(id: string): number | undefined {
		const place = this.#containers.get(id);
		return place && place.running > 0 ? place.lastByteAt : undefined;
	}

	/** Since when it may be ill; undefined for no. */
	suspectSince(id: string): number | undefined {
		return this.#containers.get(id)?.suspectSince || undefined;
	}

	/** It has been asked, and is well. */
	confirmHealthy(model: string, id: string): void {
		const place = this.#containers.get(id);
		if (!place?.suspectSince) return;
		place.suspectSince = 0;
		this.#dispatch(this.#queue(model));
	}

	/** Containers other than these are gone for good. */
	retainContainers(ids: ReadonlySet<string>): void {
		for (const [id, { running }] of this.#containers) if (!ids.has(id) && running === 0) this.#containers.delete(id);
	}

	#queue(model: string): ModelQueue {
		let lane = this.#queues.get(model);
		if (!lane) {
			lane = { waiting: new Set(), addresses: [], refusal: undefined, running: 0, lastUsedAt: 0 };
			this.#queues.set(model, lane);
		}
		return lane;
	}

	#container(id: string): ContainerUse {
		let place = this.#containers.get(id);
		if (!place) {
			place = { running: 0, lastByteAt: 0, suspectSince: 0 };
			this.#containers.set(id, place);
		}
		return place;
	}

	/** The open container with the fewest calls that takes one more. */
	#best(lane: ModelQueue): ContainerAddress | undefined {
		let best: ContainerAddress | undefined;
		let least = Number.POSITIVE_INFINITY;
		const now = steadyTime();
		for (const each of lane.addresses) {
			const { running, suspectSince } = this.#container(each.id);
			if (running >= this.limits.running || running >= least || now - suspectSince < SUSPECT_MS) continue;
			best = each;
			least = running;
		}
		return best;
	}

	#lease(lane: ModelQueue, { id, origin }: ContainerAddress): ContainerLease {
		const place = this.#container(id);
		const now = steadyTime();
		if (place.running++ === 0) place.lastByteAt = now;
		lane.running++;
		lane.lastUsedAt = now;
		let isHeld = true;
		return {
			id,
			origin,
			bytesCame: () => {
				place.lastByteAt = steadyTime();
			},
			suspect: () => {
				place.suspectSince = steadyTime();
				this.tick.notify();
			},
			release: () => {
				if (!isHeld) return;
				isHeld = false;
				place.running--;
				lane.running--;
				lane.lastUsedAt = steadyTime();
				this.#dispatch(lane);
			},
		};
	}

	#dispatch(lane: ModelQueue): void {
		for (const next of lane.waiting) {
			const free = this.#best(lane);
			if (!free) return;
			lane.waiting.delete(next);
			next.admit(this.#lease(lane, free));
		}
	}

	#wait(model: string, lane: ModelQueue, signal: AbortSignal): Promise<ContainerLease> {
		const { promise, resolve, reject } = Promise.withResolvers<ContainerLease>();
		const over = () => {
			clearTimeout(timer);
			signal.removeEventListener("abort", leave);
			lane.waiting.delete(waiting);
		};
		const waiting: WaitingCall = {
			since: steadyTime(),
			admit: (lease) => {
				over();
				resolve(lease);
			},
			refuse: (why) => {
				over();
				reject(why);
			},
		};
		const leave = () => waiting.refuse(signal.reason);
		const { waitMs } = this.limits;
		const timer = setTimeout(() => {
			const waited = `"${model}" was not ready within ${Math.round(waitMs / 1000)} s (agent.queue.wait)`;
			waiting.refuse(
				new QueueRefusal(503, `${waited}; it is ${this.progress.progressText(model)}. Call again in a while`, 30),
			);
		}, waitMs);
		signal.addEventListener("abort", leave, { once: true });
		lane.waiting.add(waiting);
		this.tick.notify();
		return promise;
	}
}
