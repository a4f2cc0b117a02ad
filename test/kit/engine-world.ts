/** A Docker Engine and the effects of an agent on a simulated clock, for the supervisor: containers start, die and vanish. */
import {
	type Action,
	type Activity,
	type DesiredReplica,
	nextFailure,
	type ObservedContainer,
} from "../../src/agent/models/replica-state.ts";
import {
	INITIAL_STATE,
	type SupervisorDecision,
	type SupervisorLimits,
	type SupervisorState,
	supervise,
} from "../../src/agent/models/supervisor.ts";
import type { Random } from "./random.ts";

type Box = { -readonly [K in keyof ObservedContainer]: ObservedContainer[K] } & { readyAt: number };

const WHY = { reason: "it ended", fix: "look" };
export const LIMITS: SupervisorLimits = { silenceMs: 60_000, startMs: 600_000, drainMs: 30_000 };

/** The world. Every effect takes a while, and the agent may be restarted at any time. */
export class EngineWorld {
	now = 1_000_000;
	boxes: Box[] = [];
	images = new Set<string>();
	engineIsUp = true;
	/** A container is ready so long after its start, ms; Infinity: never. */
	readyAfter = 5000;
	/** Containers started so far. */
	starts = 0;
	/** Calls that were running in a container when it was stopped for nothing but to make room. */
	wronged = 0;
	busy = new Map<string, number>();
	last: SupervisorDecision | undefined;
	#state: SupervisorState = INITIAL_STATE;
	#inFlight = new Map<string, Activity>();
	#pending: { at: number; run: () => void }[] = [];
	#nextId = 0;

	constructor(private readonly random: Random) {}

	/** The agent is killed and started again: what it remembers is gone, what Docker does for it goes on. */
	restartAgent(): void {
		this.#state = INITIAL_STATE;
		this.#inFlight = new Map();
		// A `docker run` under way ends as it would; nobody hears of it.
		for (const { run } of this.#pending) run();
		this.#pending = [];
		this.#inFlight = new Map();
	}

	kill(box: Box | undefined): void {
		if (box) box.state = "exited";
	}

	/** One tick of the agent's loop, `ms` later. */
	step(wanted: readonly DesiredReplica[], ms: number): SupervisorDecision {
		this.now += ms;
		const due = this.#pending.filter(({ at }) => at <= this.now);
		this.#pending = this.#pending.filter(({ at }) => at > this.now);
		for (const { run } of due) run();
		for (const box of this.boxes) {
			if (box.state === "running" && box.health === "unknown" && box.readyAt <= this.now) box.health = "up";
		}
		const engineProblem = this.engineIsUp ? undefined : { reason: "Docker is not running", fix: "start it" };
		const seen = this.boxes.map((box) => ({ ...box, ...(box.state === "exited" ? { problem: WHY } : {}) }));
		const observed = { engineProblem, containers: seen, images: this.images, inFlight: this.#inFlight };
		const decided = supervise(wanted, observed, this.#state, LIMITS, this.now);
		this.#state = decided;
		for (const action of decided.actions) this.#act(action, wanted);
		this.last = decided;
		return decided;
	}

	#act(action: Action, wanted: readonly DesiredReplica[]): void {
		if (this.#inFlight.has(action.key)) throw new Error(`two actions at once for ${action.key}`);
		const work = action.do;
		const own = this.#inFlight;
		own.set(action.key, work);
		const after = (run: () => void) => {
			this.#pending.push({
				at: this.now + 100 + this.random.below(3000),
				run: () => {
					own.delete(action.key);
					if (this.engineIsUp) run();
				},
			});
		};
		const spec = wanted.find(({ key }) => key === action.key);
		switch (action.do) {
			case "pull":
				after(() => this.images.add(action.image));
				break;
			case "start":
				after(() => this.#start(spec!));
				break;
			case "stop": {
				const box = this.boxes.find(({ id }) => id === action.id);
				const calls = this.busy.get(action.key) ?? 0;
				const isEvicted = spec?.goal === "asleep" && spec.hash === box?.hash;
				if (box?.state === "running" && box.health === "up" && isEvicted && calls > 0) this.wronged++;
				after(() => {
					this.boxes = this.boxes.filter(({ id }) => id !== action.id);
				});
				break;
			}
			case "sleep":
			case "wake":
				after(() => {
					const box = this.boxes.find(({ id }) => id === action.id);
					if (box?.state === "running") box.health = action.do === "sleep" ? "asleep" : "up";
				});
		}
	}

	/** One in ten fails. */
	#start(spec: DesiredReplica): void {
		if (this.random.below(10) === 0) {
			this.#failed(spec);
			return;
		}
		this.starts++;
		this.boxes.push({
			id: `c${this.#nextId++}`,
			key: spec.key,
			hash: spec.hash,
			state: "running",
			health: "unknown",
			startedAt: this.now,
			progressAt: this.now,
			readyAt: this.now + this.readyAfter,
		});
	}

	#failed({ key, hash }: DesiredReplica): void {
		const failures = new Map(this.#state.failures);
		failures.set(key, nextFailure(failures.get(key), hash, WHY, this.now));
		this.#state = { ...this.#state, failures };
	}
}
