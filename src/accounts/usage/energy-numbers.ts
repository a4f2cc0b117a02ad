/** The numbers of one thing whose energy is counted, where they stand among others' in memory that threads may share: the caller keeps others away. */

/** What counts by such numbers. */
export class EnergyNumbers {
	/** @param numbers zero at first @param from where its own begin */
	constructor(
		private readonly numbers: Float64Array,
		private readonly from: number,
	) {}

	protected get(number: number): number {
		return this.numbers[this.from + number]!;
	}

	protected set(number: number, value: number): void {
		this.numbers[this.from + number] = value;
	}

	protected add(number: number, value: number): void {
		this.numbers[this.from + number]! += value;
	}
}
