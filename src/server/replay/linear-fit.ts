/** A linear fit with few factors. Pure. */

/** Added to what a factor weighs, in relation to that: factors that always come together share what they explain. */
const RIDGE = 1e-6;

/**
 * What each factor adds to a value, by least squares; never less than 0, since none of them can save time.
 * @param rows the factors of each value
 */
export function linearFit(rows: readonly (readonly number[])[], values: readonly number[]): number[] {
	const count = rows[0]?.length ?? 0;
	const used = new Set(Array.from({ length: count }, (_, at) => at));
	// At least one of those that would count less than nothing goes in each round.
	while (used.size > 0) {
		const factors = [...used];
		const found = solved(rows, values, factors);
		const least = found.reduce((lowest, each, at) => (each < found[lowest]! ? at : lowest), 0);
		if (found[least]! >= 0) {
			const all = new Array<number>(count).fill(0);
			for (const [at, factor] of factors.entries()) all[factor] = found[at]!;
			return all;
		}
		used.delete(factors[least]!);
	}
	return new Array<number>(count).fill(0);
}

/** The normal equations of these factors, by Gauss's elimination. */
function solved(rows: readonly (readonly number[])[], values: readonly number[], factors: readonly number[]): number[] {
	const matrix = factors.map((one) => [
		...factors.map((other) => rows.reduce((sum, row) => sum + row[one]! * row[other]!, 0)),
		rows.reduce((sum, row, at) => sum + row[one]! * values[at]!, 0),
	]);
	const size = factors.length;
	for (let at = 0; at < size; at++) matrix[at]![at]! += matrix[at]![at]! * RIDGE + Number.MIN_VALUE;
	for (let at = 0; at < size; at++) {
		for (let below = at + 1; below < size; below++) {
			const share = matrix[below]![at]! / matrix[at]![at]!;
			for (let column = at; column <= size; column++) matrix[below]![column]! -= share * matrix[at]![column]!;
		}
	}
	const found = new Array<number>(size).fill(0);
	for (let at = size - 1; at >= 0; at--) {
		let rest = matrix[at]![size]!;
		for (let column = at + 1; column < size; column++) rest -= matrix[at]![column]! * found[column]!;
		const own = matrix[at]![at]!;
		found[at] = own > 1e-12 ? rest / own : 0;
	}
	return found;
}
