/** The `usage` of an answer, or of a chunk of one, edited in its JSON text: counts put right, the cost added or taken out. */
import { type Edit, type Field, fieldNamed, fieldsOf, splice } from "./json.ts";
import { isCount, MAX_TOKENS, MAX_USD, numberIn, objectIn, type Tokens, type Usage } from "./usage.ts";

/** What vendors call the price of a call. */
const COSTS = ["cost", "cost_in_usd_ticks"];

/** Finds texts that may hold one: nothing but an escape could hide its name. */
export const MAY_TELL_COST = /"cost|\\u/;

/** Where a `usage` stands in a text. */
interface UsageSpan {
	readonly start: number;
	readonly end: number;
	/** Undefined where it is no object. */
	readonly fields: readonly Field[] | undefined;
}

/** The answer without a cost: one that is given a second time costs nothing. */
export function withoutCost(answer: string): string {
	const edits: Edit[] = [];
	for (const { key, start, end } of usageSpan(answer)?.fields ?? []) {
		if (COSTS.includes(key)) edits.push({ start, end, insert: "0" });
	}
	return edits.length === 0 ? answer : splice(answer, edits);
}

/** The answer with `usage.cost` in it, as OpenRouter has it; as it was where there is no usage, or a cost already. */
export function withCost(answer: string, usd: number): string {
	const plain = plainUsageEnd(answer);
	if (plain !== -1) return `${answer.slice(0, plain)},"cost":${decimal(usd)}${answer.slice(plain)}`;
	const span = usageSpan(answer);
	if (!span?.fields) return answer;
	for (const { key } of span.fields) if (key === "cost") return answer;
	// No exponent: some parsers of money take none.
	const last = span.fields.at(-1);
	const at = last?.end ?? span.start + 1;
	return `${answer.slice(0, at)}${last ? "," : ""}"cost":${decimal(usd)}${answer.slice(at)}`;
}

const USAGE = '"usage":';
/** A `usage` without a blank, of counts and of objects of counts. */
const PLAIN_USAGE = /\{"\w+":(?:\d+|null|\{[\w":,]*\})(?:,"\w+":(?:\d+|null|\{[\w":,]*\}))*\}/y;

/**
 * Where the last field of a plain `usage` ends, behind which there are plain fields alone; -1 where it is not so, or has a cost. Most are: no field of
 * it is looked at by itself.
 */
function plainUsageEnd(json: string): number {
	const key = json.lastIndexOf(`${USAGE}{`);
	// Behind a backslash it would be the end of some text.
	if (key < 1 || (json[key - 1] !== "," && json[key - 1] !== "{")) return -1;
	PLAIN_USAGE.lastIndex = key + USAGE.length;
	if (!PLAIN_USAGE.test(json)) return -1;
	const end = PLAIN_USAGE.lastIndex;
	PLAIN_END.lastIndex = end;
	return PLAIN_END.test(json) && !json.includes('"cost"', key) ? end - 1 : -1;
}

/** The answer with a usage of these counts, where it has none: its stream's client had not asked for it. */
export function withUsage(answer: string, tokens: Tokens | undefined, isEstimated: boolean): string {
	if (!tokens || usageSpan(answer)) return answer;
	return withShownUsage(answer, shownUsage({}, tokens, isEstimated), undefined);
}

/** The answer, or a chunk of one, with the counts of its `usage` put right; it may have none. JSON text of an object. */
export function withCounts(answer: string, tokens: Tokens, isEstimated: boolean): string {
	const span = usageSpan(answer);
	const before = span && objectIn(JSON.parse(answer.slice(span.start, span.end)));
	return withShownUsage(answer, shownUsage(before ?? {}, tokens, isEstimated), span);
}

/** The edit that puts this count into `usage.completion_tokens`; undefined where it has no such field. */
export function completionEdit(text: string, completion: number): Edit | undefined {
	const field = fieldNamed(usageSpan(text)?.fields ?? [], "completion_tokens");
	return field && { start: field.start, end: field.end, insert: String(completion) };
}

/** Where its `usage` stands; undefined where it has none. */
function usageSpan(json: string): UsageSpan | undefined {
	const atEnd = usageSpanAtEnd(json);
	if (atEnd) return atEnd;
	const field = fieldNamed(fieldsOf(json), "usage");
	if (!field) return undefined;
	const { start, end } = field;
	return { start, end, fields: json[start] === "{" ? fieldsOf(json, start) : undefined };
}

/** The same where only plain fields come behind it, as most upstreams have it: no walk over the whole answer. Undefined where that is not so. */
function usageSpanAtEnd(json: string): UsageSpan | undefined {
	const key = json.lastIndexOf(`${USAGE}{`);
	// Behind a backslash it would be the end of some text.
	if (key < 1 || (json[key - 1] !== "," && json[key - 1] !== "{")) return undefined;
	const start = key + USAGE.length;
	const fields = fieldsOf(json, start);
	const end = json.indexOf("}", fields.at(-1)?.end ?? start) + 1;
	PLAIN_END.lastIndex = end;
	return PLAIN_END.test(json) ? { start, end, fields } : undefined;
}

/** Some fields, and the one brace that ends an answer: what stands before them is the answer's own. */
const PLAIN_END = /(?:,"\w+":(?:"[\w.-]*"|null|\d+))*\}\s*$/y;

function withShownUsage(answer: string, usage: object, span: UsageSpan | undefined): string {
	const json = JSON.stringify(usage);
	if (span) return splice(answer, [{ start: span.start, end: span.end, insert: json }]);
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
		const count = numberIn(others[name], MAX_TOKENS);
		if (count === undefined) delete others[name];
		else others[name] = Math.ceil(count);
	}
	const parts = (details: unknown, name: string, count: number | undefined) =>
		count === undefined ? objectIn(details) && whole(details) : { ...whole(details), [name]: count };
	const inputDetails = parts(read, "cached_tokens", cached);
	const outputDetails = parts(written, "reasoning_tokens", reasoning);
	const usd = numberIn(cost, MAX_USD);
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

/** A number as JSON without an exponent, to 1e-12. */
export function decimal(usd: number): string {
	const text = String(usd);
	return text.includes("e") ? usd.toFixed(12).replace(/\.?0+$/, "") : text;
}
