/**
 * What calls come to, learned from those that are over: how long answers are where clients set no limit, and by how much calls
 * cost more than was reserved for them. Each process learns for itself, all of its threads together (`shared-learned-usage.ts`), from when a
 * limit first asks.
 */

/** Newest values that are looked at. */
export const NEWEST = 64;
/** The percentile that is learned: one long answer in ten does not move it. */
const PERCENTILE = 0.9;
/** Values from which on it is believed. */
export const LEARNED_FROM = 8;
/** Values until it is computed anew, while few are known and from then on: each call would pay for a sort otherwise. */
const REFRESHED = 16;
const REFRESHED_LATER = 32;
/** Pairs of key and model that are remembered: clients choose the names of models. */
const MOST_PAIRS = 5_000;

/** What became of a call. */
export interface CallOutcome {
	/** Tokens of the answer, of each choice; undefined where nothing follows from them: the client had set a limit, or left. */
	readonly answer?: number | undefined;
	/** USD above what its tokens were reserved at: pictures, searches, a prompt longer than estimated. 0 where there were none. */
	readonly surplus?: number | undefined;
}

/** What is learned of a key's calls by a model, wherever it is kept. */
export type LearnedFigures = Pick<KeyUsage, "answerTokens" | "surplus" | "learn">;

/** What those see of it who reserve and learn. */
export interface LearnedView {
	/** A limit has asked for a figure: where none ever does, to learn would cost each call something for nothing. */
	readonly isAsked: boolean;
	/**
	 * What is learned of a key's calls by a model.
	 * @param key its id; "" for callers without one
	 */
	of(key: string, model: string): LearnedFigures;
}

/** The figures of all keys and models. They outlive a reload of the configuration. */
export class LearnedUsage implements LearnedView {
	/** By model, then by key, since a call has both names at hand: to make one name of both would cost each call more. */
	readonly #models = new Map<string, { readonly allKeys: Figures; readonly keys: Map<string, KeyUsage> }>();
	#pairs = 0;
	isAsked = false;

	/** @param most pairs of key and model that are remembered */
	constructor(private readonly most = MOST_PAIRS) {}

	of(key: string, model: string): KeyUsage {
		this.isAsked = true;
		let ofModel = this.#models.get(model);
		let usage = ofModel?.keys.get(key);
		if (usage) return usage;
		if (this.#pairs >= this.most) {
			this.#forgetOldestModel();
			ofModel = this.#models.get(model);
		}
		if (!ofModel) {
			ofModel = { allKeys: newFigures(), keys: new Map() };
			this.#models.set(model, ofModel);
		}
		usage = new KeyUsage(newFigures(), ofModel.allKeys);
		ofModel.keys.set(key, usage);
		this.#pairs++;
		return usage;
	}

	#forgetOldestModel(): void {
		for (const [model, { keys }] of this.#models) {
			this.#models.delete(model);
			this.#pairs -= keys.size;
			return;
		}
	}
}

/** What one key's calls by one model come to; what all keys' do, where too few of its own are known. */
export class KeyUsage {
	constructor(
		private readonly ofKey: Figures,
		private readonly ofAllKeys: Figures,
	) {}

	/** Tokens that 90 % of the last 64 answers had at most, where 8 are known; else undefined. */
	get answerTokens(): number | undefined {
		return this.ofKey.answers.value ?? this.ofAllKeys.answers.value;
	}

	/** USD that 90 % of the last 64 calls cost at most above their reserve; 0 where that is not known. */
	get surplus(): number {
		return this.ofKey.surpluses.value ?? this.ofAllKeys.surpluses.value ?? 0;
	}

	/** A call is over. */
	learn({ answer, surplus }: CallOutcome): void {
		if (answer !== undefined) {
			this.ofKey.answers.add(answer);
			this.ofAllKeys.answers.add(answer);
		}
		if (surplus !== undefined) {
			this.ofKey.surpluses.add(surplus);
			this.ofAllKeys.surpluses.add(surplus);
		}
	}
}

interface Figures {
	readonly answers: RecentPercentile;
	readonly surpluses: RecentPercentile;
}

const newFigures = (): Figures => ({ answers: new RecentPercentile(), surpluses: new RecentPercentile() });

/** What most of the newest values keep within. */
class RecentPercentile {
	/** Undefined until enough values are known. */
	value: number | undefined;
	/** Made with the first value: many a name is only ever asked for. */
	#values: Float64Array | undefined;
	#count = 0;

	add(value: number): void {
		if (!Number.isFinite(value)) return;
		this.#values ??= new Float64Array(NEWEST);
		this.#values[this.#count++ % NEWEST] = value;
		if (isRefreshedAt(this.#count)) this.value = percentileOf(this.#values.slice(0, this.#count));
	}
}

/** Whether what so many values come to is computed anew. */
export function isRefreshedAt(count: number): boolean {
	const every = count > NEWEST ? REFRESHED_LATER : REFRESHED;
	return count === LEARNED_FROM || count % every === 0;
}

/** What most of these values keep within; sorts them. */
export const percentileOf = (values: Float64Array): number => values.sort()[Math.ceil(values.length * PERCENTILE) - 1]!;
