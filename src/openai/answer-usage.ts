/** The `usage` of a whole answer, edited in its text. */
import { type Edit, type Field, fieldNamed, fieldsOf, splice } from "./json.ts";
import { MOST_TOKENS, MOST_USD, numberIn, objectIn, type Tokens, type Usage } from "./usage.ts";

/** What vendors call the price of a call. */
const COSTS = ["cost", "cost_in_usd_ticks"];

/** The answer, telling no cost: one that is given a second time costs nothing. */
export function withoutCost(answer: string): string {
	const usage = fieldNamed(fieldsOf(answer), "usage");
	if (!usage || answer[usage.start] !== "{") return answer;
	const fields = fieldsOf(answer, usage.start).filter(({ key }) => COSTS.includes(key));
	return splice(
		answer,
		fields.map(({ start, end }): Edit => ({ start, end, insert: "0" })),
	);
}

/** The answer with a usage of these counts, where it has none: its stream's client had not asked for it. */
export function withUsage(answer: string, tokens: Tokens | undefined, isEstimated: boolean): string {
	if (!tokens || fieldNamed(fieldsOf(answer), "usage")) return answer;
	return withShownUsage(answer, shownUsage({}, tokens, isEstimated));
}

/** The answer, or a chunk of one, with the counts of its `usage` put right; it may have none. JSON text of an object. */
export function withCounts(answer: string, tokens: Tokens, isEstimated: boolean): string {
	const field = fieldNamed(fieldsOf(answer), "usage");
	const before = field && objectIn(JSON.parse(answer.slice(field.start, field.end)));
	return withShownUsage(answer, shownUsage(before ?? {}, tokens, isEstimated), field);
}

function withShownUsage(answer: string, usage: object, field?: Field): string {
	const json = JSON.stringify(usage);
	if (field) return splice(answer, [{ start: field.start, end: field.end, insert: json }]);
	const end = answer.lastIndexOf("}");
	return `${answer.slice(0, end)}${fieldsOf(answer).length > 0 ? "," : ""}"usage":${json}}`;
}

/**
 * A `usage` object that says these counts, and all else that the upstream's own said but for prices that are none. `estimated: true`
 * marks a guess.
 */
export function shownUsage(upstreams: Usage, tokens: Tokens, isEstimated: boolean): object {
	const { input, output, cached, reasoning } = tokens;
	const {
		cost,
		cost_in_usd_ticks,
		prompt_tokens_details: read,
		completion_tokens_details: written,
		...rest
	} = upstreams;
	const others: Record<string, unknown> = { ...rest };
	for (const name of COUNTS) {
		const count = numberIn(others[name], MOST_TOKENS);
		if (count === undefined) delete others[name];
		else others[name] = Math.ceil(count);
	}
	const parts = (details: unknown, name: string, count: number | undefined) =>
		count === undefined ? objectIn(details) && whole(details) : { ...whole(details), [name]: count };
	const inputDetails = parts(read, "cached_tokens", cached);
	const outputDetails = parts(written, "reasoning_tokens", reasoning);
	const usd = numberIn(cost, MOST_USD);
	const ticks = numberIn(cost_in_usd_ticks, Number.MAX_SAFE_INTEGER);
	return {
		...others,
		prompt_tokens: input,
		completion_tokens: output,
		total_tokens: input + output,
		...(inputDetails ? { prompt_tokens_details: inputDetails } : {}),
		...(outputDetails ? { completion_tokens_details: outputDetails } : {}),
		...(usd === undefined ? {} : { cost: usd }),
		...(ticks === undefined ? {} : { cost_in_usd_ticks: ticks }),
		...(isEstimated ? { estimated: true } : {}),
	};
}

/** Further counts that upstreams have beside the three. */
const COUNTS = [
	"input_tokens",
	"output_tokens",
	"cached_tokens",
	"prompt_cache_hit_tokens",
	"prompt_cache_miss_tokens",
];

/** The details without what is no count. */
function whole(details: unknown): object {
	return Object.fromEntries(
		Object.entries(objectIn(details) ?? {}).filter(([, count]) => typeof count === "object" || isCount(count)),
	);
}

/**
 * Whether clients can read a `usage` as it is: the three counts are whole numbers within bounds (an embedding has no answer to count), and
 * no price is negative, endless or a text.
 */
export function isPlainUsage(value: unknown): boolean {
	const usage: Usage | undefined = objectIn(value);
	if (!usage) return false;
	const { cost, cost_in_usd_ticks: ticks } = usage;
	return (
		isCount(usage.prompt_tokens) &&
		(usage.completion_tokens === undefined || isCount(usage.completion_tokens)) &&
		isCount(usage.total_tokens, 2 * MOST_TOKENS) &&
		areCounts(usage.prompt_tokens_details) &&
		areCounts(usage.completion_tokens_details) &&
		(cost === undefined || cost === null || (typeof cost === "number" && cost >= 0 && cost <= MOST_USD)) &&
		(ticks === undefined ||
			ticks === null ||
			(typeof ticks === "number" && ticks >= 0 && ticks <= Number.MAX_SAFE_INTEGER))
	);
}

function isCount(value: unknown, most = MOST_TOKENS): boolean {
	return typeof value === "number" && value >= 0 && value <= most && Number.isInteger(value);
}

function areCounts(details: unknown): boolean {
	if (details === undefined || details === null) return true;
	if (typeof details !== "object") return false;
	for (const kind in details) {
		const count = (details as Record<string, unknown>)[kind];
		if (typeof count !== "object" && !isCount(count)) return false;
	}
	return true;
}
