/** Lists of models as Anthropic's clients read them: in pages, from an id on or up to one. */
import { refusal } from "./messages-validation.ts";

/** A model, as it is listed here. */
export interface NamedModel {
	readonly id: string;
	/** Unix time, s; 0 where nobody knows. */
	readonly created: number;
	/** Tokens of a prompt and its answer at most, where that is known. */
	readonly context?: number | undefined;
	/** What is known of its end, as the router's own list has it; absent: it goes on. */
	readonly lifecycle?: "deprecated" | "retired" | undefined;
	/** `2026-11-30T00:00:00Z` */
	readonly deprecated_at?: string | undefined;
	/** `2027-01-14` */
	readonly shutdown_date?: string | undefined;
}

/** Models a page without `limit`, and at most. */
const A_PAGE = 20;
const MOST = 1000;

/** One model (SDK 1.14, ModelInfo). */
export const anthropicModel = ({ id, created, context, lifecycle, deprecated_at, shutdown_date }: NamedModel) => ({
	type: "model" as const,
	id,
	display_name: id,
	created_at: new Date(created * 1000).toISOString().replace(".000Z", "Z"),
	max_input_tokens: context ?? null,
	max_tokens: null,
	capabilities: null,
	lifecycle: lifecycle ?? ("active" as const),
	deprecated_at: deprecated_at ?? null,
	retires_at: shutdown_date === undefined ? null : `${shutdown_date}T00:00:00Z`,
	line: null,
});

/**
 * A page of them. An id that is not listed is passed over. Throws `invalid_value` for a limit that is none.
 * @param query `limit`, `after_id`, `before_id`
 */
export function modelsPage(models: readonly NamedModel[], query: URLSearchParams) {
	const limit = limitIn(query.get("limit"));
	const after = indexOf(models, query.get("after_id"));
	const before = indexOf(models, query.get("before_id"));
	const from = after === -1 ? 0 : after + 1;
	const to = before === -1 ? models.length : before;
	// Before an id the last ones come, from the beginning the first.
	const isBackward = before !== -1 && after === -1;
	const rest = models.slice(from, to);
	const page = (isBackward ? rest.slice(-limit) : rest.slice(0, limit)).map(anthropicModel);
	return {
		data: page,
		has_more: rest.length > page.length,
		first_id: page[0]?.id ?? null,
		last_id: page.at(-1)?.id ?? null,
	};
}

const indexOf = (models: readonly NamedModel[], id: string | null): number =>
	id === null ? -1 : models.findIndex((model) => model.id === id);

function limitIn(text: string | null): number {
	if (text === null) return A_PAGE;
	if (!/^\d{1,4}$/.test(text)) throw refusal("limit", "Input should be a valid integer");
	const limit = Number(text);
	if (limit < 1) throw refusal("limit", "Input should be greater than or equal to 1");
	if (limit > MOST) throw refusal("limit", `Input should be less than or equal to ${MOST}`);
	return limit;
}
