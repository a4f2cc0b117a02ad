/** What `/metrics` shows of copies of calls that other models get (`shadow` of a model). Callers' own metrics know nothing of them. */
import type { CallSettled, ShadowOutcome } from "./events.ts";
import { boundedLabels } from "./labels.ts";
import { Counter, type Registry } from "./prometheus.ts";

/** Models that have a label of their own; those that ask, and those that copies go to. */
const MOST_MODELS = 100;
/** Longest label, characters. */
const LONGEST = 100;
/** What is compared. */
type Compared = "finish_reason" | "tool_calls";
/** Whose a time, a cost or a length is: the caller's answer, or that of the copy. */
type Whose = "caller" | "shadow";

/** Counts copies. */
export class ShadowMetrics {
	readonly #metrics: ReturnType<typeof shadowMetrics>;
	readonly #label = boundedLabels(2 * MOST_MODELS);

	/** Adds them to a registry. */
	constructor(registry: Registry) {
		this.#metrics = shadowMetrics(registry);
	}

	/** A sampled call was not copied, or its copy got no answer. */
	dropped(model: string, to: string, outcome: ShadowOutcome): void {
		this.#metrics.calls.inc({ ...this.#labels(model, to), outcome });
	}

	/** A copy is over. */
	settled({ shadow, status, requested = "", ms, firstTokenMs, tokens, cost }: CallSettled): void {
		if (!shadow) return;
		const { calls, compared, seconds, firstTokenSeconds, tokens: lengths, cost: costs } = this.#metrics;
		const labels = this.#labels(shadow.model, requested);
		if (cost) costs.inc({ ...labels, whose: "shadow" }, counted(cost));
		if (status >= 400) {
			calls.inc({ ...labels, outcome: "failed" });
			return;
		}
		calls.inc({ ...labels, outcome: "compared" });
		const add = (metric: Counter<"model" | "to" | "whose">, whose: Whose, value: number | undefined) =>
			metric.inc({ ...labels, whose }, counted(value));
		add(seconds, "caller", shadow.ms / 1000);
		add(seconds, "shadow", ms / 1000);
		if (shadow.first_token_ms !== undefined && firstTokenMs !== undefined) {
			add(firstTokenSeconds, "caller", shadow.first_token_ms / 1000);
			add(firstTokenSeconds, "shadow", firstTokenMs / 1000);
		}
		add(lengths, "caller", shadow.tokens_out);
		add(lengths, "shadow", tokens?.output);
		if (shadow.cost_usd) costs.inc({ ...labels, whose: "caller" }, counted(shadow.cost_usd));
		const count = (what: Compared, same: boolean | undefined) => {
			if (same !== undefined) compared.inc({ ...labels, what, same: String(same) });
		};
		count("finish_reason", shadow.same_finish_reason);
		count("tool_calls", shadow.same_tool_calls);
	}

	#labels(model: string, to: string) {
		return { model: this.#label(model.slice(0, LONGEST)), to: this.#label(to.slice(0, LONGEST)) };
	}
}

/** prom-client throws on what is no number. */
const counted = (value: number | undefined): number =>
	value !== undefined && value > 0 && value < Number.POSITIVE_INFINITY ? value : 0;

function shadowMetrics(registry: Registry) {
	const counter = <L extends string>(name: string, help: string, more: L[]) =>
		new Counter({
			name: `router_shadow_${name}`,
			help,
			labelNames: ["model" as const, "to" as const, ...more],
			registers: [registry],
		});
	return {
		calls: counter("calls_total", "Calls chosen to be copied to another model, by what became of the copy.", [
			"outcome" as const,
		]),
		compared: counter("comparisons_total", "What was compared of two answers, and whether it was the same.", [
			"what" as const,
			"same" as const,
		]),
		seconds: counter("seconds_total", "How long answers took that were compared.", ["whose" as const]),
		firstTokenSeconds: counter("first_token_seconds_total", "How long their first tokens took, of streams.", [
			"whose" as const,
		]),
		tokens: counter("tokens_total", "Tokens of answers that were compared.", ["whose" as const]),
		cost: counter(
			"cost_usd_total",
			"USD: what copies cost, those that failed too, and what callers' answers did that were compared.",
			["whose" as const],
		),
	};
}
