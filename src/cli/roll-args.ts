/** The arguments of `router models roll`. Pure. */

/** What is rolled, and how: texts as they were typed. */
export interface RollOptions {
	/** A model, or `agent/model`. */
	readonly model: string;
	readonly image?: string;
	readonly canary?: string;
	/** An agent is asked once the roll of the one before it is over. */
	readonly isWaiting: boolean;
}

/** Parses the words behind `models` and its flags; undefined where they are none of a roll, and a message that says why where they are wrong. */
export function parseRollArgs(
	words: string[],
	given: Readonly<Record<string, string | undefined>>,
): RollOptions | string | undefined {
	const { image, canary } = given;
	if (words[0] !== "roll") {
		const stray = ["image", "canary", "no-wait"].find((name) => name in given);
		return stray === undefined ? undefined : `--${stray} belongs to \`models roll\``;
	}
	words.shift();
	const model = words.shift();
	if (model === undefined) return "`models roll` needs a model: router models roll NAME";
	const isWaiting = !("no-wait" in given);
	return { model, isWaiting, ...(image !== undefined && { image }), ...(canary !== undefined && { canary }) };
}
