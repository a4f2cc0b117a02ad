/**
 * `router init --prometheus-rules`: recording and alerting rules for Prometheus ≥ 2.42, over the metrics of routers and agents (./metrics.md).
 * One table each; the file is made of them, and tests read them. Everything is kept apart by `job`: an agent counts the calls that its
 * router sends it under the same names.
 */
import { stringify } from "yaml";

/** A recording rule: a series that Prometheus computes at each evaluation. */
export interface RecordingRule {
	/** `level:metric:operations`, as Prometheus's naming conventions have it. */
	readonly record: string;
	/** PromQL. */
	readonly expr: string;
}

/** An alerting rule. */
export interface AlertingRule {
	readonly alert: string;
	/** PromQL: each series of its result is an alert. */
	readonly expr: string;
	/** How long it must hold. Default: it fires at once. */
	readonly for?: string;
	/** `page`: calls suffer now. `ticket`: somebody should look in working hours. */
	readonly severity: "page" | "ticket";
	/** One line, with Prometheus's templates. */
	readonly summary: string;
	/** What to do, and where to look. */
	readonly description: string;
}

/** Streams are to have their first token within so many seconds: a bucket of the histogram. Prometheus 3 writes it `5.0`. */
const FIRST_TOKEN_GOAL = 5;
const GOAL_BUCKET = `le=~"${FIRST_TOKEN_GOAL}([.]0)?"`;
/** The share of streams that may take longer. */
const SLOW_BUDGET = 0.05;
/** Windows in which shares are computed: a pair for fast, a pair for slow burning. */
const WINDOWS = ["5m", "30m", "1h", "6h"] as const;

/** The share of calls that failed on the side of the router or its upstreams; 0, not nothing, where none did. */
const errorRatio = (window: string) => {
	const of = (labels: string) => `sum by (job, model) (rate(router_requests_total${labels}[${window}]))`;
	return `(${of('{status=~"5.."}')} or 0 * ${of("")}) / (${of("")} > 0)`;
};

/** The share of streams whose first token came too late. */
const slowRatio = (window: string) => {
	const of = (suffix: string) => `sum by (job, model) (rate(router_time_to_first_token_seconds_${suffix}[${window}]))`;
	return `1 - ${of(`bucket{${GOAL_BUCKET}}`)} / (${of("count")} > 0)`;
};

/**
 * A counter that went up in the last quarter of an hour. A counter with labels is not there before its first event, which `increase` alone
 * does not see; where Prometheus itself was not there before, nothing is known of when that was.
 */
const wentUp = (metric: string) =>
	`increase(${metric}[15m]) > 0 or (${metric} unless ${metric} offset 15m) > 0 and on (job, instance) ` +
	"(up offset 15m or time() - router_process_start_time_seconds < 900)";

/** Fast and slow burning, as in Google's SRE workbook: so many times the budget, in a long window and still in a short one. */
const burning = (ratio: string, [long, short]: readonly [string, string], times: number) => {
	const over = (window: string) => `${ratio}_${window} > ${Number((times * SLOW_BUDGET).toFixed(3))}`;
	return `${over(long)} and ${over(short)}`;
};

/** The share of copies that came to no comparison. Calls that do more than being answered are never copied, and a router that stops copies none. */
const unanswered = (window: string) => {
	const of = (outcome: string) => `sum by (job, model, to) (rate(router_shadow_calls_total{${outcome}}[${window}]))`;
	return `${of('outcome!~"compared|effects|draining"')} / (${of('outcome!~"effects|draining"')} > 0)`;
};
const MOST_UNANSWERED = 0.5;
/** Somebody has to find another model, and try it. */
const RETIRES_SOON_DAYS = 30;

/** All recording rules, which the alerting rules may name. */
export const RECORDING_RULES: readonly RecordingRule[] = [
	{ record: "job_model:router_requests:rate5m", expr: "sum by (job, model) (rate(router_requests_total[5m]))" },
	...WINDOWS.slice(0, 1).map((window) => ({
		record: `job_model:router_requests:error_ratio_${window}`,
		expr: errorRatio(window),
	})),
	...WINDOWS.map((window) => ({
		record: `job_model:router_time_to_first_token:slow_ratio_${window}`,
		expr: slowRatio(window),
	})),
	...[0.5, 0.95].map((quantile) => ({
		record: `job_model:router_time_to_first_token_seconds:p${quantile * 100}_5m`,
		expr: `histogram_quantile(${quantile}, sum by (job, model, le) (rate(router_time_to_first_token_seconds_bucket[5m])))`,
	})),
	{
		record: "job_model_direction:router_tokens:rate5m",
		expr: "sum by (job, model, direction) (rate(router_tokens_total[5m]))",
	},
	{ record: "job_model:router_cost_usd:rate1h", expr: "sum by (job, model) (rate(router_cost_usd_total[1h]))" },
];

/** A router that has no Redis reads 0 in router_redis_up, too; one that has is known by an hour with it, or by what failed. */
const USES_REDIS =
	"max_over_time(router_redis_up[1h]) == 1 or sum by (job, instance) (router_redis_failures_total) > 0";

const SLOW = "job_model:router_time_to_first_token:slow_ratio";

/** All alerting rules. */
export const ALERTING_RULES: readonly AlertingRule[] = [
	{
		alert: "RouterErrors",
		expr: "job_model:router_requests:error_ratio_5m > 0.05",
		for: "5m",
		severity: "page",
		summary: "{{ $value | humanizePercentage }} of the calls of {{ $labels.model }} fail",
		description:
			"More than 5 % were answered with a 5xx. router_upstream_failures_total says of which provider and kind; `router why ID` tells one call's attempts.",
	},
	{
		alert: "RouterFirstTokenLate",
		expr: burning(SLOW, ["1h", "5m"], 14.4),
		for: "2m",
		severity: "page",
		summary: "{{ $value | humanizePercentage }} of the streams of {{ $labels.model }} begin late",
		description: `95 % are to have their first token within ${FIRST_TOKEN_GOAL} s; this model uses up what may be late 14 times too fast.`,
	},
	{
		alert: "RouterFirstTokenOftenLate",
		expr: burning(SLOW, ["6h", "30m"], 6),
		for: "15m",
		severity: "ticket",
		summary: "{{ $value | humanizePercentage }} of the streams of {{ $labels.model }} begin late, for hours",
		description: `95 % are to have their first token within ${FIRST_TOKEN_GOAL} s; this model uses up what may be late 6 times too fast.`,
	},
	{
		alert: "RouterBreakerOpen",
		expr: "max by (job, instance, target) (router_breaker_state) == 2",
		for: "5m",
		severity: "ticket",
		summary: "{{ $labels.target }} is out of use",
		description:
			"It failed too often and is tried again from time to time. Calls go to the model's other targets, where it has some.",
	},
	{
		alert: "RouterKeyRefused",
		expr: "router_keys_out_of_use > 0",
		for: "5m",
		severity: "ticket",
		summary: "{{ $labels.provider }} refuses {{ $value }} of the router's keys",
		description: "Look whether a key was revoked, or its account is out of money.",
	},
	{
		alert: "RouterBudgetSpent",
		expr: wentUp('router_limited_calls_total{by="budget"}'),
		severity: "ticket",
		summary: "Calls are refused since a budget is spent ({{ $labels.counts }})",
		description: "`router usage --by key` says whose it is.",
	},
	{
		alert: "RouterSessionBudgetSpent",
		expr: wentUp('router_limited_calls_total{by="session"}'),
		severity: "ticket",
		summary: "{{ $labels.instance }} refuses calls of sessions that have spent their budgets",
		description: "`GET /admin/runaways` and the console name the sessions and their keys (`session_usd`).",
	},
	{
		alert: "RouterAgentRunsAway",
		expr: wentUp("router_runaway_calls_total"),
		severity: "ticket",
		summary: "An agent that calls {{ $labels.instance }} runs away ({{ $labels.kind }}: {{ $labels.action }})",
		description:
			"loop: it makes the same calls of tools again and again; spending: its key spends far more than it usually does. `GET /admin/runaways` and the console say whose it is.",
	},
	{
		alert: "RouterShadowFails",
		expr: `${unanswered("30m")} > ${MOST_UNANSWERED}`,
		for: "15m",
		severity: "ticket",
		summary:
			"{{ $value | humanizePercentage }} of the copies of {{ $labels.model }} for {{ $labels.to }} are not compared",
		description:
			"router_shadow_calls_total says why, by outcome: it failed, its budget is spent, nobody serves the model, or knows its price.",
	},
	{
		alert: "RouterModelRetires",
		expr: `router_model_retirement_timestamp_seconds - time() < ${RETIRES_SOON_DAYS} * 86400`,
		severity: "ticket",
		summary: "{{ $labels.target }}, a target of {{ $labels.model }}, is retired within a month, or already is",
		description: "Give the name another target. `router check` says when each ends, and so does the console.",
	},
	{
		alert: "RouterAgentGone",
		expr: 'sum by (job, instance, state) (router_agents{state=~"gone|unreachable"}) > 0',
		for: "5m",
		severity: "page",
		summary: "{{ $value }} agents are {{ $labels.state }}",
		description:
			"`router agents` lists them. gone: no heartbeat; unreachable: the router can't call it at the address it gave.",
	},
	{
		alert: "RouterEngineDied",
		expr: wentUp("router_engine_deaths_total"),
		severity: "ticket",
		summary: "The engine at {{ $labels.target }} died under its calls",
		description: "The agent's log has the engine's last lines and their cause.",
	},
	{
		alert: "RouterRedisAway",
		expr: `router_redis_up == 0 and on (job, instance) (${USES_REDIS})`,
		for: "2m",
		severity: "page",
		summary: "{{ $labels.instance }} does not reach the shared Redis",
		description: "Limits and budgets are this router's own until it answers (`router docs several-routers`).",
	},
	{
		alert: "RouterLedgerDown",
		expr: "router_ledger_up == 0",
		for: "1m",
		severity: "page",
		summary: "{{ $labels.instance }} can't write its ledger",
		description:
			"Most likely the disk of its data directory is full. What waits is in memory (router_ledger_waiting_calls).",
	},
	{
		alert: "RouterLedgerLost",
		expr: wentUp("router_ledger_lost_rows_total"),
		severity: "page",
		summary: "{{ $labels.instance }} lost rows of its ledger ({{ $labels.reason }})",
		description: "Those calls are in no usage report.",
	},
	{
		alert: "RouterLogLost",
		expr: wentUp("router_log_failures_total"),
		severity: "ticket",
		summary: "{{ $labels.instance }} could not write its log file",
		description: "Look at the disk and the rights of its log directory.",
	},
	{
		alert: "RouterSpansDropped",
		expr: wentUp("router_spans_dropped_total"),
		severity: "ticket",
		summary: "{{ $labels.instance }} dropped spans ({{ $labels.reason }})",
		description: "full, unreachable: the collector is away or too slow; refused: it does not take what it is sent.",
	},
	{
		alert: "RouterCrash",
		expr: wentUp("router_crashes_total"),
		severity: "ticket",
		summary: "{{ $labels.instance }} caught an exception of no call",
		description: "It runs on. The log has the stack: please report it.",
	},
	{
		alert: "RouterConfigRefused",
		expr: wentUp('router_config_reloads_total{result="refused"}'),
		severity: "ticket",
		summary: "{{ $labels.instance }} runs on with its old configuration",
		description: "`router check` says what is wrong with the new one.",
	},
	{
		alert: "AgentModelFailed",
		expr: 'router_agent_model_state{state="failed"} == 1',
		for: "5m",
		severity: "page",
		summary: "{{ $labels.model }} has no replica on {{ $labels.instance }}",
		description: "`router models` says why and what to do.",
	},
	{
		alert: "AgentCallsWait",
		expr: "router_agent_queue_oldest_seconds > 300",
		severity: "page",
		summary: "A call of {{ $labels.model }} on {{ $labels.instance }} waits for {{ $value | humanizeDuration }}",
		description: "No replica is ready: it is loading, or others hold the memory (`router models`).",
	},
	{
		alert: "AgentDockerDown",
		expr: "router_agent_docker_up == 0",
		for: "2m",
		severity: "page",
		summary: "{{ $labels.instance }} can't use Docker",
		description: "Containers run on, but none is started or replaced.",
	},
	{
		alert: "AgentGpuHot",
		expr: "router_agent_gpu_temperature_celsius > 87",
		for: "5m",
		severity: "ticket",
		summary: "GPU {{ $labels.gpu }} of {{ $labels.instance }} has {{ $value }} °C",
		description: "Most GPUs slow down from 85 to 90 °C on. Look at its fans and the air of its rack.",
	},
];

/** The rules as a file of Prometheus's (`rule_files`), with a line end. */
export function prometheusRules(): string {
	const alerts = ALERTING_RULES.map(({ severity, summary, description, ...rule }) => ({
		...rule,
		labels: { severity },
		annotations: { summary, description },
	}));
	const groups = [
		{ name: "router-recording", rules: RECORDING_RULES },
		{ name: "router-alerts", rules: alerts },
	];
	return `# Rules for Prometheus, made by \`router init --prometheus-rules\`; \`router docs metrics\` says how to use them.\n${stringify({ groups }, { lineWidth: 0, aliasDuplicateObjects: false })}`;
}
