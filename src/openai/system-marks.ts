/** How words are marked as a system message's where they stand in a turn of the user's, and how others' words are kept from looking so. */

/** Marks a system message's text where it must stand in a turn of the user's. */
export function markedSystemText(text: string): string {
	return `<system>\n${text}\n</system>`;
}

/** Such marks in others' words, spaces inside them or not. Spaces are matched in one way only: in two, a million of them would take hours. */
const FORGED = /<(\s*(?:\/\s*)?)system(\s*)>/gi;

/** Words of a user's or a tool's, which may be anyone's, without what looks like such a mark: `<system_>`. */
export const withoutMarks = (text: string): string => text.replace(FORGED, "<$1system_$2>");
