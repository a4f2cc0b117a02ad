/** One thing that OpenAI's chat API can ask for, and the words to say what becomes of it. */
import type { Json } from "./exchange.ts";

/** Part of what the vendor gets; or the field whose refusal it is. */
export type Outcome = { readonly sends: Json } | { readonly refused: string };

/** One feature. */
export interface Feature {
	readonly name: string;
	/** Fields added to a request; `messages` replace its own. */
	readonly ask: Json;
	readonly anthropic: Outcome;
	readonly gemini: Outcome;
	/** Model names other than the usual ones. */
	readonly models?: { readonly anthropic?: string; readonly gemini?: string };
}

/** A message of the user. */
export const user = (content: unknown) => ({ role: "user", content });
/** A part of one that is text. */
export const text = (value: string) => ({ type: "text", text: value });
/** Part of what the vendor gets. */
export const sends = (part: Json): Outcome => ({ sends: part });
/** The field by which it is refused. */
export const refused = (param: string): Outcome => ({ refused: param });
/** Part of the settings that Gemini gets. */
export const config = (generationConfig: Json): Outcome => sends({ generationConfig });
