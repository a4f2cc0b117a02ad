/**
 * What calls usually come to, learned from those that are over: how long answers are where clients set no limit, and by how much calls
 * cost more than was reserved for them. Each process learns for itself, from when a limit first asks.
 */

/** Newest values that are looked at. */
const KEPT = 64;
/** The share of them that the figure keeps within: one long answer in ten does not move it. */
const SHARE = 0.9;
/** Values from which on it is believed. */
const KNOWN_FROM = 8;
/** Values until it is looked at anew: sorting at each call would cost 1 µs. */
const REFRESHED = 16;
/** Pairs of key and model that are remembered: clients choose the names of models. */
const MOST = 5_000;

/** What became of a call. */
export interface Learned {
	/** Tokens of the answer, of each choice; undefined where they tell nothing: the client had set a limit, or left. */
	readonly answer?: number | undefined;
	/** USD above what its tokens were reserved at: pictures, searches, a prompt longer than estimated. 0 where there were none. */
	readonly surplus?: number | undefined;
}

/** The holder. It outlives a reload of the configuration. */
export class UsualCalls {
	readonly #figures = new Map<string, Figures>();
	#isAsked = false;

	/** @param most pairs of key and model */
	constructor(private readonly most = MOST) {}

	/** A limit has asked for a figure: where none ever does, to learn would cost each call something for nothing. */
	get isAsked(): boolean {
		return this.#isAsked;
	}

	/**
	 * Tokens that an answer usually has at most, by 90 % of the last 64: to this key by this model where 8 are known, else to all
	 * keys by this model; undefined where neither is known.
	 * @param key its id; "" for callers without one
	 */
	answerTokens(key: string, model: string): number | undefined {
		this.#isAsked = true;
		return (
			this.#figures.get(nameOf(key, model))?.answers.upper ?? this.#figures.get(nameOf(EVERYONE, model))?.answers.upper
		);
	}

	/** USD that calls usually cost at most above their reserve, found in the same way; 0 where that is not known. */
	surplus(key: string, model: string): number {
		this.#isAsked = true;
		const own = this.#figures.get(nameOf(key, model))?.surpluses.upper;
		return own ?? this.#figures.get(nameOf(EVERYONE, model))?.surpluses.upper ?? 0;
	}

	/** A call is over. */
	learn(key: string, model: string, { answer, surplus }: Learned): void {
		for (const name of [nameOf(key, model), nameOf(EVERYONE, model)]) {
			const figures = this.#of(name);
			if (answer !== undefined) figures.answers.add(answer);
			if (surplus !== undefined) figures.surpluses.add(surplus);
		}
	}

	#of(name: string): Figures {
		let figures = this.#figures.get(name);
		if (!figures) {
			// The oldest makes room.
			if (this.#figures.size >= this.most) this.#figures.delete(this.#figures.keys().next().value!);
			figures = { answers: new Upper(), surpluses: new Upper() };
			this.#figures.set(name, figures);
		}
		return figures;
	}
}

interface Figures {
	readonly answers: Upper;
	readonly surpluses: Upper;
}

/** No key has this id. */
const EVERYONE = "\n";

/** Ids hold no line end, so no two pairs make the same name. */
const nameOf = (key: string, model: string): string => `${key}\n${model}`;

/** What most of the newest values keep within. */
class Upper {
	readonly #values = new Float64Array(KEPT);
	#count = 0;
	#upper: number | undefined;

	/** Undefined until enough are known. */
	get upper(): number | undefined {
		return this.#upper;
	}

	add(value: number): void {
		if (!Number.isFinite(value)) return;
		this.#values[this.#count++ % KEPT] = value;
		if (this.#count !== KNOWN_FROM && this.#count % REFRESHED !== 0) return;
		const sorted = this.#values.slice(0, this.#count).sort();
		this.#upper = sorted[Math.ceil(sorted.length * SHARE) - 1];
	}
}
