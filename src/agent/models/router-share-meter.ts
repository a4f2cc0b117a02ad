/**
 * What each router that calls this agent has of its hardware. At each moment a GPU's power goes in equal parts to the engines on it that have calls, and
 * an engine's part in equal parts to its calls, whichever router they are of. A router that knows only its own calls would give them all that is drawn
 * while they run: it is told which part of that is theirs. The same for the time in which a model's calls run.
 */
import { MOST_ROUTERS, ROUTER_NAME, type RouterShares } from "../../protocol/router-shares.ts";
import { steadyTime } from "../../steady-time.ts";

/** After so long what was before counts half, ms: routers hear of it every 5 s. */
const HALF_MS = 10_000;
/** A router that has had no call for so long is forgotten, ms. */
const FORGET_MS = 300_000;
/** Parts above are told as the whole: nothing worth a word ran beside. */
const WHOLE = 0.9995;

/** Of one router: what its calls had, and what they would have had if no other's had run. */
interface Parts {
	own: number;
	alone: number;
}

/** Calls of one engine, or of one model. */
class Calls {
	/** By router, calls under way. */
	readonly running = new Map<string, number>();
	readonly parts = new Map<string, Parts>();
	total = 0;

	add(router: string, count: 1 | -1): void {
		const running = (this.running.get(router) ?? 0) + count;
		if (running > 0) this.running.set(router, running);
		else this.running.delete(router);
		this.total += count;
	}

	grow(router: string, own: number, alone: number): void {
		const parts = this.parts.get(router) ?? { own: 0, alone: 0 };
		this.parts.set(router, { own: parts.own + own, alone: parts.alone + alone });
	}

	fade(factor: number): void {
		for (const parts of this.parts.values()) {
			parts.own *= factor;
			parts.alone *= factor;
		}
	}
}

/** Where containers are, and what is drawn there. */
export interface EngineHardware {
	/** Indexes of the GPUs that a container has. */
	gpusOf(container: string): readonly number[];
	/** What a GPU draws, W; 0 where nobody says. */
	wattsOf(gpu: number): number;
}

/** Measures them. */
export class RouterShareMeter {
	readonly #engines = new Map<string, Calls>();
	readonly #models = new Map<string, Calls>();
	/** By router, when a call of its last began. */
	readonly #routers = new Map<string, number>();
	#at: number;

	/** @param time ms; never goes back */
	constructor(
		private readonly hardware: EngineHardware,
		private readonly time: () => number = steadyTime,
	) {
		this.#at = time();
	}

	/**
	 * A call has begun in a container. Returns what is to be called once at its end.
	 * @param named its caller's name as that sent it; "" where it does not name itself. What is no router's name, and that of one too many, counts as ""
	 */
	begin(model: string, container: string, named: string): () => void {
		this.#advance();
		const router = this.#countedAs(named);
		this.#routers.set(router, this.#at);
		const places = [callsOf(this.#engines, container), callsOf(this.#models, model)];
		for (const calls of places) calls.add(router, 1);
		return () => {
			this.#advance();
			for (const calls of places) calls.add(router, -1);
		};
	}

	/** Of a container's energy; undefined where each router has the whole of what it counts. */
	ofEnergy(container: string): RouterShares | undefined {
		this.#advance();
		return sharesOf(this.#engines.get(container));
	}

	/** Of the time in which calls of a model run; undefined as above. */
	ofTime(model: string): RouterShares | undefined {
		this.#advance();
		return sharesOf(this.#models.get(model));
	}

	/** Forgets all containers but these, and routers that are gone. */
	retain(containers: ReadonlySet<string>): void {
		for (const [id, { total }] of this.#engines) if (!containers.has(id) && total === 0) this.#engines.delete(id);
		const all = [...this.#engines.values(), ...this.#models.values()];
		for (const [router, at] of this.#routers) {
			if (this.time() - at < FORGET_MS || all.some(({ running }) => running.has(router))) continue;
			this.#routers.delete(router);
			for (const { parts } of all) parts.delete(router);
		}
		// From now on nothing is measured: what the last one had beside others would be told for ever.
		if (this.#routers.size < 2) for (const { parts } of all) parts.clear();
	}

	#countedAs(named: string): string {
		if (this.#routers.has(named)) return named;
		return ROUTER_NAME.test(named) && this.#routers.size < MOST_ROUTERS ? named : "";
	}

	#advance(): void {
		const now = this.time();
		const ms = now - this.#at;
		if (ms <= 0) return;
		this.#at = now;
		// One router has all.
		if (this.#routers.size < 2) return;
		const factor = 0.5 ** (ms / HALF_MS);
		for (const calls of [...this.#engines.values(), ...this.#models.values()]) calls.fade(factor);
		for (const calls of this.#models.values()) {
			for (const [router, running] of calls.running) calls.grow(router, (ms * running) / calls.total, ms);
		}
		this.#shareOut(ms);
	}

	#shareOut(ms: number): void {
		const busy = [...this.#engines].filter(([, { total }]) => total > 0);
		const places = busy.map(([id, calls]) => ({ calls, gpus: this.hardware.gpusOf(id) }));
		for (const gpu of new Set(places.flatMap(({ gpus }) => gpus))) {
			const here = places.flatMap(({ calls, gpus }) => (gpus.includes(gpu) ? [calls] : []));
			const drawn = this.hardware.wattsOf(gpu) * ms;
			for (const calls of here) {
				for (const [router, running] of calls.running) {
					const beside = here.filter((each) => each.running.has(router)).length;
					calls.grow(router, (drawn / here.length) * (running / calls.total), drawn / beside);
				}
			}
		}
	}
}

function callsOf(all: Map<string, Calls>, key: string): Calls {
	const calls = all.get(key) ?? new Calls();
	all.set(key, calls);
	return calls;
}

/** Those below the whole of routers that name themselves. */
function sharesOf(calls: Calls | undefined): RouterShares | undefined {
	const told: [string, number][] = [];
	for (const [router, { own, alone }] of calls?.parts ?? []) {
		const share = alone > 0 ? own / alone : 1;
		if (router !== "" && share < WHOLE) told.push([router, Number(share.toFixed(4))]);
	}
	return told.length > 0 ? Object.fromEntries(told) : undefined;
}
