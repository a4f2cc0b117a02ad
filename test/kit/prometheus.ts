/** A real Prometheus of a test's own, on loopback, that scrapes every second and evaluates rules as often. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./redis.ts";
import { until } from "./until.ts";

/** A sample of an instant query. */
export interface Sample {
	readonly labels: Readonly<Record<string, string>>;
	/** NaN where Prometheus has none. */
	readonly value: number;
}

/** A rule as it stands. */
export interface RuleState {
	/** Of a recording rule the series, of an alerting rule the alert. */
	readonly name: string;
	readonly type: "recording" | "alerting";
	/** `ok` once it was evaluated without an error. */
	readonly health: string;
	readonly lastError?: string;
	/** Of an alerting rule. */
	readonly state?: "inactive" | "pending" | "firing";
}

/** The server. */
export interface Prometheus {
	query(expr: string): Promise<Sample[]>;
	rules(): Promise<RuleState[]>;
	stop(): Promise<void>;
}

/**
 * Starts it; resolves once it answers.
 * @param jobs what it scrapes: hosts and ports, by job
 * @param rules the text of a file of rules
 */
export async function startPrometheus(jobs: Record<string, readonly string[]>, rules: string): Promise<Prometheus> {
	const directory = mkdtempSync(join(tmpdir(), "prometheus-"));
	const config = {
		global: { scrape_interval: "1s", evaluation_interval: "1s" },
		rule_files: ["rules.yml"],
		scrape_configs: Object.entries(jobs).map(([job, targets]) => ({
			job_name: job,
			static_configs: [{ targets }],
		})),
	};
	await Bun.write(join(directory, "rules.yml"), rules);
	// JSON is YAML.
	await Bun.write(join(directory, "prometheus.yml"), JSON.stringify(config));
	const address = `127.0.0.1:${freePort()}`;
	const child = Bun.spawn(
		[
			"prometheus",
			`--config.file=${join(directory, "prometheus.yml")}`,
			`--storage.tsdb.path=${join(directory, "data")}`,
			`--web.listen-address=${address}`,
		],
		{ cwd: directory, stdin: "ignore", stdout: "ignore", stderr: Bun.file(join(directory, "log")) },
	);
	const api = async (path: string): Promise<unknown> => {
		const answer = await fetch(`http://${address}/api/v1/${path}`);
		const { status, data, error } = (await answer.json()) as { status: string; data: unknown; error?: string };
		if (status !== "success") throw new Error(`Prometheus refuses ${path}: ${error}`);
		return data;
	};
	const stop = async () => {
		child.kill("SIGKILL");
		await child.exited;
		rmSync(directory, { recursive: true, force: true });
	};
	try {
		await until(async () => {
			if (child.exitCode !== null)
				throw new Error(`prometheus ended: ${await Bun.file(join(directory, "log")).text()}`);
			const answer = await fetch(`http://${address}/-/ready`).catch(() => undefined);
			return answer?.ok === true;
		}, "Prometheus");
	} catch (error) {
		await stop();
		throw error;
	}
	return {
		async query(expr) {
			const { result } = (await api(`query?query=${encodeURIComponent(expr)}`)) as {
				result: { metric: Record<string, string>; value: [number, string] }[];
			};
			return result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
		},
		async rules() {
			const { groups } = (await api("rules")) as { groups: { rules: RuleState[] }[] };
			return groups.flatMap((group) => group.rules);
		},
		stop,
	};
}
