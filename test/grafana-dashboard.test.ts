/** `router init --grafana`: what Grafana needs to import it; test/prometheus-scrapes.test.ts asks a real Prometheus its queries. */
import { expect, test } from "bun:test";
import { agentMetrics, type MetricsSources } from "../src/agent/agent-metrics.ts";
import { parseCommand } from "../src/cli/flags.ts";
import { DASHBOARD, grafanaDashboard, type Panel } from "../src/telemetry/grafana-dashboard.ts";
import { createMetrics } from "../src/telemetry/metrics.ts";
import { cli, directory } from "./kit/cli.ts";

const panels = DASHBOARD.flatMap(({ panels }) => panels);
const queries = panels.flatMap(({ queries }) => queries);

/** The units that fit a query, by how it is made and by the suffix of its metric. */
function fitting(expr: string): readonly Panel["unit"][] {
	const isRate = expr.includes("rate(");
	if (expr.startsWith("histogram_quantile(")) return expr.includes("_seconds_bucket{") ? ["s"] : [];
	if (expr.includes(") / (") || / \/ router_\w+_bytes\{/.test(expr)) return ["percentunit"];
	if (isRate && expr.includes("cpu_seconds_total{")) return ["percentunit"];
	if (isRate && expr.includes("_usd_total{")) return ["currencyUSD"];
	if (isRate) return expr.includes("_total{") ? ["reqps", "cps"] : [];
	if (/_timestamp_seconds\{[^}]*\}\) - time\(\)/.test(expr)) return ["s"];
	if (/_(?:total|seconds|ratio)\{/.test(expr)) return [];
	if (expr.includes("_bytes{")) return ["bytes"];
	if (expr.includes("_celsius{")) return ["celsius"];
	return expr.includes("_watts{") ? ["watt"] : ["short"];
}

test("every panel names metrics that there are", async () => {
	const none = { registry: { all: () => [] }, gpus: { reading: { gpus: [] } }, engine: {}, inventory: { items: [] } };
	const sources = { ...none, statuses: {}, traffic: {} } as unknown as MetricsSources;
	const pages = (await createMetrics("router").text()) + (await agentMetrics(sources).text());
	const known = new Set([...pages.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name!));
	for (const { expr } of queries) {
		const named = [...expr.matchAll(/\brouter_\w+(?=\{)/g)].map(([name]) => name);
		expect(named.length).toBeGreaterThan(0);
		expect(named.filter((name) => !known.has(name.replace(/_bucket$/, "")))).toEqual([]);
	}
});

test.each(panels.map((panel) => [panel.title, panel] as const))("the unit of %s fits its metrics", (_, panel) => {
	for (const { expr } of panel.queries) expect(fitting(expr)).toContain(panel.unit);
});

test("the lines of a panel are told apart by labels that its query keeps", () => {
	for (const { expr, legend } of queries) {
		const shown = [...legend.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label!);
		expect(shown.length).toBeGreaterThan(0);
		const kept = /\bby \(([^)]*)\)/.exec(expr)?.[1]?.split(", ");
		if (kept) expect(shown.filter((label) => !kept.includes(label))).toEqual([]);
	}
});

interface Placed {
	readonly id: number;
	readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
}

test("no panel lies on another or beyond the 24 columns, and no id is there twice", () => {
	const { panels: placed } = JSON.parse(grafanaDashboard()) as { panels: Placed[] };
	expect(placed).toHaveLength(DASHBOARD.length + panels.length);
	const cells = placed.flatMap(({ gridPos: { x, y, w, h } }) => {
		expect(x + w).toBeLessThanOrEqual(24);
		return Array.from({ length: w * h }, (_, at) => `${x + (at % w)} ${y + Math.floor(at / w)}`);
	});
	expect(new Set(cells).size).toBe(cells.length);
	expect(new Set(placed.map(({ id }) => id)).size).toBe(placed.length);
});

test("whatever a query names with a dollar is a variable of the dashboard, or Grafana's own", () => {
	const { templating, ...rest } = JSON.parse(grafanaDashboard()) as { templating: { list: { name: string }[] } };
	const named = new Set([...JSON.stringify(rest).matchAll(/\$\{?(\w+)/g)].map(([, name]) => name!));
	const variables = templating.list.map(({ name }) => name);
	expect([...named].filter((name) => !variables.includes(name))).toEqual(["__rate_interval"]);
	expect(variables.filter((name) => !named.has(name))).toEqual([]);
});

test("the command prints it, and nothing else", async () => {
	using home = directory();
	expect(() => parseCommand(["init", "--grafana", "--prometheus-rules"])).toThrow("ask for one at a time");
	const outcome = await cli(["init", "--grafana"], { cwd: home.path });
	expect(outcome).toEqual({ code: 0, stdout: grafanaDashboard(), stderr: "" });
});
