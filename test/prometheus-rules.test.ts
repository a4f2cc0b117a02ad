/** `router init --prometheus-rules`: judged by promtool, over series that must set each alert off and series that must not. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { agentMetrics, type MetricsSources } from "../src/agent/agent-metrics.ts";
import { parseCommand } from "../src/cli/flags.ts";
import { createMetrics } from "../src/telemetry/metrics.ts";
import { ALERTING_RULES, prometheusRules, RECORDING_RULES } from "../src/telemetry/prometheus-rules.ts";
import { cli, directory } from "./kit/cli.ts";
import { needing } from "./kit/needing.ts";

const dir = mkdtempSync(join(tmpdir(), "router-rules-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function promtool(...args: string[]) {
	const child = Bun.spawn(["promtool", ...args], { cwd: dir, stdout: "pipe", stderr: "pipe" });
	const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
	return { code: await child.exited, said: out + err };
}

/** Series by what they are called, with a value a minute, in promtool's notation. */
type Series = Readonly<Record<string, string>>;

const AT = 'job="router",instance="r1"';
const ON = 'job="router-agents",instance="gpu1"';
const HOUR = "x60";
/** A counter that rises by so much a minute for an hour. */
const rising = (by: number) => `0+${by}${HOUR}`;
const flat = (value: number) => `${value}+0${HOUR}`;
/** A counter with labels that is not there before its first event, 55 minutes on. */
const appears = "_x55 1+0x5";
/** A counter that was there already, and goes up once. */
const goesUp = "3+0x55 4+0x5";

const calls = (good: string, bad?: string): Series => ({
	[`router_requests_total{${AT},model="m",provider="p",status="200"}`]: good,
	...(bad && { [`router_requests_total{${AT},model="m",provider="p",status="502"}`]: bad }),
});
/** Streams, of which so many a minute have their first token in time; `le` as Prometheus 2 or 3 writes it. */
const streams = (all: number, inTime: number, le: string): Series => {
	const labels = `${AT},model="m",provider="p"`;
	return {
		[`router_time_to_first_token_seconds_bucket{${labels},le="${le}"}`]: rising(inTime),
		[`router_time_to_first_token_seconds_bucket{${labels},le="+Inf"}`]: rising(all),
		[`router_time_to_first_token_seconds_count{${labels}}`]: rising(all),
	};
};
/** Copies of calls, by what became of them. */
const copies = (outcomes: Series): Series =>
	Object.fromEntries(
		Object.entries(outcomes).map(([outcome, values]) => [
			`router_shadow_calls_total{${AT},model="m",to="n",outcome="${outcome}"}`,
			values,
		]),
	);
const RETIREMENT = `router_model_retirement_timestamp_seconds{${AT},model="m",target="openai/m"}`;
/** Seconds; the hour of these tests is the first of 1970. */
const DAY = 86_400;
/** The router was scraped all the time. */
const UP = { [`up{${AT}}`]: flat(1) };
/** It was started at that second of the hour. */
const startedAt = (second: number) => ({ [`router_process_start_time_seconds{${AT}}`]: flat(second) });
const counter = (series: string) => ({
	fires: [{ [series]: appears, ...UP }, { [series]: appears, ...startedAt(3_000) }, { [series]: goesUp }],
	// Of the last Prometheus has no history: when it went up is not known.
	silent: [{ [series]: flat(3) }, { [series]: flat(0) }, { [series]: appears, ...startedAt(0) }],
});
const gauge = (series: string, bad: number, good: number) => ({
	fires: [{ [series]: flat(bad) }],
	silent: [{ [series]: flat(good) }],
});

/** Of each alert: each of `fires` sets it off, none of `silent` does. */
const CASES: Readonly<Record<string, { fires: readonly Series[]; silent: readonly Series[] }>> = {
	RouterErrors: {
		fires: [calls(rising(90), rising(10)), calls(flat(0), rising(1))],
		silent: [calls(rising(99), rising(1)), calls(rising(100)), calls(flat(100), flat(50))],
	},
	RouterFirstTokenLate: {
		fires: [streams(100, 20, "5"), streams(100, 20, "5.0")],
		silent: [streams(100, 50, "5"), streams(100, 100, "5.0"), streams(0, 0, "5")],
	},
	RouterFirstTokenOftenLate: {
		fires: [streams(100, 60, "5"), streams(100, 60, "5.0")],
		silent: [streams(100, 90, "5"), streams(0, 0, "5")],
	},
	RouterBreakerOpen: gauge(`router_breaker_state{${AT},target="p/m"}`, 2, 0),
	RouterKeyRefused: gauge(`router_keys_out_of_use{${AT},provider="openai"}`, 1, 0),
	RouterBudgetSpent: {
		...counter(`router_limited_calls_total{${AT},by="budget",counts="day"}`),
		silent: [{ [`router_limited_calls_total{${AT},by="key",counts="requests"}`]: rising(5) }],
	},
	RouterSessionBudgetSpent: {
		...counter(`router_limited_calls_total{${AT},by="session",counts="spend"}`),
		silent: [{ [`router_limited_calls_total{${AT},by="budget",counts="day"}`]: rising(5) }],
	},
	RouterAgentRunsAway: counter(`router_runaway_calls_total{${AT},kind="loop",action="warn"}`),
	RouterShadowFails: {
		fires: [copies({ compared: rising(4), failed: rising(6) }), copies({ budget: rising(1) })],
		silent: [
			copies({ compared: rising(6), failed: rising(4) }),
			copies({ effects: rising(10), draining: rising(10), compared: rising(1) }),
			copies({ effects: rising(10) }),
			copies({ compared: flat(1), failed: flat(9) }),
		],
	},
	RouterModelRetires: {
		...gauge(RETIREMENT, 29 * DAY, 32 * DAY),
		// It is retired already.
		fires: [{ [RETIREMENT]: flat(29 * DAY) }, { [RETIREMENT]: flat(0) }],
	},
	RouterAgentGone: {
		fires: ["gone", "unreachable"].map((state) => ({ [`router_agents{${AT},state="${state}"}`]: flat(1) })),
		silent: ["fresh", "suspect"].map((state) => ({ [`router_agents{${AT},state="${state}"}`]: flat(1) })),
	},
	RouterEngineDied: counter(`router_engine_deaths_total{${AT},target="local/gpu1/m"}`),
	RouterRedisAway: {
		fires: [
			{ [`router_redis_up{${AT}}`]: "1+0x50 0+0x10" },
			// Never reached.
			{ [`router_redis_up{${AT}}`]: flat(0), [`router_redis_failures_total{${AT},reason="refused"}`]: flat(4) },
		],
		// The second has no Redis.
		silent: [{ [`router_redis_up{${AT}}`]: flat(1) }, { [`router_redis_up{${AT}}`]: flat(0) }],
	},
	RouterLedgerDown: gauge(`router_ledger_up{${AT}}`, 0, 1),
	RouterLedgerLost: counter(`router_ledger_lost_rows_total{${AT},reason="full"}`),
	RouterLogLost: counter(`router_log_failures_total{${AT}}`),
	RouterSpansDropped: counter(`router_spans_dropped_total{${AT},reason="full"}`),
	RouterCrash: counter(`router_crashes_total{${AT}}`),
	RouterConfigRefused: {
		...counter(`router_config_reloads_total{${AT},result="refused"}`),
		silent: [{ [`router_config_reloads_total{${AT},result="loaded"}`]: rising(1) }],
	},
	AgentModelFailed: gauge(`router_agent_model_state{${ON},model="m",state="failed"}`, 1, 0),
	AgentCallsWait: gauge(`router_agent_queue_oldest_seconds{${ON},model="m"}`, 301, 20),
	AgentDockerDown: gauge(`router_agent_docker_up{${ON}}`, 0, 1),
	AgentGpuHot: gauge(`router_agent_gpu_temperature_celsius{${ON},gpu="0",name="L4"}`, 92, 70),
};

/** A test of promtool's: after an hour of these series the alert fires, or doesn't. */
const unit = (alert: string, series: Series, fires: boolean) => ({
	name: `${alert} ${fires ? "fires" : "is silent"} over ${JSON.stringify(series)}`,
	interval: "1m",
	input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
	promql_expr_test: [
		{
			expr: `count(ALERTS{alertname="${alert}",alertstate="firing"})`,
			eval_time: "60m",
			exp_samples: fires ? [{ labels: "{}", value: 1 }] : [],
		},
	],
});

const rulesFile = join(dir, "rules.yml");
await Bun.write(rulesFile, prometheusRules());

describe("judged by promtool", () => {
	const { test } = needing("prometheus");

	test("the rules are well-formed, and all are there", async () => {
		const { code, said } = await promtool("check", "rules", rulesFile);
		expect(said).toContain(`SUCCESS: ${RECORDING_RULES.length + ALERTING_RULES.length} rules found`);
		expect(code).toBe(0);
	});

	test.each(ALERTING_RULES.map(({ alert }) => alert))("%s fires when it must, and else doesn't", async (alert) => {
		const { fires, silent } = CASES[alert]!;
		const tests = [...fires.map((each) => unit(alert, each, true)), ...silent.map((each) => unit(alert, each, false))];
		const file = join(dir, `${alert}.yml`);
		await Bun.write(file, JSON.stringify({ rule_files: ["rules.yml"], evaluation_interval: "1m", tests }));
		expect(await promtool("test", "rules", file)).toEqual({ code: 0, said: expect.stringContaining("SUCCESS") });
	});
});

test("every rule names metrics that there are, or series that a rule before it makes", async () => {
	const none = { registry: { all: () => [] }, gpus: { reading: { gpus: [] } }, engine: {}, inventory: { items: [] } };
	const sources = { ...none, statuses: {}, traffic: {} } as unknown as MetricsSources;
	const pages = (await createMetrics("router").text()) + (await agentMetrics(sources).text());
	const known = new Set([...pages.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name!));
	const made = new Set(RECORDING_RULES.map(({ record }) => record));
	for (const { expr } of [...RECORDING_RULES, ...ALERTING_RULES]) {
		const named = [...expr.matchAll(/\b(?:\w+:)?router_\w+(?::\w+)?/g)].map(([name]) => name);
		expect(named.length).toBeGreaterThan(0);
		const isKnown = (name: string) => known.has(name) || known.has(name.replace(/_(?:bucket|count|sum)$/, ""));
		expect(named.filter((name) => !made.has(name) && !isKnown(name))).toEqual([]);
	}
});

test("a rule keeps what routers and agents count apart, and says who is to look and at what", () => {
	for (const { record, expr } of RECORDING_RULES) expect([record, expr.includes("by (job,")]).toEqual([record, true]);
	for (const { alert, summary, description } of ALERTING_RULES) {
		expect([alert, summary.length < 110, description.length > 30]).toEqual([alert, true, true]);
	}
	expect(new Set(ALERTING_RULES.map(({ alert }) => alert)).size).toBe(ALERTING_RULES.length);
});

test("the command prints them, and nothing else", async () => {
	using home = directory();
	expect(() => parseCommand(["init", "--prometheus-rules", "--schema"])).toThrow("ask for one at a time");
	expect(() => parseCommand(["init", "--prometheus-rules", "--agent"])).toThrow("--systemd or --compose only");
	const outcome = await cli(["init", "--prometheus-rules"], { cwd: home.path });
	expect(outcome).toEqual({ code: 0, stdout: prometheusRules(), stderr: "" });
});
