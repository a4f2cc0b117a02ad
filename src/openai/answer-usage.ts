/** The `usage` of a whole answer, edited in its text. */
import { type Edit, fieldNamed, fieldsOf, splice } from "./json.ts";
import type { Tokens } from "./usage.ts";

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
export function withUsage(answer: string, tokens: Tokens | undefined): string {
	const fields = fieldsOf(answer);
	if (!tokens || fieldNamed(fields, "usage")) return answer;
	const { input, output, cached, reasoning } = tokens;
	const usage = {
		prompt_tokens: input,
		completion_tokens: output,
		total_tokens: input + output,
		...(cached === undefined ? {} : { prompt_tokens_details: { cached_tokens: cached } }),
		...(reasoning === undefined ? {} : { completion_tokens_details: { reasoning_tokens: reasoning } }),
	};
	const end = answer.lastIndexOf("}");
	return `${answer.slice(0, end)}${fields.length > 0 ? "," : ""}"usage":${JSON.stringify(usage)}}`;
}
