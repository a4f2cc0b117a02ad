/** A plan in words: every candidate, with what was known of it and why it stands where it stands. Pure. */
import type { Judged } from "./judge.ts";
import type { Needs } from "./needs.ts";
import type { Plan } from "./plan.ts";
import type { Kind, Policy, Route, RouteTarget, Tier } from "./route.ts";

/** One candidate. Numbers that were not known are absent. */
export interface Candidate {
	/** 1 is tried first; absent where it is no candidate for this call. */
	readonly rank?: number | undefined;
	readonly id: string;
	readonly provider: string;
	readonly model: string;
	readonly agent?: string | undefined;
	readonly tier: Tier;
	readonly kind: Kind;
	/** Least first, among those of its kind and tier; absent where there was nothing to choose. */
	readonly score?: number | undefined;
	readonly reason: string;
	readonly inputs: Inputs;
}

/** What its score was made of. */
export interface Inputs {
	readonly in_flight?: number;
	readonly queued_characters?: number;
	readonly uncached_characters?: number;
	readonly wait_ms?: number;
	readonly time_ms?: number;
	readonly cost_usd?: number;
	readonly context?: number;
	readonly breaker?: string;
}

/** The whole of it. */
export interface Explanation {
	/** As the client wrote it. */
	readonly model: string;
	/** How the name led here. */
	readonly route: string;
	readonly policy: Policy;
	readonly max_wait_ms?: number | undefined;
	/** What the call asks for. */
	readonly call: {
		readonly operation: Needs["operation"];
		readonly stream: boolean;
		readonly characters: number;
		readonly tokens: number;
		readonly max_tokens?: number | undefined;
		readonly needs: Needs["features"];
		readonly has_session: boolean;
	};
	readonly candidates: readonly Candidate[];
}

/** What a plan was made of, and the plan. `now`: when, on the state's clock. */
export interface Explained {
	readonly model: string;
	readonly needs: Needs;
	readonly route: Route;
	readonly plan: Plan;
	readonly now: number;
}

/** The explanation, as JSON shows it, of the best `most` candidates. */
export function explain({ model, needs, route, plan, now }: Explained, most = plan.judged.length): Explanation {
	const { operation, isStream, characters, tokens, maxTokens, features, session } = needs;
	return {
		model: model.slice(0, 200),
		route: route.reason,
		policy: route.alias?.policy ?? "balanced",
		max_wait_ms: route.alias?.max_wait,
		call: {
			operation,
			stream: isStream,
			characters,
			tokens,
			max_tokens: maxTokens,
			needs: features,
			has_session: session !== undefined,
		},
		candidates: plan.judged.slice(0, most).map((judged, at) => candidate(judged, at, plan.judged, now)),
	};
}

function head({ id, provider, model, agent, tier = "targets", kind = "cloud" }: RouteTarget) {
	return { id, provider: provider.name, model, agent, tier, kind };
}

function candidate(judged: Judged, at: number, all: readonly Judged[], now: number): Candidate {
	const { target, missing, score, inFlight, queued, uncached, waitMs, timeMs, cost, view } = judged;
	const { kind } = head(target);
	const isOwn = kind !== "cloud";
	return {
		rank: missing === undefined ? at + 1 : undefined,
		...head(target),
		score: Number.isFinite(score) ? round(score) : undefined,
		reason: reasonOf(judged, at, all, now),
		inputs: {
			in_flight: inFlight,
			...(kind === "local" && { queued_characters: queued, uncached_characters: uncached }),
			...(isOwn && Number.isFinite(waitMs) && { wait_ms: Math.round(waitMs) }),
			...(timeMs !== undefined && { time_ms: Math.round(timeMs) }),
			...(cost !== undefined && { cost_usd: round(cost) }),
			...(target.context !== undefined && { context: target.context }),
			...(view.breaker.state !== "closed" && { breaker: view.breaker.state }),
		},
	};
}

const FEATURES = {
	tools: "takes no tools",
	images: "takes no images",
	schema: "can't be held to a JSON schema",
	embeddings: "makes no embeddings",
} as const;

function reasonOf(judged: Judged, at: number, all: readonly Judged[], now: number): string {
	const { setback, missing, target, view, waitMs } = judged;
	const text = at === 0 ? chosen(judged, all) : passed(judged, all[at - 1]!);
	switch (setback) {
		case "missing":
			return FEATURES[missing!];
		case "open":
			return `failed too often: tried last, and again in ${seconds(view.breaker.probeAt - now)}`;
		case "paused":
			return `${view.pausedFor}: tried last for ${seconds(view.pausedUntil - now)}`;
		case "keyless":
			return "has no key or address: tried last";
		case "late":
			return "its agent was not heard of lately: used where nothing else serves";
		case "long":
			return `the prompt is longer than its context of ${target.context} tokens`;
		case "busy":
			return Number.isFinite(waitMs)
				? `its queue makes a call wait ${seconds(waitMs)}, longer than max_wait`
				: "its model is being loaded, which takes longer than max_wait";
		default:
			return judged.isIgnored ? `${text}; its breaker is open, as most are, and so not heeded` : text;
	}
}

const CHOSEN = {
	load: "least uncached prompt × load",
	"price and time": "best price × time",
	price: "cheapest",
	time: "fastest",
	order: "first in order",
	session: "has the session's last calls",
	probe: "tried, to find out whether it is well again",
	ramp: "coming back, and nothing else is there",
} as const;

function chosen({ basis, target: { kind } }: Judged, all: readonly Judged[]): string {
	if (all.length === 1) return "the only one";
	return basis === "load" && kind === "llm-d" ? "llm-d comes before vendors" : CHOSEN[basis];
}

/** Why it stands behind the one before it. */
function passed(judged: Judged, before: Judged): string {
	const { target, basis } = judged;
	if (basis === "ramp") return "coming back: gets its share little by little";
	if (before.setback !== judged.setback) return "tried last";
	if (head(before.target).tier !== head(target).tier) return "fallback: where no target answers";
	if (before.group !== judged.group) {
		if (basis === "order" || before.target.place !== target.place) return standing(judged) ?? "later in order";
		return standing(judged) ?? `${KINDS[head(target).kind]} later`;
	}
	if (before.score === judged.score) return "as good as the one before it";
	const what = {
		load: "more uncached prompt × load",
		price: "dearer",
		time: "slower",
		"price and time": "worse price × time",
	};
	return (what as Partial<Record<string, string>>)[basis] ?? "later in order";
}

const KINDS: Record<Kind, string> = { local: "own replicas come", "llm-d": "llm-d comes", cloud: "vendors come" };

function standing({ target }: Judged): string | undefined {
	return target.standing ? "its model has yet to be loaded" : undefined;
}

/** The same as a table for people, with a line end. */
export function explanationText(explanation: Explanation): string {
	const { model, route, policy, max_wait_ms, call, candidates } = explanation;
	const needs = call.needs.length > 0 ? `, needs ${call.needs.join(", ")}` : "";
	const rows = candidates.map(({ rank, id, agent, score, inputs, reason }) => [
		rank === undefined ? "–" : String(rank),
		agent === undefined ? id : `${id}`,
		score === undefined ? "" : String(score),
		inputsText(inputs),
		reason,
	]);
	const table = [["", "target", "score", "inputs", "why"], ...rows];
	const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => row[column]!.length)));
	return [
		`${model}: ${route}, policy ${policy}${max_wait_ms === undefined ? "" : `, max_wait ${seconds(max_wait_ms)}`}`,
		`${call.operation}${call.stream ? ", streamed" : ""}, about ${call.tokens} tokens${needs}`,
		"",
		...table.map((row) =>
			row
				.map((cell, column) => cell.padEnd(widths[column] ?? 0))
				.join("  ")
				.trimEnd(),
		),
		"",
	].join("\n");
}

const INPUT_NAMES: Record<keyof Inputs, string> = {
	in_flight: "in flight",
	queued_characters: "queued",
	uncached_characters: "uncached",
	wait_ms: "wait ms",
	time_ms: "time ms",
	cost_usd: "USD",
	context: "context",
	breaker: "breaker",
};

function inputsText(inputs: Inputs): string {
	return Object.entries(inputs)
		.map(([name, value]) => `${INPUT_NAMES[name as keyof Inputs] ?? name} ${value}`)
		.join(", ");
}

/** Three digits that say something. */
const round = (value: number): number => Number(value.toPrecision(4));
const seconds = (ms: number): string => `${Math.max(0, Math.round(ms / 100) / 10)} s`;
