/**
 * Work that is begun together. `fetch` has a thread of its own in Bun, and to wake that from its sleep costs 9 of a whole answer's
 * 115 µs: requests that came in with one turn of the event loop go out in one go, so that it wakes once for all of them.
 */

let turn: Promise<void> | undefined;

/** Resolves behind all that this turn of the event loop still has to do; one promise for all who ask within it. */
export function endOfTurn(): Promise<void> {
	turn ??= new Promise((resolve) => {
		setImmediate(() => {
			turn = undefined;
			resolve();
		});
	});
	return turn;
}
