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
/** Values until it is looked at anew, while few are known and from then on: sorting at each call would cost 1 µs. */
const REFRESHED = 16;
const REFRESHED_LATER = 32;
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
	/** By model, since a call finds its figures by two names that are there already: to make one of both costs each call 1 µs. */
	readonly #models = new Map<string, { readonly everyone: Figures; readonly keys: Map<string, UsualOfKey> }>();
	#pairs = 0;
	#isAsked = false;

	/** @param most pairs of key and model */
	constructor(private readonly most = MOST) {}

	/** A limit has asked for a figure: where none ever does, to learn would cost each call something for nothing. */
	get isAsked(): boolean {
		return this.#isAsked;
	}

	/**
	 * What is known of a key's calls by a model.
	 * @param key its id; "" for callers without one
	 */
	of(key: string, model: string): UsualOfKey {
		this.#isAsked = true;
		let ofModel = this.#models.get(model);
		let usual = ofModel?.keys.get(key);
		if (usual) return usual;
		if (this.#pairs >= this.most) {
			this.#forgetOldest();
			ofModel = this.#models.get(model);
		}
		if (!ofModel) {
			ofModel = { everyone: { answers: new Upper(), surpluses: new Upper() }, keys: new Map() };
			this.#models.set(model, ofModel);
		}
		usual = new UsualOfKey({ answers: new Upper(), surpluses: new Upper() }, ofModel.everyone);
		ofModel.keys.set(key, usual);
		this.#pairs++;
		return usual;
	}

	#forgetOldest(): void {
		for (const [model, { keys }] of this.#models) {
			this.#models.delete(model);
			this.#pairs -= keys.size;
			return;
		}
	}
}

/** What one key's calls by one model usually come to; what all keys' do, where that is not known. */
export class UsualOfKey {
	constructor(
		private readonly own: Figures,
		private readonly everyone: Figures,
	) {}

	/** Tokens that an answer usually has at most, by 90 % of the last 64, where 8 are known; else undefined. */
	get answerTokens(): number | undefined {
		return this.own.answers.upper ?? this.everyone.answers.upper;
	}

	/** USD that calls usually cost at most above their reserve, found in the same way; 0 where that is not known. */
	get surplus(): number {
		return this.own.surpluses.upper ?? this.everyone.surpluses.upper ?? 0;
	}

	/** A call is over. */
	learn({ answer, surplus }: Learned): void {
		if (answer !== undefined) {
			this.own.answers.add(answer);
			this.everyone.answers.add(answer);
		}
		if (surplus !== undefined) {
			this.own.surpluses.add(surplus);
			this.everyone.surpluses.add(surplus);
		}
	}
}

interface Figures {
	readonly answers: Upper;
	readonly surpluses: Upper;
}

/** What most of the newest values keep within. */
class Upper {
	/** Made with the first value: many a name is only ever asked for. */
	#values: Float64Array | undefined;
	#count = 0;
	#upper: number | undefined;

	/** Undefined until enough are known. */
	get upper(): number | undefined {
		return this.#upper;
	}

	add(value: number): void {
		if (!Number.isFinite(value)) return;
		this.#values ??= new Float64Array(KEPT);
		this.#values[this.#count++ % KEPT] = value;
		const every = this.#count > KEPT ? REFRESHED_LATER : REFRESHED;
		if (this.#count !== KNOWN_FROM && this.#count % every !== 0) return;
		const sorted = this.#values.slice(0, this.#count).sort();
		this.#upper = sorted[Math.ceil(sorted.length * SHARE) - 1];
	}
}
