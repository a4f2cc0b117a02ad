/** The agent's Docker interface against a real engine and vLLM's look-alike, and its CLI against a stand-in for what an engine won't do on demand. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Docker, DockerCli } from "../src/agent/docker/docker.ts";
import { DockerError } from "../src/agent/docker/docker-error.ts";
import { pullProgress } from "../src/agent/docker/docker-output.ts";
import { containerSpec } from "../src/agent/models/container-spec.ts";
import type { ModelSpec, SpecSettings } from "../src/agent/models/model-spec.ts";
import { type DockerEngine, startDockerEngine } from "./kit/docker.ts";
import { needing } from "./kit/needing.ts";
import { startRegistry } from "./kit/registry.ts";

const IMAGE = "vllm-sim:test";
const PATH = process.env["PATH"];
const dir = mkdtempSync(join(tmpdir(), "router-docker-test-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const dockerOf = (env: Record<string, string | undefined>, more: object = {}) =>
	new DockerCli({ command: "docker", env: { PATH, ...env }, deadlineMs: 30_000, pullSilenceMs: 30_000, ...more });

async function failureOf(promise: Promise<unknown>): Promise<DockerError> {
	try {
		await promise;
	} catch (error) {
		if (error instanceof DockerError) return error;
		throw error;
	}
	throw new Error("it ended well");
}

function freePort(): number {
	const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
	const { port } = server;
	server.stop(true);
	return port;
}

const settings = (agent: string): SpecSettings => ({
	agent,
	command: "docker",
	accelerator: "nvidia",
	image: IMAGE,
	cacheDir: join(dir, "cache"),
	env: ["HF_TOKEN"],
	shutdownTimeoutS: 5,
	sleep: true,
});
const SPEC: ModelSpec = { name: "chat", model: "Qwen/Qwen3-0.6B" };
const placed = { replica: 0, devices: [0], bytes: 6 * 1024 ** 3, share: 0.22 };

needing("docker").describe("a real engine", () => {
	let engine: DockerEngine;
	let docker: Docker;
	beforeAll(async () => {
		engine = await startDockerEngine();
		await engine.importSim(IMAGE);
		docker = dockerOf(engine.env);
	}, 180_000);
	afterAll(() => engine?.stop());

	/** Starts the sim as the agent would. */
	const start = (agent: string, more: Partial<ModelSpec> = {}, port = freePort()) => {
		const { args } = containerSpec({ ...SPEC, ...more }, { ...placed, port }, settings(agent));
		return docker.run(args, { HF_TOKEN: "hf_secret_value" });
	};
	async function lineOf(id: string, pattern: RegExp): Promise<string> {
		for await (const line of docker.logs(id, { follow: true })) if (pattern.test(line)) return line;
		throw new Error(`the log ended without ${pattern}`);
	}

	test("runs a model with all that its spec says, and shows it", async () => {
		const port = freePort();
		const id = await start("runs", {}, port);
		expect(id).toMatch(/^[0-9a-f]{64}$/);
		const [found, ...others] = await docker.containers("runs");
		expect(others).toEqual([]);
		expect(found).toMatchObject({ id, state: "running", exitCode: 0, oomKilled: false, port, image: IMAGE });
		expect(found!.name).toMatch(/^router-chat-[0-9a-f]{8}$/);
		expect(found!.labels).toMatchObject({ "router.agent": "runs", "router.model": "chat", "router.devices": "0" });
		// Both are this machine's clock.
		expect(found!.startedAt).toBeGreaterThan(0);
		expect(found!.startedAt).toBeLessThanOrEqual(Date.now());
		expect(await docker.containers("another-agent")).toEqual([]);

		await lineOf(id, /Application startup complete/);
		const models = (await (await fetch(`http://127.0.0.1:${port}/v1/models`)).json()) as { data: { id: string }[] };
		expect(models.data.map((model) => model.id)).toEqual(["chat"]);
		// The secret's value reached the container, and no command line.
		const { Config, Path, Args } = JSON.parse(await engine.docker("inspect", id))[0];
		expect(Config.Env).toContain("HF_TOKEN=hf_secret_value");
		expect(JSON.stringify([Path, Args])).not.toContain("hf_secret");

		await docker.stop(id, 10);
		expect((await docker.containers("runs"))[0]).toMatchObject({ state: "exited" });
		await docker.remove(id);
		expect(await docker.containers("runs")).toEqual([]);
		// Gone is as good as stopped and removed.
		await docker.stop(id, 1);
		await docker.remove(id);
	}, 60_000);

	test("gives a container's log as a whole, its last lines, and while it grows", async () => {
		const id = await start("logs");
		await lineOf(id, /Application startup complete/);
		const all = await Array.fromAsync(docker.logs(id));
		expect(all.some((line) => line.includes("Loading safetensors checkpoint shards: 100%"))).toBe(true);
		expect((await Array.fromAsync(docker.logs(id, { tail: 2 }))).length).toBeLessThanOrEqual(2 * 2);
		const stop = new AbortController();
		const followed: string[] = [];
		for await (const line of docker.logs(id, { follow: true, tail: 1, signal: stop.signal })) {
			followed.push(line);
			stop.abort();
		}
		expect(followed.length).toBeGreaterThan(0);
		await docker.remove(id);
		expect((await failureOf(Array.fromAsync(docker.logs(id)))).kind).toBe("gone");
	}, 60_000);

	test("tells what happens to its containers, and of no other agent's", async () => {
		const stop = new AbortController();
		const events = docker.events("events", stop.signal);
		const seen: string[] = [];
		const reading = (async () => {
			for await (const { action } of events) {
				seen.push(action);
				if (action === "destroy") stop.abort();
			}
		})();
		// Until the watch stands, what happens is not seen: it does once the first event comes.
		let id = "";
		while (seen.length === 0) {
			if (id) await docker.remove(id);
			seen.length = 0;
			id = await start("events");
			await Bun.sleep(200);
		}
		const other = await start("not-events");
		await docker.remove(other);
		await docker.remove(id);
		await reading;
		expect(seen).toContain("start");
		expect(seen).toContain("die");
		expect(seen.filter((action) => action === "destroy").length).toBe(1);
	}, 60_000);

	test("says which port is taken, and leaves no container that could not start", async () => {
		const port = freePort();
		const first = await start("ports", {}, port);
		const failure = await failureOf(start("ports", { name: "other" }, port));
		expect([failure.kind, failure.message]).toEqual([
			"port-taken",
			`the container's port ${port} is taken by another program`,
		]);
		expect((await docker.containers("ports")).map(({ id }) => id)).toEqual([first]);
		const again = await failureOf(start("ports", {}, freePort()));
		expect(again.kind).toBe("name-taken");
		// It is running: that another start failed must not end it.
		expect((await docker.containers("ports")).map(({ id, state }) => [id, state])).toEqual([[first, "running"]]);
		await docker.remove(first);
	}, 60_000);

	test("knows which images there are; one that there is not is said, and not pulled in passing", async () => {
		expect(await docker.hasImage(IMAGE)).toBe(true);
		expect(await docker.hasImage("no-such-image:v1")).toBe(false);
		const failure = await failureOf(start("images", { image: "no-such-image:v1" }));
		expect(failure.kind).toBe("no-image");
	});

	test("stops a pull that is not wanted any more, and one that sends nothing", async () => {
		await using registry = await startRegistry();
		// Before any other pull: an engine does not fetch layers it has.
		registry.pace(0);
		const image = `${registry.host}/vllm/vllm-openai:v2`;
		const stop = new AbortController();
		const aborted = docker.pull(image, () => stop.abort(), stop.signal);
		expect((await failureOf(aborted)).kind).toBe("timeout");
		const impatient = dockerOf(engine.env, { pullSilenceMs: 1000 });
		expect((await failureOf(impatient.pull(image, () => {}, new AbortController().signal))).kind).toBe("timeout");
		expect(await docker.hasImage(image)).toBe(false);
	}, 60_000);

	test("pulls an image with progress from nothing to all, and says of another name that there is none", async () => {
		await using registry = await startRegistry();
		registry.only("vllm/vllm-openai");
		const image = `${registry.host}/vllm/vllm-openai:v1`;
		const percent = pullProgress();
		const seen: (number | undefined)[] = [];
		await docker.pull(image, (line) => seen.push(percent(line)), new AbortController().signal);
		expect(seen.at(-1)).toBe(100);
		expect(seen).toContain(0);
		expect(await docker.hasImage(image)).toBe(true);
		const failure = await failureOf(
			docker.pull(`${registry.host}/vllm/vllm-opnai:v1`, () => {}, new AbortController().signal),
		);
		expect(failure.kind).toBe("no-image");
		expect(failure.message).toContain("vllm-opnai:v1");
	}, 60_000);

	test("an image from a registry that does not answer", async () => {
		const lines: string[] = [];
		const image = `127.0.0.1:${freePort()}/vllm/vllm-openai:v1`;
		const failure = await failureOf(docker.pull(image, (line) => lines.push(line), new AbortController().signal));
		expect([failure.kind, failure.fix]).toEqual(["registry", expect.stringContaining("agent.registry")]);
		expect(lines.length).toBeGreaterThan(0);
	});

	test("a model that asks for what vLLM does not know ends, with its code and its words", async () => {
		const id = await start("ends", { args: ["--no-such-flag"] });
		const lines = await Array.fromAsync(docker.logs(id, { follow: true }));
		expect(lines.join("\n")).toContain("unrecognized arguments: --no-such-flag");
		expect((await docker.containers("ends"))[0]).toMatchObject({ state: "exited", exitCode: 2 });
		await docker.remove(id);
	}, 60_000);

	test("that goes away ends the watch, and is named as what it is until it is back", async () => {
		const watch = docker.events("restart", new AbortController().signal);
		const ended = failureOf(Array.fromAsync(watch));
		// The watch has to stand before the daemon falls.
		await Bun.sleep(300);
		await engine.down();
		expect((await ended).kind).toBe("not-running");
		const failure = await failureOf(docker.containers("restart"));
		expect([failure.kind, failure.fix]).toEqual(["not-running", "`sudo systemctl start docker`"]);
		await engine.up();
		expect(await docker.containers("restart")).toEqual([]);
	}, 90_000);
});

needing("docker").describe("an engine", () => {
	test("without NVIDIA's toolkit is told from one with it", async () => {
		await using engine = await startDockerEngine({ nvidia: false });
		await engine.importSim(IMAGE);
		const { args } = containerSpec(SPEC, { ...placed, port: freePort() }, settings("gpus"));
		const docker = dockerOf(engine.env);
		const failure = await failureOf(docker.run(args, {}));
		expect([failure.kind, failure.fix]).toEqual(["no-nvidia", expect.stringContaining("nvidia-container-toolkit")]);
		expect(await docker.containers("gpus")).toEqual([]);
	}, 180_000);

	test("whose disk is full says so", async () => {
		await using engine = await startDockerEngine({ disk: "300m" });
		await engine.importSim(IMAGE);
		engine.fill();
		const { args } = containerSpec(SPEC, { ...placed, port: freePort() }, settings("full"));
		const failure = await failureOf(dockerOf(engine.env).run(args, {}));
		expect([failure.kind, failure.fix]).toEqual(["no-space", expect.stringContaining("system df")]);
	}, 180_000);
});

describe("a CLI that", () => {
	/** A program named `docker` that writes down its words and goes on with `script`. */
	function fakeDocker(script: string) {
		const bin = mkdtempSync(join(dir, "bin-"));
		writeFileSync(join(bin, "docker"), `#!/bin/sh\nprintf '%s\\n' "$*" >> '${bin}/calls'\n${script}\n`);
		chmodSync(join(bin, "docker"), 0o755);
		return {
			env: { PATH: `${bin}:${PATH}` },
			calls: () => readFileSync(join(bin, "calls"), "utf8").trim().split("\n"),
		};
	}

	test("is not there", async () => {
		const docker = dockerOf({ PATH: "/nowhere" });
		const calls = [() => docker.containers("a"), () => docker.run([], {}), () => Array.fromAsync(docker.logs("a"))];
		for (const call of calls) expect((await failureOf(call())).kind).toBe("missing");
	});

	test("hangs is ended at the deadline", async () => {
		const docker = dockerOf(fakeDocker("exec sleep 600").env, { deadlineMs: 100 });
		expect((await failureOf(docker.containers("a"))).kind).toBe("timeout");
		expect((await failureOf(docker.stop("a", 0))).kind).toBe("timeout");
	});

	test("pulls in silence is ended; one that is aborted, too", async () => {
		const { env } = fakeDocker("echo 'a3ed95caeb02: Pulling fs layer'; exec sleep 600");
		const lines: string[] = [];
		const silent = dockerOf(env, { pullSilenceMs: 1000 }).pull(
			"a",
			(line) => lines.push(line),
			new AbortController().signal,
		);
		expect((await failureOf(silent)).kind).toBe("timeout");
		expect(lines).toEqual(["a3ed95caeb02: Pulling fs layer"]);
		const stop = new AbortController();
		const aborted = dockerOf(env).pull("a", () => stop.abort(), stop.signal);
		expect((await failureOf(aborted)).kind).toBe("timeout");
	});

	test("prints something else than JSON", async () => {
		const failure = await failureOf(dockerOf(fakeDocker("echo json").env).containers("a"));
		expect([failure.kind, failure.message]).toEqual(["failed", "`docker inspect` printed something else than JSON"]);
	});

	test("lists a container that goes before it is looked at", async () => {
		const { env } = fakeDocker(
			'case $1 in ps) echo a; echo b;; *) echo "[{\\"Id\\":\\"a\\"}]"; echo "Error: No such container: b" >&2; exit 1;; esac',
		);
		expect((await dockerOf(env).containers("x")).map(({ id }) => id)).toEqual(["a"]);
	});

	test("that made a container and could not start it removes that one, known by a label of this start alone", async () => {
		const { env, calls } = fakeDocker("case $1 in run) echo no such luck >&2; exit 125;; ps) echo made;; esac");
		for (const name of ["x", "y"]) await failureOf(dockerOf(env).run([`--name=${name}`, "image"], {}));
		const said = calls();
		const labels = [0, 3].map(
			(at) => /^run --detach --label=(router\.start=\S{36}) --name=. image$/.exec(said[at]!)?.[1],
		);
		expect(new Set(labels).size).toBe(2);
		expect(said[1]).toBe(`ps --all --no-trunc --quiet --filter label=${labels[0]}`);
		expect(said[2]).toBe("rm --force --volumes -- made");
	});

	test("is asked in words that no name can turn into a flag", async () => {
		const { env, calls } = fakeDocker('[ "$1" != run ] || echo id');
		const docker = dockerOf(env);
		await docker.stop("--all", 3.2);
		await docker.remove("--all");
		await docker.hasImage("--format");
		await docker.pull("--all-tags", () => {}, new AbortController().signal);
		await Array.fromAsync(docker.logs("--follow", { tail: 5 }));
		await docker.run(["--name=x", "image"], {});
		expect(calls().slice(0, 5)).toEqual([
			"stop -t 4 -- --all",
			"rm --force --volumes -- --all",
			"image inspect --format {{.Id}} -- --format",
			"pull -- --all-tags",
			"logs --tail=5 -- --follow",
		]);
		expect(calls()[5]).toMatch(/^run --detach --label=router\.start=\S+ --name=x image$/);
	});
});
