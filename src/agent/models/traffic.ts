/**
 * The calls of this host: a queue for each model, first come first served, and the calls in flight, by container. The loop
 * decides what is loaded and sets the containers that a queue's calls may go to.
 */
import { REPLICA_HEADER } from "../../protocol/agent.ts";
import type { CancelSignal } from "../../providers/provider.ts";
import { steadyTime } from "../../steady-time.ts";
import type { Notifier } from "../notify.ts";
import type { CallCounter } from "./call-counts.ts";
import type { RouterShareMeter } from "./router-share-meter.ts";

/** A container that a model's calls may go to. */
export interface ContainerAddress {
	/** Of the container. */
	readonly id: string;
	/** The model's replica that it is, from 0. */
	readonly replica: number;
	/** `http://127.0.0.1:<port>` */
	readonly origin: string;
	/** The API key of its vLLM. */
	readonly key?: string | undefined;
	/** Of a canary: the share of calls that it gets of those that name no replica; absent of others, which share out the rest by their load. */
	readonly share?: number | undefined;
	/** Counts its calls, while a canary is compared with the others. */
	readonly counter?: CallCounter | undefined;
}

/** One call in one container. */
export interface ContainerLease extends ContainerAddress {
	/** Bytes of the answer came. */
	bytesCame(): void;
	/** The container may be unhealthy: it gets no further calls until it has been probed. */
	suspect(): void;
	/** The call has ended. The first call counts. */
	release(): void;
}

/** Why a call is refused. The message says what was wrong and what to do. */
export class QueueRefusal extends Error {
	override readonly name = "QueueRefusal";
	constructor(
		readonly status: 429 | 503,
		message: string,
		/** Seconds. */
		readonly retryAfter: number,
	) {
		super(message);
	}
}

/** How many calls may wait, and for how long. */
export interface QueueLimits {
	/** Calls that may wait for one model. */
	readonly size: number;
	/** Calls that one container is sent at a time. */
	readonly running: number;
	/** Longest wait, ms. */
	readonly waitMs: number;
}

interface WaitingCall {
	/** That has sent it; "" where it does not name itself. */
	readonly router: string;
	readonly since: number;
	readonly admit: (lease: ContainerLease) => void;
	readonly refuse: (reason: unknown) => void;
}

interface ModelQueue {
	readonly waiting: Set<WaitingCall>;
	addresses: readonly ContainerAddress[];
	/** Numbers of the replicas that the model has, ready or not; undefined where nobody said. */
	replicas: readonly number[] | undefined;
	refusal: QueueRefusal | undefined;
	running: number;
	lastUsedAt: number;
	/** Of the canary's share: what it was not given yet, calls. */
	canaryCredit: number;
}

/** What is known of one container's calls. Times are of `steadyTime`. */
interface ContainerUse {
	running: number;
	/** When bytes last came, or the first of its calls was sent. */
	lastByteAt: number;
	/** Since when it may be unhealthy; 0: it is not suspected. */
	suspectSince: number;
}

/** How long a container stays suspected without a probe, ms. */
const SUSPECT_MS = 10_000;

/** For the message of a call that has waited too long. */
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
		/** Notified when a call begins to wait, or a container is suspected. */
		private readonly tick: Notifier,
		/** Hears of each call in a container. */
		private readonly shares?: Pick<RouterShareMeter, "begin" | "retain">,
	) {}

	/**
	 * Waits until one of the model's containers takes the call. Rejects with a QueueRefusal, or with the signal's reason. The
	 * signal ends the wait only: the caller has to release the lease.
	 * @param replica the one that is to take it; any, where the model has none of that number any more. While that one takes none and others do it is refused at once: its router knows those,
	 * too. Where that one has all the calls it may have, or none takes any, it waits like any other call.
	 */
	acquire(model: string, signal: CancelSignal, replica?: number, router = ""): Promise<ContainerLease> {
		const queue = this.#queue(model);
		if (signal.aborted) return Promise.reject(signal.reason);
		if (queue.refusal) return Promise.reject(queue.refusal);
		const named = replica === undefined ? undefined : this.#named(queue, replica);
		if (named === "elsewhere") return Promise.reject(replicaRefusal(model, replica!));
		const free = queue.waiting.size === 0 ? (named ?? this.#best(queue)) : undefined;
		if (free) return Promise.resolve(this.#lease(model, queue, free, router));
		if (queue.waiting.size >= this.limits.size) {
			const full = `${this.limits.size} calls wait for "${model}" already (agent.queue.size): call again in a moment`;
			return Promise.reject(new QueueRefusal(429, full, 5));
		}
		return this.#wait(model, queue, signal, router);
	}

	/**
	 * Where a model's calls may go from now on; none: they wait.
	 * @param replicas numbers of all that it has, ready or not: a call for one that it has no more goes to any
	 */
	open(model: string, addresses: readonly ContainerAddress[], replicas?: readonly number[]): void {
		const queue = this.#queue(model);
		queue.addresses = addresses;
		queue.replicas = replicas;
		if (addresses.length > 0) queue.refusal = undefined;
		this.#dispatch(model, queue);
	}

	/** Refuses the model's calls from now on, those that wait among them; undefined: they may wait again. */
	refuse(model: string, refusal: QueueRefusal | undefined): void {
		const queue = this.#queue(model);
		queue.refusal = refusal;
		if (!refusal) return;
		const refused = [...queue.waiting];
		queue.waiting.clear();
		for (const each of refused) each.refuse(refusal);
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
		const use = this.#containers.get(id);
		return use && use.running > 0 ? use.lastByteAt : undefined;
	}

	/** Since when it may be unhealthy; undefined where it is not suspected. */
	suspectSince(id: string): number | undefined {
		return this.#containers.get(id)?.suspectSince || undefined;
	}

	/** A probe found it healthy. */
	confirmHealthy(model: string, id: string): void {
		const use = this.#containers.get(id);
		if (!use?.suspectSince) return;
		use.suspectSince = 0;
		this.#dispatch(model, this.#queue(model));
	}

	/** Forgets all containers but these. */
	retainContainers(ids: ReadonlySet<string>): void {
		for (const [id, { running }] of this.#containers) if (!ids.has(id) && running === 0) this.#containers.delete(id);
		this.shares?.retain(ids);
	}

	#queue(model: string): ModelQueue {
		let queue = this.#queues.get(model);
		if (!queue) {
			queue = {
				waiting: new Set(),
				addresses: [],
				replicas: undefined,
				refusal: undefined,
				running: 0,
				lastUsedAt: 0,
				canaryCredit: 0,
			};
			this.#queues.set(model, queue);
		}
		return queue;
	}

	#container(id: string): ContainerUse {
		let use = this.#containers.get(id);
		if (!use) {
			use = { running: 0, lastByteAt: 0, suspectSince: 0 };
			this.#containers.set(id, use);
		}
		return use;
	}

	/**
	 * The open container with the fewest calls that takes one more. A canary takes every n-th call by its share, and others where no other
	 * container is open.
	 */
	#best(queue: ModelQueue): ContainerAddress | undefined {
		const { addresses } = queue;
		const canary = addresses.find(({ share }) => share !== undefined);
		if (!canary) return this.#leastBusy(addresses);
		// A tenth added ten times is a little less than one.
		const isIts = queue.canaryCredit + canary.share! >= 1 - 1e-9;
		const others = addresses.filter((each) => each !== canary);
		const free = (isIts && this.#leastBusy([canary])) || this.#leastBusy(others) || this.#leastBusy([canary]);
		if (free) queue.canaryCredit = Math.min(1, queue.canaryCredit + canary.share!) - (free === canary ? 1 : 0);
		if (queue.canaryCredit < 0) queue.canaryCredit = 0;
		return free;
	}

	#leastBusy(addresses: readonly ContainerAddress[]): ContainerAddress | undefined {
		let best: ContainerAddress | undefined;
		let least = Number.POSITIVE_INFINITY;
		for (const each of addresses) {
			const { running } = this.#container(each.id);
			if (running >= this.limits.running || running >= least || this.#isSuspected(each)) continue;
			best = each;
			least = running;
		}
		return best;
	}

	/** The container of a replica, where it takes one more call; `elsewhere`: it takes none, and others do. */
	#named(queue: ModelQueue, replica: number): ContainerAddress | "elsewhere" | undefined {
		// It was replaced: nobody waits for it to come back.
		if (queue.replicas?.includes(replica) === false) return undefined;
		const own = queue.addresses.find((each) => each.replica === replica);
		if (own && !this.#isSuspected(own)) return this.runningIn(own.id) < this.limits.running ? own : undefined;
		return queue.addresses.some((each) => each !== own && !this.#isSuspected(each)) ? "elsewhere" : undefined;
	}

	#isSuspected({ id }: ContainerAddress): boolean {
		const since = this.#containers.get(id)?.suspectSince;
		return since ? steadyTime() - since < SUSPECT_MS : false;
	}

	#lease(model: string, queue: ModelQueue, address: ContainerAddress, router: string): ContainerLease {
		const use = this.#container(address.id);
		const ended = this.shares?.begin(model, address.id, router);
		const now = steadyTime();
		if (use.running++ === 0) use.lastByteAt = now;
		queue.running++;
		queue.lastUsedAt = now;
		let isHeld = true;
		return {
			...address,
			bytesCame: () => {
				use.lastByteAt = steadyTime();
			},
			suspect: () => {
				use.suspectSince = steadyTime();
				this.tick.notify();
			},
			release: () => {
				if (!isHeld) return;
				isHeld = false;
				ended?.();
				use.running--;
				queue.running--;
				queue.lastUsedAt = steadyTime();
				this.#dispatch(model, queue);
			},
		};
	}

	#dispatch(model: string, queue: ModelQueue): void {
		for (const next of queue.waiting) {
			const free = this.#best(queue);
			if (!free) return;
			queue.waiting.delete(next);
			next.admit(this.#lease(model, queue, free, next.router));
		}
	}

	#wait(model: string, queue: ModelQueue, signal: CancelSignal, router: string): Promise<ContainerLease> {
		const { promise, resolve, reject } = Promise.withResolvers<ContainerLease>();
		const settle = () => {
			clearTimeout(timer);
			signal.removeEventListener("abort", onAbort);
			queue.waiting.delete(waiting);
		};
		const waiting: WaitingCall = {
			router,
			since: steadyTime(),
			admit: (lease) => {
				settle();
				resolve(lease);
			},
			refuse: (reason) => {
				settle();
				reject(reason);
			},
		};
		const onAbort = () => waiting.refuse(signal.reason);
		const { waitMs } = this.limits;
		const timer = setTimeout(() => {
			const waited = `"${model}" was not ready within ${Math.round(waitMs / 1000)} s (agent.queue.wait)`;
			waiting.refuse(
				new QueueRefusal(503, `${waited}; it is ${this.progress.progressText(model)}. Call again in a while`, 30),
			);
		}, waitMs);
		signal.addEventListener("abort", onAbort, { once: true });
		queue.waiting.add(waiting);
		this.tick.notify();
		return promise;
	}
}

/** Seconds after which a replica that takes no calls may take some again. */
const REPLICA_RETRY_S = 1;

function replicaRefusal(model: string, replica: number): QueueRefusal {
	const message = `replica ${replica} of "${model}" takes no calls now, others do: leave out ${REPLICA_HEADER}, or name another`;
	return new QueueRefusal(503, message, REPLICA_RETRY_S);
}
