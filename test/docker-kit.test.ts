/** The tests' own Docker Engine: real, private, and gone without a trace. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { type DockerEngine, startDockerEngine } from "./kit/docker.ts";
import { needing } from "./kit/needing.ts";
import { type Registry, startRegistry } from "./kit/registry.ts";

// A start of the daemon and an import take two seconds on an idle machine.
setDefaultTimeout(120_000);

/** Looks again and again; rejects with what was seen last. */
async function eventually<T>(look: () => Promise<T>, enough: (seen: T) => boolean): Promise<T> {
	let seen = await look();
	for (let again = 0; again < 2000 && !enough(seen); again++) {
		await Bun.sleep(25);
		seen = await look();
	}
	if (!enough(seen)) throw new Error(`it never came: ${JSON.stringify(seen)}`);
	return seen;
}

/** What is on this machine of one engine; other test runs may have theirs. */
const traces = ({ directory, gateway }: Pick<DockerEngine, "directory" | "gateway">) => ({
	addresses: Object.values(networkInterfaces())
		.flatMap((all) => all ?? [])
		.filter(({ address }) => address === gateway).length,
	mounts: readFileSync("/proc/mounts", "utf8")
		.split("\n")
		.filter((line) => line.includes(`${directory}/`)).length,
	files: existsSync(directory),
	processes: readdirSync("/proc").filter((name) => {
		if (!/^\d+$/.test(name)) return false;
		// A process that ends meanwhile is none.
		try {
			return readFileSync(`/proc/${name}/cmdline`, "utf8").includes(`${directory}/`);
		} catch {
			return false;
		}
	}).length,
});
const NOTHING = { addresses: 0, mounts: 0, files: false, processes: 0 };

needing("docker").describe("the Docker Engine of the tests", () => {
	let engine: DockerEngine;
	let registry: Registry;
	/** Runs the sim; gives the container's id. */
	const run = async (image: string, ...options: readonly string[]) =>
		(await engine.docker("run", "-d", "-p", "127.0.0.1:0:8000", ...options, image, "Qwen/Qwen3-8B")).trim();
	/** Runs one that serves; gives where, too. */
	async function serve(image: string, ...options: readonly string[]) {
		const id = await run(image, ...options);
		const origin = await originOf(id);
		await healthy(origin);
		return { id, origin };
	}
	const originOf = async (id: string) => `http://${(await engine.docker("port", id, "8000/tcp")).trim()}`;
	const healthy = (origin: string) =>
		eventually(
			() =>
				fetch(`${origin}/health`).then(
					({ status }) => status,
					() => 0,
				),
			(status) => status === 200,
		);
	const state = async (id: string) =>
		JSON.parse(await engine.docker("inspect", "--format", "{{json .State}}", id)) as {
			Status: string;
			ExitCode: number;
		};

	beforeAll(async () => {
		registry = await startRegistry();
		engine = await startDockerEngine({ mirror: registry.origin });
		await engine.importSim("vllm-sim:test");
	});
	afterAll(async () => {
		await engine.stop();
		await registry.stop();
	});

	test("runs the sim with GPUs, reachable on loopback", async () => {
		const { id, origin } = await serve("vllm-sim:test", "--gpus", '"device=0,1"', "-e", "VLLM_API_KEY=k");
		await healthy(origin);
		expect(origin).toStartWith("http://127.0.0.1:");
		const messages = [{ role: "user", content: "hi" }];
		const answer = await fetch(`${origin}/v1/chat/completions`, {
			method: "POST",
			headers: { "content-type": "application/json", authorization: "Bearer k" },
			body: JSON.stringify({ model: "Qwen/Qwen3-8B", messages }),
		});
		expect(answer.status).toBe(200);
		expect(await engine.docker("exec", id, "vllm", "serve", "--nope").catch(String)).toContain(
			"unrecognized arguments: --nope",
		);
		// Both streams come out; which line is on which is vLLM's.
		const logs = Bun.spawn(["docker", "logs", id], { env: { ...process.env, ...engine.env }, stderr: "pipe" });
		expect(await new Response(logs.stderr).text()).toContain("INFO:     Application startup complete.");
		expect(await engine.docker("logs", id)).toContain("Starting vLLM API server 0 on http://0.0.0.0:8000");
	});

	test("without --gpus the sim finds no device, unless the image is for CPUs", async () => {
		const id = await run("vllm-sim:test");
		const ended = await eventually(
			() => state(id),
			({ Status }) => Status === "exited",
		);
		expect(ended.ExitCode).toBe(1);
		await engine.importSim("vllm-sim:cpu", { SIM_DEVICE: "cpu" });
		await serve("vllm-sim:cpu");
	});

	test("images can be made to fail", async () => {
		await engine.importSim("vllm-sim:oom", { SIM_FAIL: "cuda-oom" });
		const id = await run("vllm-sim:oom", "--gpus", "all");
		await eventually(
			() => state(id),
			({ Status }) => Status === "exited",
		);
		const logs = Bun.spawn(["sh", "-c", 'docker logs "$1" 2>&1', "sh", id], { env: { ...process.env, ...engine.env } });
		expect(await new Response(logs.stdout).text()).toContain("CUDA out of memory");
	});

	test("containers that share a volume share the memory of their GPUs", async () => {
		const share = ["-v", "vllm-cache:/root/.cache/vllm", "-e", "SIM_GPU_DIR=/root/.cache/vllm/gpus"];
		const first = await serve("vllm-sim:test", "--gpus", "device=1", ...share);
		const second = await run("vllm-sim:test", "--gpus", "device=1", ...share);
		await eventually(
			() => state(second),
			({ Status }) => Status === "exited",
		);
		await serve("vllm-sim:test", "--gpus", "device=2", ...share);
		await engine.docker("kill", first.id);
		await engine.docker("start", second);
		await healthy(await originOf(second));
	});

	test("pulls from the registry, and from it in Docker Hub's place", async () => {
		expect(await engine.docker("pull", `${registry.host}/vllm/vllm-openai:v1`)).toContain("Pull complete");
		await engine.docker("pull", "vllm/vllm-openai:v1");
		await serve("vllm/vllm-openai:v1", "--gpus", "all");
		expect(registry.received.some((line) => line.includes("/blobs/"))).toBe(true);
		registry.only("vllm/vllm-openai");
		const unknown = await engine.docker("pull", `${registry.host}/nobody/nothing:v1`).catch(String);
		expect(unknown).toMatch(/not found|unknown/);
	});

	test("a daemon that restarts stops its containers; one that is killed loses none of its files", async () => {
		const { id, origin } = await serve("vllm-sim:test", "--gpus", "all");
		await healthy(origin);
		const before = engine.pid;
		await engine.restart();
		expect(engine.pid).not.toBe(before);
		expect((await state(id)).Status).toBe("exited");
		await engine.docker("start", id);
		// A restart may publish it elsewhere.
		await healthy(await originOf(id));
		await engine.restart("SIGKILL");
		expect(await engine.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}")).toContain("vllm-sim:test");
	});

	test("a daemon that is down is down until it is up", async () => {
		await engine.down();
		expect(await engine.docker("ps").catch(String)).toContain("Cannot connect to the Docker daemon");
		await engine.up();
		expect(await engine.docker("ps", "--all")).toContain("vllm-sim");
	});
});

needing("docker").describe("an engine of its own kind", () => {
	test("keeps containers over a restart, beside another engine, without NVIDIA's toolkit", async () => {
		await using first = await startDockerEngine({ liveRestore: true, nvidia: false });
		await using second = await startDockerEngine();
		await first.importSim("vllm-sim:cpu", { SIM_DEVICE: "cpu" });
		const args = ["run", "-d", "-p", "127.0.0.1:0:8000", "vllm-sim:cpu", "Qwen/Qwen3-0.6B"];
		const id = (await first.docker(...args)).trim();
		const origin = `http://${(await first.docker("port", id, "8000/tcp")).trim()}`;
		const status = () =>
			fetch(`${origin}/health`).then(
				(answer) => answer.status,
				() => 0,
			);
		await eventually(status, (seen) => seen === 200);
		await second.restart();
		expect(await status()).toBe(200);
		await first.restart();
		expect(await first.docker("inspect", "--format", "{{.State.Status}}", id)).toBe("running\n");
		await eventually(status, (seen) => seen === 200);
		const refused = await first.docker("run", "--rm", "--gpus", "all", "vllm-sim:cpu", "m").catch(String);
		expect(refused).toContain("could not select device driver");
		// It knows nothing of the other's.
		expect(await second.docker("ps", "--all", "--quiet")).toBe("");
	});

	test("fills its own disk and no other", async () => {
		await using engine = await startDockerEngine({ disk: "300m" });
		await engine.importSim("vllm-sim:test");
		engine.fill();
		const full = await engine.docker("run", "--rm", "--gpus", "all", "vllm-sim:test", "m").catch(String);
		expect(full).toContain("no space left on device");
		engine.free();
		const found = await engine.docker("run", "--rm", "--gpus", "all", "vllm-sim:test", "--nope").catch(String);
		expect(found).toContain("unrecognized arguments");
	});

	test("leaves nothing: not when it is stopped, hung, or its test run is killed", async () => {
		const engine = await startDockerEngine();
		await engine.importSim("vllm-sim:cpu", { SIM_DEVICE: "cpu" });
		await engine.docker("run", "-d", "-p", "127.0.0.1:0:8000", "vllm-sim:cpu", "Qwen/Qwen3-0.6B");
		// The daemon, containerd, and the container's shim; an overlay and a network.
		const all = traces(engine);
		expect([all.addresses, all.files, all.processes >= 3, all.mounts >= 2]).toEqual([1, true, true, true]);
		process.kill(engine.pid, "SIGSTOP");
		await engine.stop();
		expect(traces(engine)).toEqual(NOTHING);

		const script = `
			const { startDockerEngine } = await import(${JSON.stringify(`${import.meta.dir}/kit/docker.ts`)});
			const engine = await startDockerEngine({ disk: "300m" });
			await engine.importSim("vllm-sim:cpu", { SIM_DEVICE: "cpu" });
			await engine.docker("run", "-d", "vllm-sim:cpu", "Qwen/Qwen3-0.6B");
			console.log(JSON.stringify({ directory: engine.directory, gateway: engine.gateway }));
			setInterval(() => {}, 1000);
		`;
		const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
		const { value } = await child.stdout.getReader().read();
		const orphan = JSON.parse(new TextDecoder().decode(value)) as DockerEngine;
		expect(traces(orphan)).toMatchObject({ addresses: 1, files: true });
		child.kill("SIGKILL");
		await child.exited;
		const left = await eventually(
			async () => traces(orphan),
			(seen) => Bun.deepEquals(seen, NOTHING),
		);
		expect(left).toEqual(NOTHING);
	});
});
