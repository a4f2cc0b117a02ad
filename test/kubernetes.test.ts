/** `router init --kubernetes`: documents that a cluster takes, and that fit each other and the router. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";
import { Deployment } from "kubernetes-models/apps/v1/Deployment";
import { HorizontalPodAutoscaler } from "kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler";
import { PodDisruptionBudget } from "kubernetes-models/policy/v1/PodDisruptionBudget";
import { ConfigMap } from "kubernetes-models/v1/ConfigMap";
import { Service } from "kubernetes-models/v1/Service";
import { parseAllDocuments } from "yaml";
import { kubernetesManifests } from "../src/cli/kubernetes.ts";
import { configOf } from "./kit/pipeline.ts";

/** A document of any kind. */
// biome-ignore lint/suspicious/noExplicitAny: looked into by path
type Manifest = any;

/** What checks a kind, and the type that knows its fields. */
const KINDS = {
	ConfigMap: { model: ConfigMap, type: "IConfigMap", from: "kubernetes-models/v1" },
	Deployment: { model: Deployment, type: "IDeployment", from: "kubernetes-models/apps/v1" },
	Service: { model: Service, type: "IService", from: "kubernetes-models/v1" },
	PodDisruptionBudget: {
		model: PodDisruptionBudget,
		type: "IPodDisruptionBudget",
		from: "kubernetes-models/policy/v1",
	},
	HorizontalPodAutoscaler: {
		model: HorizontalPodAutoscaler,
		type: "IHorizontalPodAutoscaler",
		from: "kubernetes-models/autoscaling/v2",
	},
	ServiceMonitor: {
		model: ServiceMonitor,
		type: "IServiceMonitor",
		from: "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
	},
} as const;
type Kind = keyof typeof KINDS;

const documents = parseAllDocuments(kubernetesManifests()).map((each): Manifest => {
	expect([...each.errors, ...each.warnings]).toEqual([]);
	return each.toJS();
});
const of = (kind: Kind): Manifest => documents.find((each) => each.kind === kind);

const directory = mkdtempSync(join(tmpdir(), "kubernetes-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
symlinkSync(resolve(import.meta.dir, "../node_modules"), join(directory, "node_modules"));

/** What the schema says against a document: what is missing, and what is out of its range. */
function refusals(manifest: Manifest): string {
	const { model: Model } = KINDS[manifest.kind as Kind];
	try {
		new (Model as unknown as new (data: Manifest) => { validate(): void })(manifest).validate();
		return "";
	} catch (error) {
		return (error as Error).message;
	}
}

/** What the compiler says against documents by the kinds' types: fields that there are not, which a cluster would drop or refuse. */
function unknownFields(manifests: readonly Manifest[]): string {
	const lines = manifests.map((manifest, at) => {
		const { type, from } = KINDS[manifest.kind as Kind];
		return `import type { ${type} as Kind${at} } from "${from}";\nexport const manifest${at}: Kind${at} = ${JSON.stringify(manifest)};`;
	});
	const file = join(directory, "manifests.ts");
	writeFileSync(file, lines.join("\n"));
	const flags = "--noEmit --strict --skipLibCheck --module nodenext --target esnext --ignoreConfig --types".split(" ");
	const child = Bun.spawnSync([resolve(import.meta.dir, "../node_modules/.bin/tsc"), ...flags, "", file], {
		cwd: directory,
	});
	return child.stdout.toString() + child.stderr.toString();
}

describe("a check that could not fail would be none:", () => {
	const changed = (kind: Kind, change: (manifest: Manifest) => void): Manifest => {
		const copy = structuredClone(of(kind));
		change(copy);
		return copy;
	};

	test("what is missing, of a wrong type or out of range is found", () => {
		expect(refusals(changed("Deployment", ({ spec }) => delete spec.selector))).toContain("selector");
		expect(refusals(changed("Service", ({ spec }) => Object.assign(spec.ports[0], { port: "http" })))).toContain(
			"port",
		);
		expect(refusals(changed("HorizontalPodAutoscaler", ({ spec }) => delete spec.maxReplicas))).toContain(
			"maxReplicas",
		);
		expect(refusals(changed("ServiceMonitor", ({ spec }) => Object.assign(spec, { endpoints: "http" })))).toContain(
			"endpoints",
		);
	});

	test("a field that there is not is found", () => {
		const found = unknownFields([
			changed("Deployment", ({ spec }) => Object.assign(spec.template.spec.containers[0], { readynessProbe: {} })),
			changed("PodDisruptionBudget", ({ spec }) => Object.assign(spec, { maxUnavailabel: 1 })),
			changed("ServiceMonitor", ({ spec }) => Object.assign(spec.endpoints[0], { intervall: "1s" })),
		]);
		for (const field of ["readynessProbe", "maxUnavailabel", "intervall"]) expect(found).toContain(`"${field}"`);
	}, 60_000);
});

test("each document is one of its kind, with no field that there is not", () => {
	expect(documents.map(({ kind }) => kind).sort()).toEqual(Object.keys(KINDS).sort());
	for (const manifest of documents) expect([manifest.kind, refusals(manifest)]).toEqual([manifest.kind, ""]);
	expect(unknownFields(documents)).toBe("");
}, 60_000);

test("they fit each other", () => {
	const { spec } = of("Deployment");
	const { labels } = spec.template.metadata;
	const [container] = spec.template.spec.containers;
	expect(spec.selector.matchLabels).toEqual(labels);
	expect(of("Service").spec.selector).toEqual(labels);
	expect(of("PodDisruptionBudget").spec.selector.matchLabels).toEqual(labels);
	expect(of("ServiceMonitor").spec.selector.matchLabels).toEqual(of("Service").metadata.labels);
	expect(of("HorizontalPodAutoscaler").spec.scaleTargetRef).toEqual({
		apiVersion: "apps/v1",
		kind: "Deployment",
		name: of("Deployment").metadata.name,
	});
	const ports = container.ports.map(({ name }: Manifest) => name);
	const used = [
		of("Service").spec.ports[0].targetPort,
		...["startup", "liveness", "readiness"].map((name) => container[`${name}Probe`].httpGet.port),
	];
	for (const port of used) expect(ports).toContain(port);
	expect(of("Service").spec.ports.map(({ name }: Manifest) => name)).toContain(
		of("ServiceMonitor").spec.endpoints[0].port,
	);
	const volumes = spec.template.spec.volumes.map(({ name }: Manifest) => name);
	for (const { name } of container.volumeMounts) expect(volumes).toContain(name);
	// No replicas of its own: each apply would undo what the autoscaler has decided.
	expect(spec.replicas).toBeUndefined();
	expect(of("HorizontalPodAutoscaler").spec.minReplicas).toBeGreaterThan(of("PodDisruptionBudget").spec.maxUnavailable);
});

test("they fit the router", async () => {
	const { spec } = of("Deployment").spec.template;
	const [container] = spec.containers;
	const variables = Object.fromEntries(container.env.map(({ name, value }: Manifest) => [name, value]));
	expect(container.ports[0].containerPort).toBe(Number(variables.PORT));
	const { readOnly, mountPath } = container.volumeMounts.find(({ name }: Manifest) => name === "config");
	expect(readOnly).toBe(true);
	const file = variables.ROUTER_CONFIG.slice(mountPath.length + 1);
	const settings = parseAllDocuments(of("ConfigMap").data[file])[0]!.toJS();
	const config = configOf(settings, { ...variables, ROUTER_CONFIG: "" });
	const { drain, shutdown_timeout } = config.server;
	expect(spec.terminationGracePeriodSeconds * 1_000).toBeGreaterThan(drain + shutdown_timeout);
	// All that is written lies in a volume; long forms are kept in the data directory where the system's temporary one is in none.
	expect(container.securityContext.readOnlyRootFilesystem).toBe(true);
	const data = container.volumeMounts.find(({ name }: Manifest) => name === "data").mountPath;
	for (const name of ["DATA_DIR", "LOG_DIR"]) expect(variables[name]).toStartWith(data);
	expect(config.data_dir).toStartWith(data);
	const image = await Bun.file(resolve(import.meta.dir, "../Dockerfile")).text();
	expect(image).toContain(`USER ${spec.securityContext.runAsUser}:${spec.securityContext.runAsGroup}`);
});

test("the metric that it scales by is one of the router's", async () => {
	const { createMetrics } = await import("../src/telemetry/metrics.ts");
	const [{ pods }] = of("HorizontalPodAutoscaler").spec.metrics;
	expect(await createMetrics("router").text()).toContain(`# TYPE ${pods.metric.name} gauge`);
});
