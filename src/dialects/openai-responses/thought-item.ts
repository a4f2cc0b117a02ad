/** What an item of a request says of a model's thoughts. */
import { carriesDetails, detailsIn } from "../../openai/thought-details.ts";

/** A thought. */
export interface SentThought {
	/** What a vendor has signed of it, as a chat has that. */
	readonly details: readonly unknown[];
	/** These come out of an `encrypted_content` of the router's. */
	readonly isCarried: boolean;
}

/** Reads an item of type `reasoning`. What was encrypted elsewhere nobody here can read. */
export function thoughtIn(item: Readonly<Record<string, unknown>>): SentThought {
	const { encrypted_content: encrypted, reasoning_details: sent } = item;
	if (carriesDetails(encrypted)) return { details: detailsIn(encrypted), isCarried: true };
	return { details: Array.isArray(sent) ? sent : [], isCarried: false };
}
