/** End users that are told apart in the sums of usage. */

/**
 * Those of one key in one day, and one process. Clients choose their names, and each makes a row that stays for good, on the disk and in
 * Redis: whoever sent another one with each call would fill both.
 */
const MOST = 10_000;

/** What those above that are summed under. Their calls are in the ledger by their own names. */
export const OTHERS = "(others)";

/** The names of a day, as they come. */
export class EndUsers {
	#day = "";
	readonly #seen = new Map<string, Set<string>>();

	/** @param most told apart, a key */
	constructor(private readonly most = MOST) {}

	/** What a user's calls are summed under. @param day `2026-01-31` */
	nameOf(day: string, keyId: string, user: string): string {
		if (user === "") return user;
		if (day !== this.#day) {
			this.#day = day;
			this.#seen.clear();
		}
		let seen = this.#seen.get(keyId);
		if (!seen) {
			seen = new Set();
			this.#seen.set(keyId, seen);
		}
		if (seen.has(user)) return user;
		if (seen.size >= this.most) return OTHERS;
		seen.add(user);
		return user;
	}
}
