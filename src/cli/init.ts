/** `router init`: a commented `router.yaml`, its JSON Schema, systemd units, a compose file, manifests for Kubernetes, a Grafana dashboard, or rules for Prometheus. */
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { example } from "../config/example.ts";
import { jsonSchema } from "../config/json-schema.ts";
import { StartError } from "../errors.ts";
import { grafanaDashboard } from "../telemetry/grafana-dashboard.ts";
import { prometheusRules } from "../telemetry/prometheus-rules.ts";
import type { InitCommand } from "./flags.ts";
import { kubernetesManifests } from "./kubernetes.ts";
import { composeFile, INSTALLED, systemdSocket, systemdUnit } from "./systemd.ts";

/** The text that `router init` prints, with a line end. */
export function initText({ what, role }: Pick<InitCommand, "what" | "role">): string {
	switch (what) {
		case "schema":
			return `${JSON.stringify(jsonSchema(), null, "\t")}\n`;
		case "systemd":
			return systemdUnit(role, Bun.isStandaloneExecutable ? process.execPath : INSTALLED);
		case "systemd-socket":
			return systemdSocket();
		case "compose":
			return composeFile(role);
		case "kubernetes":
			return kubernetesManifests();
		case "grafana":
			return grafanaDashboard();
		case "prometheus-rules":
			return prometheusRules();
		case "example":
			return example();
	}
}

/** Writes the example to `file`, taken from `cwd`; returns a line for the user. Throws StartError where the file exists or can't be written. */
export function writeExample(file: string, cwd: string): string {
	try {
		// wx: fails on an existing file, also on one that appears in this moment.
		writeFileSync(resolve(cwd, file), example(), { flag: "wx" });
	} catch (error) {
		const code = (error as NodeJS.ErrnoException).code;
		if (code === "EEXIST") {
			throw new StartError(`${file} exists already and was left as it is; \`router init --stdout\` prints the example`);
		}
		throw new StartError(
			`${file} can't be written (${code ?? "unknown reason"}); \`router init --stdout\` prints the example`,
		);
	}
	return `wrote ${file}; \`router check\` says what it means, \`router\` starts with it\n`;
}
