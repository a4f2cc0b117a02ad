/** `router check`: what would run, where each setting comes from, and which providers are ready. No secret is shown. */
import { byPosition, ConfigError, type Finding, FindingsError, type Mistake } from "../config/config-error.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Loaded, UnusableConfig } from "../config/load.ts";
import { settingRows } from "../config/setting-rows.ts";
import type { ProviderState } from "../providers/registry.ts";
import { VERSION } from "../version.ts";
import { localUrl, withAgentUrl } from "./local-url.ts";

/** Of a provider without prices. */
const UNPRICED = "no prices known: set its models' under `prices:`, or keys with a budget can't use it";
/**
 * Plans the role as a start would, and reports; see {@link report}. The agent's models are looked at in every role: one file may be
 * the router's and the agents'.
 * @throws {StartError} everything that a start would refuse; as FindingsError all mistakes of the file, of both roles
 */
export async function check(loaded: Loaded, env: Environment): Promise<string> {
	const { config, role } = loaded;
	const { agent } = config;
	const findings: Finding[] = [];
	if (role !== "router" || agent.models.length > 0) {
		const { checkAgent, checkModels } = await import("../agent/agent-plan.ts");
		findings.push(...findingsOf(() => (role === "router" ? checkModels(config) : checkAgent(loaded, env))));
	}
	const variables = withAgentUrl(env, role === "standalone" ? localUrl(agent) : undefined);
	// An agent relays to its own vLLM only.
	if (role !== "agent") {
		const { checkRouter } = await import("../server/router-plan.ts");
		findings.push(...findingsOf(() => checkRouter(config, variables)));
	}
	if (findings.length > 0) throw new FindingsError(findings);
	const { otelLines, tracedKeys } = await import("../server/otel.ts");
	const otel = otelLines(env, role === "agent" ? [] : tracedKeys(config));
	if (role === "agent") return report(loaded, [], undefined, otel);
	const { describeProviders } = await import("../providers/registry.ts");
	const { workerCount } = await import("../server/threads/worker-count.ts");
	const { refusedAgents, retiringLines, targetsNotReady } = await import("../server/router-plan.ts");
	const retiring = await retiringLines(config, variables);
	return report(loaded, describeProviders(config, variables), workerCount(config), otel, {
		retiring,
		notReady: targetsNotReady(config, variables),
		refused: refusedAgents(config, variables),
	});
}

/**
 * The error with the mistakes that would only show once its own are mended, as far as the rest of the file can be read: those of the
 * agent's models and of the targets of `models:`.
 */
export async function withFurtherMistakes(error: UnusableConfig, role: Loaded["role"]): Promise<ConfigError> {
	const rest = error.rest();
	if (!rest) return error;
	const { checkModels } = await import("../agent/agent-plan.ts");
	const findings = foundIn(() => checkModels(rest.config));
	if (role !== "agent") {
		const { checkTargets } = await import("../server/router-plan.ts");
		findings.push(...foundIn(() => checkTargets(rest.config, rest.env)));
	}
	const placeOf = ({ line, column, path }: Mistake) => (line === undefined ? path : `${line}:${column}`);
	const known = new Set(error.mistakes.map(placeOf));
	const further = findings
		.flatMap((finding) => rest.mistakeOf(finding) ?? [])
		.filter((each) => !known.has(placeOf(each)));
	return further.length > 0 ? new ConfigError([...error.mistakes, ...further].sort(byPosition)) : error;
}

/** The findings of a step; none where it ends in another error, which may be a consequence of what could not be read. */
function foundIn(step: () => void): Finding[] {
	try {
		return [...findingsOf(step)];
	} catch {
		return [];
	}
}

function findingsOf(step: () => void): readonly Finding[] {
	try {
		step();
		return [];
	} catch (error) {
		if (error instanceof FindingsError) return error.findings;
		throw error;
	}
}

/** What a router's start would not refuse, and is worth a look. */
export interface RouterFindings {
	/** See `retiringLines`. */
	readonly retiring?: readonly string[];
	/** See `targetsNotReady`. */
	readonly notReady?: readonly string[];
	/** See `refusedAgents`. */
	readonly refused?: string | undefined;
}

/**
 * What would run, with a line end. `providers`: see `describeProviders`. `workers`: how many threads would answer calls. `otel`: see
 * `otelLines`.
 */
export function report(
	loaded: Loaded,
	providers: readonly ProviderState[],
	workers?: number,
	otel: readonly (readonly [word: string, text: string])[] = [],
	{ retiring = [], notReady = [], refused }: RouterFindings = {},
): string {
	const rows = settingRows(loaded, workers);
	return [
		`router ${VERSION}, role ${loaded.role}, ${loaded.file === undefined ? "no configuration file" : `configuration ${loaded.file}`}`,
		"",
		"Settings",
		...columns(rows),
		...(providers.length > 0 ? ["", "Providers", ...columns(providers.map(providerRow))] : []),
		...(otel.length > 0 ? ["", "OpenTelemetry", ...columns(otel.map(([word, text]) => [word, text]))] : []),
		...(notReady.length > 0 ? ["", "Targets without a key or an address", ...notReady.map((line) => `  ${line}`)] : []),
		...(retiring.length > 0 ? ["", "Models that retire", ...retiring.map((line) => `  ${line}`)] : []),
		...(refused === undefined ? [] : ["", "Agents", `  ${refused}`]),
		"",
		"The configuration is valid.",
		"",
	].join("\n");
}

function providerRow({ name, state, variable, baseUrl = "", lacksPrices }: ProviderState): string[] {
	if (state === "ready") return [name, "ready", lacksPrices ? `${baseUrl}  ${UNPRICED}` : baseUrl];
	return [name, state === "no-key" ? "no key" : "no address", `set ${variable}`];
}

function columns(rows: string[][]): string[] {
	const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
	return rows.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}`.trimEnd());
}
