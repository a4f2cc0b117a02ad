/**
 * `router init --grafana`: a dashboard for Grafana ≥ 11 over the metrics of routers and agents (./metrics.md), made of one table of panels.
 * It needs no rules of ./prometheus-rules.ts. The data source, the job and the instances are variables of the dashboard.
 */

/** Grafana's names of units. */
export type PanelUnit = "reqps" | "percentunit" | "s" | "short" | "currencyUSD" | "bytes" | "celsius" | "watt" | "cps";

/** A panel: a time series of one or several queries. */
export interface Panel {
	readonly title: string;
	/** One sentence: what it tells, and what to make of it. */
	readonly description: string;
	readonly unit: PanelUnit;
	/** Of each its PromQL, and what its lines are called (Grafana's `{{label}}`). */
	readonly queries: readonly { readonly expr: string; readonly legend: string }[];
}

/** Panels under a heading. */
export interface PanelRow {
	readonly title: string;
	readonly panels: readonly Panel[];
}

/** What each query is about: what the dashboard's variables have chosen. */
const OF_ROUTER = 'job=~"$job",instance=~"$instance"';
const OF_AGENT = 'job=~"$agent_job",instance=~"$agent"';
/** Grafana's own: at least four times the time between two scrapes. */
const WINDOW = "$__rate_interval";

const rate = (metric: string, labels = "") => `rate(${metric}{${OF_ROUTER}${labels && `,${labels}`}}[${WINDOW}])`;
const sumRate = (by: string, metric: string, labels = "") => `sum by (${by}) (${rate(metric, labels)})`;
const quantile = (q: number, by: string, metric: string) =>
	`histogram_quantile(${q}, sum by (le, ${by}) (${rate(`${metric}_bucket`)}))`;
const one = (expr: string, legend: string) => [{ expr, legend }];
const quantiles = (metric: string) =>
	[0.5, 0.95].map((q) => ({ expr: quantile(q, "model", metric), legend: `{{model}} p${q * 100}` }));

/** All rows, from what callers feel to the hardware. */
export const DASHBOARD: readonly PanelRow[] = [
	{
		title: "Calls",
		panels: [
			{
				title: "Calls a second",
				description: "Settled calls, by model.",
				unit: "reqps",
				queries: one(sumRate("model", "router_requests_total"), "{{model}}"),
			},
			{
				title: "Failed calls",
				description: "The share that was answered with a 5xx, by model.",
				unit: "percentunit",
				queries: one(
					`(${sumRate("model", "router_requests_total", 'status=~"5.."')} or 0 * ${sumRate("model", "router_requests_total")}) / (${sumRate("model", "router_requests_total")} > 0)`,
					"{{model}}",
				),
			},
			{
				title: "Time to the first token",
				description: "Of streams, median and 95th percentile.",
				unit: "s",
				queries: quantiles("router_time_to_first_token_seconds"),
			},
			{
				title: "Duration",
				description: "From a call's arrival to the end of its answer, median and 95th percentile.",
				unit: "s",
				queries: quantiles("router_request_duration_seconds"),
			},
			{
				title: "Calls under way",
				description: "By router.",
				unit: "short",
				queries: one(`sum by (instance) (router_in_flight_requests{${OF_ROUTER}})`, "{{instance}}"),
			},
			{
				title: "Calls by status",
				description: "What clients got; 499: the client left.",
				unit: "reqps",
				queries: one(sumRate("status", "router_requests_total"), "{{status}}"),
			},
		],
	},
	{
		title: "Tokens and money",
		panels: [
			{
				title: "Tokens a second",
				description: "As upstreams count them; cached is part of input, reasoning of output.",
				unit: "cps",
				queries: one(sumRate("direction", "router_tokens_total"), "{{direction}}"),
			},
			{
				title: "USD an hour",
				description: "What calls cost at this pace; calls without a price are not in it.",
				unit: "currencyUSD",
				queries: one(`3600 * ${sumRate("model", "router_cost_usd_total")}`, "{{model}}"),
			},
			{
				title: "Calls kept out",
				description: "By limits and budgets: whose, and of what.",
				unit: "reqps",
				queries: one(sumRate("by, counts", "router_limited_calls_total"), "{{by}}: {{counts}}"),
			},
			{
				title: "Calls of sessions that have spent their budgets",
				description: "Refused, by router; `GET /admin/runaways` names the sessions and their keys.",
				unit: "reqps",
				queries: one(sumRate("instance", "router_limited_calls_total", 'by="session"'), "{{instance}}"),
			},
			{
				title: "Calls of agents that run away",
				description:
					"loop: the same calls of tools again and again; spending: a key spends far more than usual; and what was done.",
				unit: "reqps",
				queries: one(sumRate("kind, action", "router_runaway_calls_total"), "{{kind}}: {{action}}"),
			},
		],
	},
	{
		title: "Upstreams",
		panels: [
			{
				title: "Failed attempts",
				description: "By provider and kind; calls may have been answered elsewhere all the same.",
				unit: "reqps",
				queries: one(sumRate("provider, kind", "router_upstream_failures_total"), "{{provider}}: {{kind}}"),
			},
			{
				title: "Targets out of use",
				description: "2: out of use, 1: being tried, 0: back.",
				unit: "short",
				queries: one(`max by (target) (router_breaker_state{${OF_ROUTER}})`, "{{target}}"),
			},
			{
				title: "Agents",
				description: "By whether they are heard of and can be called.",
				unit: "short",
				queries: one(`max by (state) (router_agents{${OF_ROUTER}})`, "{{state}}"),
			},
			{
				title: "Until models retire",
				description: "Of targets of names in `models:`, as their vendors say; 0: they are retired.",
				unit: "s",
				queries: one(
					`clamp_min(min by (model, target) (router_model_retirement_timestamp_seconds{${OF_ROUTER}}) - time(), 0)`,
					"{{model}}: {{target}}",
				),
			},
		],
	},
	{
		title: "Shadow calls",
		panels: [
			{
				title: "Copies a second",
				description: "By what became of them: compared, failed, or why there was none.",
				unit: "reqps",
				queries: one(sumRate("model, to, outcome", "router_shadow_calls_total"), "{{model}} → {{to}}: {{outcome}}"),
			},
			{
				title: "The same in both answers",
				description: "The share of compared answers that end for the same reason, and that ask for the same tools.",
				unit: "percentunit",
				queries: one(
					`(${sumRate("model, to, what", "router_shadow_comparisons_total", 'same="true"')} or 0 * ${sumRate("model, to, what", "router_shadow_comparisons_total")}) / (${sumRate("model, to, what", "router_shadow_comparisons_total")} > 0)`,
					"{{model}} → {{to}}: {{what}}",
				),
			},
			{
				title: "USD an hour, copies and callers",
				description: "What copies cost, those that failed too, and the callers' answers that they were compared with.",
				unit: "currencyUSD",
				queries: one(
					`3600 * ${sumRate("model, to, whose", "router_shadow_cost_usd_total")}`,
					"{{model}} → {{to}}: {{whose}}",
				),
			},
		],
	},
	{
		title: "Routers",
		panels: [
			{
				title: "Memory",
				description: "Resident.",
				unit: "bytes",
				queries: one(`router_process_resident_memory_bytes{${OF_ROUTER}}`, "{{instance}}"),
			},
			{
				title: "CPU",
				description: "Of one core.",
				unit: "percentunit",
				queries: one(`sum by (instance) (${rate("router_process_cpu_seconds_total")})`, "{{instance}}"),
			},
			{
				title: "Ledger: calls that wait",
				description: "More than a few: the disk is slow, full or away.",
				unit: "short",
				queries: one(`router_ledger_waiting_calls{${OF_ROUTER}}`, "{{instance}}"),
			},
		],
	},
	{
		title: "GPU hosts",
		panels: [
			{
				title: "Calls that run",
				description: "In a model's containers.",
				unit: "short",
				queries: one(`sum by (model) (router_agent_running_requests{${OF_AGENT}})`, "{{model}}"),
			},
			{
				title: "Calls that wait",
				description: "For a model to be ready.",
				unit: "short",
				queries: one(`sum by (model) (router_agent_queue_length{${OF_AGENT}})`, "{{model}}"),
			},
			{
				title: "Models by state",
				description: "Counted over all agents.",
				unit: "short",
				queries: one(`sum by (state) (router_agent_model_state{${OF_AGENT}})`, "{{state}}"),
			},
			{
				title: "GPU memory in use",
				description: "By any process, of all of it.",
				unit: "percentunit",
				queries: one(
					`router_agent_gpu_memory_used_bytes{${OF_AGENT}} / router_agent_gpu_memory_bytes{${OF_AGENT}}`,
					"{{instance}} {{gpu}}",
				),
			},
			{
				title: "GPU heat",
				description: "Most GPUs slow down from 85 to 90 °C on.",
				unit: "celsius",
				queries: one(`router_agent_gpu_temperature_celsius{${OF_AGENT}}`, "{{instance}} {{gpu}}"),
			},
			{
				title: "GPU power",
				description: "What each draws.",
				unit: "watt",
				queries: one(`router_agent_gpu_power_watts{${OF_AGENT}}`, "{{instance}} {{gpu}}"),
			},
		],
	},
];

/** Three panels stand side by side on Grafana's 24 columns. */
const WIDTH = 8;
const HEIGHT = 8;
const DATASOURCE = { type: "prometheus", uid: "${datasource}" };

/** A variable of the dashboard: values of a label of a metric. */
const chosen = (name: string, label: string, metric: string, shown: string) => ({
	name,
	label: shown,
	type: "query",
	datasource: DATASOURCE,
	definition: `label_values(${metric}, ${label})`,
	query: { query: `label_values(${metric}, ${label})`, refId: name },
	includeAll: true,
	multi: true,
	current: { text: "All", value: "$__all" },
	refresh: 2,
	sort: 1,
});

/** The dashboard as JSON, as Grafana imports it, with a line end. */
export function grafanaDashboard(): string {
	const dashboard = {
		title: "LLM router",
		uid: "llm-router",
		tags: ["router", "llm"],
		schemaVersion: 39,
		editable: true,
		graphTooltip: 1,
		refresh: "30s",
		time: { from: "now-1h", to: "now" },
		annotations: { list: [] },
		templating: {
			list: [
				{ name: "datasource", label: "Data source", type: "datasource", query: "prometheus" },
				chosen("job", "job", 'router_info{role="router"}', "Routers' job"),
				chosen("instance", "instance", 'router_info{role="router",job=~"$job"}', "Router"),
				chosen("agent_job", "job", "router_agent_docker_up", "Agents' job"),
				chosen("agent", "instance", 'router_agent_docker_up{job=~"$agent_job"}', "Agent"),
			],
		},
		panels: placed(),
	};
	return `${JSON.stringify(dashboard, null, "\t")}\n`;
}

/** Rows and panels with their ids and places, from top to bottom. */
function placed(): object[] {
	const panels: object[] = [];
	let y = 0;
	for (const row of DASHBOARD) {
		panels.push({
			...{ id: panels.length + 1, type: "row", title: row.title, collapsed: false, panels: [] },
			gridPos: { h: 1, w: 3 * WIDTH, x: 0, y },
		});
		y++;
		for (const [at, panel] of row.panels.entries()) {
			const place = { h: HEIGHT, w: WIDTH, x: (at % 3) * WIDTH, y: y + Math.floor(at / 3) * HEIGHT };
			panels.push(timeSeries(panel, panels.length + 1, place));
		}
		y += Math.ceil(row.panels.length / 3) * HEIGHT;
	}
	return panels;
}

function timeSeries({ title, description, unit, queries }: Panel, id: number, gridPos: object): object {
	return {
		...{ id, type: "timeseries", title, description, gridPos, datasource: DATASOURCE },
		fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
		options: {
			legend: { showLegend: true, displayMode: "list", placement: "bottom", calcs: [] },
			tooltip: { mode: "multi", sort: "desc" },
		},
		targets: queries.map(({ expr, legend }, at) => ({
			...{ refId: String.fromCharCode(65 + at), datasource: DATASOURCE, expr, legendFormat: legend },
		})),
	};
}
