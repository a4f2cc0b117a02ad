/**
 * Compaction: a client asks for its conversation in short (`compaction_trigger`), gets one item that it can't read, and sends that in the place of
 * what it stands for. The model that is asked writes the summary.
 */

/** What the model is asked behind the conversation. */
export const SUMMARY_REQUEST = [
	"The conversation up to here will be replaced by a summary that you write now. Whoever goes on with the work, you or another model, will know nothing else of it.",
	"Write down all that is needed to go on without asking again: what the user wants, with every constraint and preference, word for word where the wording matters; what has been done and found out; files, commands, names, values and errors that matter; decisions and their reasons; what is left to do, and the very next step.",
	"Answer with the summary alone. Call no tool.",
].join("\n\n");

/** Stands before a summary where it takes the conversation's place. */
const INTRODUCTION = "What came before in this conversation, as summed up by the model that took part in it:";

/** Marks what this router has made. */
const MARK = "router-summary-1.";

/** The message that stands for an item; undefined where others made it, which alone can read it. */
export function summaryMessage(encrypted: string): string | undefined {
	const text = summaryIn(encrypted);
	return text === undefined ? undefined : `${INTRODUCTION}\n\n${text}`;
}

/** The summary in an item. */
export function summaryIn(encrypted: string): string | undefined {
	return encrypted.startsWith(MARK) ? Buffer.from(encrypted.slice(MARK.length), "base64url").toString() : undefined;
}

/** The item. Its content is what the client has said and got itself, so that nothing is hidden from it. */
export function compactionItem(id: string, summary: string): object {
	return { id, type: "compaction", encrypted_content: MARK + Buffer.from(summary).toString("base64url") };
}
