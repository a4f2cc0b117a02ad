/** Names as HTTP headers can hold them. */

/**
 * The text with everything but printable ASCII percent-encoded as UTF-8 (`模型` → `%E6%A8%A1%E5%9E%8B`): Bun refuses other
 * header values by throwing, and a line end in one would begin a header of its own. Never throws.
 */
export function headerText(text: string): string {
	return text.toWellFormed().replace(/[^\x20-\x7e]/gu, encodeURIComponent);
}
