/** A host on which rolling changes are played, tick by tick, without Docker. */
import type { CanaryResult } from "../../src/agent/models/canary-analysis.ts";
import {
	firstGenerations,
	type Generation,
	type ModelGenerations,
	nextGenerations,
	type RollInputs,
	type Room,
} from "../../src/agent/models/roll.ts";

/** A generation of the model `m`. */
export const made = (hash: string, image = `image-${hash}`): Generation => ({
	hash,
	image,
	spec: { name: "m", model: "org/m" },
});
/** What serves at first. */
export const OLD = made("old");
/** Another spec of it. */
export const NEW = made("new");
/** Of a canary of which too little is known. */
export const WAIT: CanaryResult = { decision: "wait", reason: "" };

/** Containers that are there at once and ready at the next step, unless it is said otherwise. */
export class Host {
	model: ModelGenerations;
	wanted = OLD;
	isOrdered = false;
	isUp = true;
	analysis: CanaryResult = WAIT;
	room: Room = "yes";
	/** Containers that the memory takes. Where it is given, `room` is what the placer said at the tick before. */
	capacity: number | undefined;
	/** Replicas that never become ready. */
	broken = new Set<number>();
	/** Replicas that still have calls. */
	busy = new Set<number>();
	ready = new Set<number>();
	/** By replica: whose container it is. */
	there = new Map<number, string>();
	/** Most that were there at once, and the fewest that were ready. */
	most = 0;
	fewestReady: number;

	constructor(
		public count = 1,
		public share = 0.1,
	) {
		this.model = firstGenerations(OLD, count, []);
		for (const replica of this.model.replicas) {
			this.there.set(replica, OLD.hash);
			this.ready.add(replica);
		}
		this.fewestReady = count;
	}

	get serving(): number[] {
		return [...this.model.replicas, ...(this.model.roll?.replicas ?? [])].filter((each) => this.ready.has(each));
	}

	get hashes(): string[] {
		return [...this.there.values()].sort();
	}

	fail(): void {
		const { roll } = this.model;
		if (roll) this.model = { ...this.model, roll: { ...roll, failures: roll.failures + 1 } };
	}

	/** A tick of the agent; then what it asks for is done. */
	step(over: Partial<RollInputs> = {}): ModelGenerations {
		const seen: RollInputs = {
			wanted: this.wanted,
			count: this.count,
			share: this.share,
			isOrdered: this.isOrdered,
			isUp: this.isUp,
			now: 1000,
			isReady: (replica) => this.ready.has(replica),
			isThere: (replica) => this.there.has(replica),
			room: this.room,
			isPulled: true,
			analysis: () => this.analysis,
			...over,
		};
		this.model = nextGenerations(this.model, seen);
		this.isOrdered = false;
		if (this.capacity !== undefined) this.room = this.there.size < this.capacity ? "yes" : "no";
		const { replicas, leaving, roll, current } = this.model;
		for (const each of this.there.keys()) if (!this.broken.has(each)) this.ready.add(each);
		for (const each of leaving) {
			this.ready.delete(each);
			if (!this.busy.has(each)) this.there.delete(each);
		}
		const wants = [
			...replicas.map((each) => [each, current] as const),
			...(roll?.replicas ?? []).map((each) => [each, roll!.to] as const),
		];
		for (const [replica, { hash }] of wants) {
			const isSurge = roll?.replicas.includes(replica) === true;
			const isFree = this.capacity === undefined && this.there.size < this.count;
			const hasRoom = this.room === "yes" || !isSurge || isFree;
			// One of another generation under its number is replaced, as the supervisor does.
			if (this.there.has(replica) && this.there.get(replica) !== hash) this.ready.delete(replica);
			if (this.there.has(replica) || hasRoom) this.there.set(replica, hash);
		}
		this.most = Math.max(this.most, this.there.size);
		this.fewestReady = Math.min(this.fewestReady, this.serving.length);
		return this.model;
	}

	/** Until a roll is over, or so many steps. */
	run(steps = 40): this {
		for (let at = 0; at < steps; at++) this.step();
		return this;
	}
}
