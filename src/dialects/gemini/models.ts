/** Lists of models as Google's clients read them: in pages. */
import { refusal } from "./read-request.ts";

/** A model, as it is listed here. */
export interface NamedModel {
	readonly id: string;
	/** Tokens of a prompt and its answer at most, where that is known. */
	readonly context?: number | undefined;
}

/** Models a page without `pageSize`, and at most. */
const A_PAGE = 50;
const MOST = 1000;

/** One model (@google/genai 3.3, Model). What it can do nobody knows before it is asked: it may be asked for all. */
export const geminiModel = ({ id, context }: NamedModel) => ({
	name: `models/${id}`,
	version: "",
	displayName: id,
	description: "",
	...(context === undefined ? {} : { inputTokenLimit: context, outputTokenLimit: context }),
	supportedGenerationMethods: /embed/i.test(id)
		? ["embedContent", "batchEmbedContents", "countTokens"]
		: ["generateContent", "streamGenerateContent", "countTokens"],
});

/**
 * A page of them. Throws `invalid_value` for a size or a token that is none.
 * @param query `pageSize`, `pageToken`
 */
export function geminiModelsPage(models: readonly NamedModel[], query: URLSearchParams) {
	const size = numberIn(query, "pageSize", A_PAGE);
	const from = numberIn(query, "pageToken", 0);
	const to = from + Math.min(size || A_PAGE, MOST);
	const page = models.slice(from, to).map(geminiModel);
	return { models: page, ...(to < models.length ? { nextPageToken: String(to) } : {}) };
}

function numberIn(query: URLSearchParams, name: string, absent: number): number {
	const text = query.get(name) ?? query.get(name.replace(/[A-Z]/, (letter) => `_${letter.toLowerCase()}`));
	if (text === null || text === "") return absent;
	if (!/^\d{1,7}$/.test(text)) throw refusal(name, "must be a whole number");
	return Number(text);
}
