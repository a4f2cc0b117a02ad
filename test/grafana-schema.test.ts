/**
 * `router init --grafana` against Grafana's own schema: types of its dashboards, time series, Prometheus queries and units, as Grafana publishes them for TypeScript
 * (@grafana/grafana-foundation-sdk, generated of Grafana's CUE definitions). The compiler judges the JSON as a value of these types.
 */
import { beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { grafanaDashboard } from "../src/telemetry/grafana-dashboard.ts";
import { directory } from "./kit/cli.ts";
import type { Loose } from "./kit/exchange.ts";

const ROOT = join(import.meta.dir, "..");
const SDK = "@grafana/grafana-foundation-sdk";

/** What a dashboard of time series over Prometheus is. JSON has the words of enums, not the enums. */
const TYPES = `
import type { GraphFieldConfig } from "${SDK}/common";
import type * as grafana from "${SDK}/dashboard";
import type { Dataquery } from "${SDK}/prometheus";
import type { Options } from "${SDK}/timeseries";
import type * as units from "${SDK}/units";

type Plain<T> = T extends string ? \`\${T}\` : T extends object ? { [field in keyof T]: Plain<T[field]> } : T;
type Unit = (typeof units)[keyof typeof units];
interface FieldConfig extends Omit<grafana.FieldConfig, "custom" | "unit"> {
	unit: Unit;
	custom?: GraphFieldConfig;
}
interface TimeSeries extends Omit<grafana.Panel, "type" | "options" | "fieldConfig" | "targets"> {
	type: "timeseries";
	title: string;
	options: Options;
	fieldConfig: Omit<grafana.FieldConfigSource, "defaults"> & { defaults: FieldConfig };
	targets: Omit<Dataquery, "_implementsDataqueryVariant">[];
}
interface Row extends Omit<grafana.RowPanel, "type"> {
	type: "row";
}
export type Dashboard = Plain<Omit<grafana.Dashboard, "panels"> & { panels: (TimeSeries | Row)[] }>;
`;

/** What the compiler says of each of these dashboards, by its name. */
async function verdictsOf(dashboards: Readonly<Record<string, string>>): Promise<Map<string, string[]>> {
	const config = {
		compilerOptions: {
			...{ strict: true, noEmit: true, skipLibCheck: true, target: "ESNext", module: "Preserve", types: [] },
			paths: { [`${SDK}/*`]: [join(ROOT, "node_modules", SDK, "dist/*/index.d.ts")] },
		},
		include: ["*.ts"],
	};
	const files = Object.entries(dashboards).map(
		([name, json]) =>
			[
				`${name}.ts`,
				`import type { Dashboard } from "./types.ts";\nexport const dashboard: Dashboard = ${json};\n`,
			] as const,
	);
	const allowing = { ...config, compilerOptions: { ...config.compilerOptions, allowImportingTsExtensions: true } };
	using home = directory({
		"tsconfig.json": JSON.stringify(allowing),
		"types.ts": TYPES,
		...Object.fromEntries(files),
	});
	const child = Bun.spawn([join(ROOT, "node_modules/.bin/tsc"), "--pretty", "false"], {
		cwd: home.path,
		stdout: "pipe",
		stderr: "pipe",
	});
	const said = (await new Response(child.stdout).text()) + (await new Response(child.stderr).text());
	await child.exited;
	const found = new Map(Object.keys(dashboards).map((name) => [name, [] as string[]]));
	for (const line of said.split("\n")) {
		if (line === "" || line.startsWith(" ")) continue;
		const name = /^([\w-]+)\.ts\(/.exec(line)?.[1] ?? "";
		const lines = found.get(name);
		// Of the types themselves, or of the compiler.
		if (!lines) throw new Error(said);
		lines.push(line);
	}
	return found;
}

/** The dashboard with one fault, which Grafana's schema must not let through. */
function faulty(put: (dashboard: Loose, panel: Loose) => void): string {
	const dashboard = JSON.parse(grafanaDashboard()) as Loose;
	put(dashboard, (dashboard["panels"] as Loose[]).find(({ type }) => type === "timeseries")!);
	return JSON.stringify(dashboard);
}
const FAULTS: Readonly<Record<string, string>> = {
	"an-unknown-panel": faulty((_, panel) => {
		panel["type"] = "timeserie";
	}),
	"an-unknown-field-of-a-panel": faulty((_, panel) => {
		panel["titel"] = "Calls";
	}),
	"an-unknown-unit": faulty((_, panel) => {
		panel["fieldConfig"].defaults.unit = "requests/s";
	}),
	"an-unknown-way-to-show-a-legend": faulty((_, panel) => {
		panel["options"].legend.displayMode = "rows";
	}),
	"an-unknown-order-of-a-tooltip": faulty((_, panel) => {
		panel["options"].tooltip.sort = "down";
	}),
	"a-query-without-an-expression": faulty((_, panel) => {
		delete panel["targets"][0].expr;
	}),
	"a-query-with-an-unknown-field": faulty((_, panel) => {
		panel["targets"][0].legend = "{{model}}";
	}),
	"a-threshold-without-a-color": faulty((_, panel) => {
		panel["fieldConfig"].defaults.thresholds = { mode: "absolute", steps: [{ value: 1 }] };
	}),
	"thresholds-of-an-unknown-mode": faulty((_, panel) => {
		panel["fieldConfig"].defaults.thresholds = { mode: "relative", steps: [] };
	}),
	"an-unknown-kind-of-variable": faulty((dashboard) => {
		dashboard["templating"].list[1].type = "label";
	}),
	"an-unknown-order-of-a-variable": faulty((dashboard) => {
		dashboard["templating"].list[1].sort = 99;
	}),
	"a-place-without-a-width": faulty((_, panel) => {
		delete panel["gridPos"].w;
	}),
	"a-row-that-is-not-said-to-be-open": faulty((dashboard) => {
		delete dashboard["panels"][0].collapsed;
	}),
};
const ALLOWED: Readonly<Record<string, string>> = {
	"one-with-thresholds": faulty((_, panel) => {
		const steps = [
			{ color: "green", value: null },
			{ color: "red", value: 1 },
		];
		panel["fieldConfig"].defaults.thresholds = { mode: "absolute", steps };
	}),
};

let verdicts: Map<string, string[]>;
beforeAll(async () => {
	verdicts = await verdictsOf({ ours: grafanaDashboard(), ...ALLOWED, ...FAULTS });
}, 60_000);

test.each(Object.keys(FAULTS))("a dashboard with %s is found wrong by it", (name) => {
	expect(verdicts.get(name)!.length).toBeGreaterThan(0);
});

test.each(["ours", ...Object.keys(ALLOWED)])(
	"%s is right by it: its panels, targets, units, thresholds and variables",
	(name) => {
		expect(verdicts.get(name)).toEqual([]);
	},
);
