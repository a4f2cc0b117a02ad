/** Long messages for people, shortened where a word ends. Pure. */

/** What stands between a reason and its remedy. */
export const WHAT_TO_DO = ". What to do: ";

/** Share of the space that a remedy gets, however long its reason is. */
const REMEDY_SHARE = 0.75;

/**
 * The text itself, or, where it has more than `longest` characters, that many of it and an ellipsis. It is cut between two words, so
 * that no half of a name or an address is read as a whole one. Of a text with a remedy (`reason. What to do: remedy`) the reason is
 * cut first.
 */
export function shortText(text: string, longest: number): string {
	if (text.length <= longest) return text;
	const at = text.indexOf(WHAT_TO_DO);
	if (at === -1) return cutText(text, longest);
	const remedy = cutText(text.slice(at), Math.max(longest - at, Math.floor(longest * REMEDY_SHARE)));
	return `${cutText(text.slice(0, at), longest - remedy.length)}${remedy}`;
}

/** Without its last words. A word that fills most of the space is cut in two: some languages have no blanks. */
function cutText(text: string, longest: number): string {
	if (text.length <= longest) return text;
	const room = Math.max(longest, 0);
	let end = room;
	while (end > room / 2 && !/\s/.test(text[end]!)) end--;
	const head = end > room / 2 ? text.slice(0, end).trimEnd() : text.slice(0, room);
	// No half of a surrogate pair.
	return `${head.toWellFormed().replace(/\ufffd$/, "")}…`;
}
