/** `agent.models[].mounts`: what of the host a model's containers may read, and what they may never. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dockerError } from "../src/agent/docker/docker-failures.ts";
import { engineHost, isRootsEngine } from "../src/agent/docker/engine-host.ts";
import { agentFile } from "../src/agent/models/agent-file.ts";
import { specHash } from "../src/agent/models/container-spec.ts";
import { ModelRegistry } from "../src/agent/models/model-registry.ts";
import type { SpecSettings } from "../src/agent/models/model-spec.ts";
import { mountArgs, mountedFilesProblem } from "../src/agent/models/mounts.ts";
import { specProblem } from "../src/agent/models/spec-problem.ts";
import { type AgentHost, becomes, order, startAgentHost } from "./kit/agent-host.ts";
import { needing } from "./kit/needing.ts";

const SPEC = { name: "chat", model: "Qwen/Qwen3-8B" };
const problemOf = (mount: string, model = SPEC.model) => specProblem({ ...SPEC, model, mounts: [mount] }, "config");

describe("a mount is refused", () => {
	test.each([
		["/adapters", "is no mount"],
		["adapters:/adapters", "is no mount"],
		["/a:/b:/c", "is no mount"],
		["/a,source=/etc:/b", "is no mount"],
		["/a:/b:rw", "can't be writable"],
		["/a:/b:Z", 'has the option "Z"'],
		["/srv/../etc:/b", "names /srv/../etc"],
		["/srv/./a:/b", "names /srv/./a"],
		["/a:/b/..", "names /b/.."],
		["/a\n:/b", "is no absolute path"],
		["/proc/1/root:/b", "names /proc/1/root"],
		["/sys:/b", "names /sys"],
		["/dev:/b", "names /dev"],
		["/:/host", "engine's socket"],
		["/var/run/docker.sock:/docker.sock", "engine's socket"],
		["/run:/host-run", "engine's socket"],
		["/var/run/:/host-run", "engine's socket"],
		["/run/podman/podman.sock:/podman.sock", "engine's socket"],
		["/var:/host-var", "engine's socket"],
		["/var/run/containerd:/x", "engine's socket"],
		["/run/crio/crio.sock:/x", "engine's socket"],
		["/run/user/1000/docker.sock:/x", "engine's socket"],
		["/run/user/1000/podman:/x", "engine's socket"],
		["/var/run/user/1000:/x", "engine's socket"],
		["/run/user:/x", "engine's socket"],
		["/a:/", "is no absolute path"],
		["/a:/usr", "would hide /usr"],
		["/a:/root", "would hide /root"],
		["/a:/tmp/", "would hide /tmp"],
		["/a:/proc/sys", "would hide /proc/sys"],
		["/a:/root/.cache", "would lie over /root/.cache/huggingface"],
		["/a:/root/.cache/huggingface", "would lie over /root/.cache/huggingface"],
		["/a:/root/.cache/vllm/x", "would lie over /root/.cache/vllm"],
	])("%p: %s", (mount, words) => {
		expect(problemOf(mount)).toStartWith("mounts: ");
		expect(problemOf(mount)).toContain(words);
	});

	test.each(["/models/qwen", "/models", "/models/qwen/adapters"])("over the model's own directory: %s", (target) => {
		expect(problemOf(`/a:${target}`, "/models/qwen")).toContain("would lie over /models/qwen");
	});

	test("that has the target of another", () => {
		expect(specProblem({ ...SPEC, mounts: ["/a:/x", "/b:/x/"] }, "config")).toBe("mounts: /x is named twice");
	});

	test("from the API, at once and after a restart: it would show a caller the host's files", () => {
		const directory = mkdtempSync(join(tmpdir(), "mounts-"));
		try {
			const registry = new ModelRegistry([], agentFile(directory));
			const body = { model: "a/b", mounts: ["/srv/adapters:/adapters"] };
			expect(() => registry.order("x", "load", body)).toThrow("in the configuration only");
			agentFile(directory).update({ models: { x: { spec: body } } });
			expect(new ModelRegistry([], agentFile(directory)).get("x")).toBeUndefined();
		} finally {
			rmSync(directory, { recursive: true, force: true });
		}
	});

	test("of a configuration, with its place", () => {
		const model = { model: "a/b", load: "always" as const, mounts: ["/etc"] };
		expect(() => new ModelRegistry([model], agentFile("/nowhere"))).toThrow(
			'agent.models[0].mounts: "/etc" is no mount',
		);
	});
});

describe("a mount", () => {
	test("is read-only, and made by a flag that makes no directory of its own", () => {
		const mounts = ["/srv/adapters/:/adapters", "/srv/chat.jinja:/templates/chat.jinja:ro", "/srv/x:/x:z"];
		expect(specProblem({ ...SPEC, mounts }, "config")).toBeUndefined();
		expect(mountArgs({ ...SPEC, mounts })).toEqual([
			"--mount=type=bind,source=/srv/adapters,target=/adapters,readonly",
			"--mount=type=bind,source=/srv/chat.jinja,target=/templates/chat.jinja,readonly",
			"--volume=/srv/x:/x:ro,z",
		]);
	});

	test("may lie inside a directory of the image", () => {
		expect(problemOf("/srv/plugin:/usr/local/lib/python3.12/dist-packages/plugin")).toBeUndefined();
	});

	test("makes another container; no mount makes that of a version which knew of none", () => {
		const settings: SpecSettings = {
			agent: "gpu-1",
			command: "docker",
			accelerator: "nvidia",
			cacheDir: "/data",
			env: [],
			shutdownTimeoutS: 30,
			sleep: false,
		};
		const plain = specHash(SPEC, settings);
		expect(specHash({ ...SPEC, mounts: [] }, settings)).toBe(plain);
		expect(specHash({ ...SPEC, mounts: ["/a:/b"] }, settings)).not.toBe(plain);
	});
});

describe("before a container is made", () => {
	let directory: string;
	beforeAll(() => {
		directory = mkdtempSync(join(tmpdir(), "mounts-"));
	});
	afterAll(() => rmSync(directory, { recursive: true, force: true }));
	const problem = (path: string, isHere = true) =>
		mountedFilesProblem(
			{ ...SPEC, mounts: [`${path}:/x`] },
			{ address: "", isHere, sockets: [join(directory, "engine.sock")] },
		);

	test("what is not there is named, with what to do", async () => {
		const missing = join(directory, "missing");
		expect(await problem(missing)).toEqual({
			reason: `${missing}, which \`mounts\` names, does not exist on this host`,
			fix: `make it (\`mkdir -p ${missing}\`) and put the files there, or correct \`agent.models[].mounts\``,
		});
		expect(await problem(missing, false)).toBeUndefined();
	});

	test("a link to the engine's socket, or to a directory that holds it, is refused", async () => {
		writeFileSync(join(directory, "engine.sock"), "");
		mkdirSync(join(directory, "links"));
		symlinkSync(join(directory, "engine.sock"), join(directory, "links/socket"));
		symlinkSync(directory, join(directory, "links/directory"));
		for (const link of ["links/socket", "links/directory"]) {
			expect((await problem(join(directory, link)))?.reason).toContain("leads to a socket");
		}
		expect(await problem(join(directory, "links"))).toBeUndefined();
	});

	test("so is a model's own directory that is such a link", async () => {
		const engine = { address: "", isHere: true, sockets: [join(directory, "engine.sock")] };
		const model = join(directory, "links/directory");
		expect(await mountedFilesProblem({ ...SPEC, model }, engine)).toEqual({
			reason: `${model}, which \`model\` names, leads to a socket`,
			fix: "name the directory with the model's files alone (`agent.models[].model`)",
		});
		expect(await mountedFilesProblem({ ...SPEC, model: join(directory, "links") }, engine)).toBeUndefined();
		expect(await mountedFilesProblem({ ...SPEC, model: "/not/there" }, engine)).toBeUndefined();
	});

	test("so is any other socket", async () => {
		const path = join(directory, "links/other.sock");
		const listener = Bun.listen({ unix: path, socket: { data() {} } });
		expect((await problem(path))?.reason).toContain("leads to a socket");
		listener.stop(true);
	});
});

describe("the engine of an environment", () => {
	test.each([
		["docker", {}, { address: "unix:///var/run/docker.sock", isHere: true }],
		[
			"docker",
			{ DOCKER_HOST: "unix:///nowhere/docker.sock" },
			{ address: "unix:///nowhere/docker.sock", isHere: true },
		],
		["docker", { DOCKER_HOST: "tcp://10.0.0.1:2375" }, { address: "tcp://10.0.0.1:2375", isHere: false }],
		["docker", { DOCKER_CONTEXT: "gpu" }, { address: "context:gpu", isHere: false }],
		[
			"podman",
			{ CONTAINER_HOST: "ssh://gpu/run/podman.sock" },
			{ address: "ssh://gpu/run/podman.sock", isHere: false },
		],
	] as const)("%s, %p", (command, env, expected) => expect(engineHost(command, env)).toMatchObject(expected));

	test("is a user's where its socket is, or podman runs without one for a user", () => {
		const own = process.getuid!();
		using directory = new TemporaryDirectory();
		const path = join(directory.path, "podman.sock");
		writeFileSync(path, "");
		// Root alone may give it away.
		if (own === 0) chownSync(path, 1000, 1000);
		for (const env of [{ DOCKER_HOST: `unix://${path}` }, { CONTAINER_HOST: `unix://${path}` }]) {
			expect(isRootsEngine("podman", env)).toBe(false);
		}
		expect(isRootsEngine("docker", { DOCKER_HOST: `unix://${path}` })).toBe(false);
		expect(isRootsEngine("podman", {})).toBe(own === 0);
	});

	test("is its user's before its socket is there, by the nearest directory above", () => {
		using directory = new TemporaryDirectory();
		// Root alone may give it away.
		if (process.getuid!() === 0) chownSync(directory.path, 1000, 1000);
		const socket = `unix://${join(directory.path, "podman", "podman.sock")}`;
		expect(isRootsEngine("podman", { CONTAINER_HOST: socket })).toBe(false);
		expect(isRootsEngine("docker", { DOCKER_HOST: socket })).toBe(false);
	});

	test.each([
		["docker", { DOCKER_HOST: "unix:///nowhere/podman.sock" }],
		["docker", { DOCKER_HOST: "tcp://10.0.0.1:2375" }],
		["podman", { CONTAINER_HOST: "ssh://gpu/run/podman.sock" }],
	] as const)("counts as root's where that can't be seen: %s, %p", (command, env) => {
		expect(isRootsEngine(command, env)).toBe(true);
	});

	test("is one, whichever link leads to its socket", () => {
		using directory = new TemporaryDirectory();
		writeFileSync(join(directory.path, "real.sock"), "");
		symlinkSync(directory.path, `${directory.path}-link`);
		const of = (path: string) => engineHost("docker", { DOCKER_HOST: `unix://${path}/real.sock` }).address;
		expect(of(`${directory.path}-link`)).toBe(of(directory.path));
		rmSync(`${directory.path}-link`);
	});
});

class TemporaryDirectory {
	readonly path = mkdtempSync(join(tmpdir(), "engine-"));
	[Symbol.dispose](): void {
		rmSync(this.path, { recursive: true, force: true });
	}
}

test.each([
	'docker: Error response from daemon: invalid mount config for type "bind": bind source path does not exist: /srv/gone.\n',
	"Error: statfs /srv/gone.: no such file or directory\n",
])("the engine's own words for it: %p", (stderr) => {
	const error = dockerError({ command: "docker", verb: "run", end: "exit", stderr });
	expect(error.message).toContain("/srv/gone., which a model of the agent mounts, does not exist");
});

needing("docker").describe("in a container", () => {
	let host: AgentHost;
	let directory: string;
	beforeAll(async () => {
		host = await startAgentHost();
		directory = join(host.engine.directory, "adapters");
	}, 60_000);
	afterAll(async () => host?.stop(), 60_000);

	test("a missing directory is said and not made; once it is there the model starts, and may not write to it", async () => {
		const model = { model: "Qwen/Qwen3-0.6B", name: "small", gpus: 0, mounts: [`${directory}:/adapters`] };
		const agent = await host.agent({ models: [model] });
		try {
			const { reason } = await becomes(agent, "small", "failed");
			expect(reason).toBe(`${directory}, which \`mounts\` names, does not exist on this host`);
			expect(
				await Bun.file(directory)
					.stat()
					.catch(() => undefined),
			).toBeUndefined();
			expect(await host.containers(true)).toEqual([]);
			mkdirSync(directory);
			expect((await order(agent, "small", "load")).status).toBe(202);
			await becomes(agent, "small", "ready");
			const [id] = await host.containers();
			const [{ Mounts }] = JSON.parse(await host.engine.docker("inspect", id!));
			expect(Mounts).toContainEqual(
				expect.objectContaining({ Type: "bind", Source: directory, Destination: "/adapters", RW: false }),
			);
		} finally {
			await agent.stop();
		}
	}, 60_000);
});
