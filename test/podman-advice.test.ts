/** Where containers are podman's, advice names podman: its commands, its service, its way to GPUs. */
import { describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DockerCli } from "../src/agent/docker/docker.ts";
import { DockerError } from "../src/agent/docker/docker-error.ts";
import { dockerError, type FailedCall } from "../src/agent/docker/docker-failures.ts";
import { endedBy } from "../src/agent/docker/ended-by.ts";
import { engineCommand, engineOf } from "../src/agent/docker/engine-host.ts";
import { INITIAL_STATE, supervise } from "../src/agent/models/supervisor.ts";
import { diagnose } from "../src/agent/vllm/vllm-log.ts";

/** Docker's name where it is no registry's or image's. */
const DOCKER = /\bdocker\b(?!\.io)/i;

describe("a failure under podman is told in podman's words:", () => {
	test.each([
		[
			"no service",
			"ps",
			"Cannot connect to Podman. Please verify your connection",
			/systemctl --user enable --now podman\.socket/,
		],
		[
			"a socket of another user",
			"ps",
			"dial unix /run/podman/podman.sock: connect: permission denied",
			/systemctl --user enable --now podman\.socket/,
		],
		[
			"no GPU by CDI",
			"run",
			"Error: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all",
			/nvidia-ctk cdi generate/,
		],
		["no toolkit", "run", "nvidia-container-cli: whatever", /podman run --rm --device nvidia\.com\/gpu=all/],
		["no ids for users", "run", 'cannot set up namespace using "/usr/bin/newuidmap": exit status 1', /--add-subuids/],
		[
			"a name without a registry",
			"pull",
			'Error: short-name "vllm/vllm-openai:v9" did not resolve to an alias and no unqualified-search registries are defined in "/etc/containers/registries.conf"',
			/docker\.io\/vllm\/vllm-openai:v9/,
		],
		[
			"no controller for memory",
			"run",
			"Error: crun: opening file `memory.max` for writing: No such file or directory: OCI runtime attempted to invoke a command that was not found",
			/cgroup v2|Delegate=yes/,
		],
		["no message queues", "run", "Error: statfs /dev/mqueue: no such file or directory", /mount -t mqueue/],
		["no space", "pull", "writing blob: no space left on device", /podman system df/],
		["a name that is taken", "run", 'the container name "router-chat" is already in use by 0f3c', /podman rm --force/],
		["a broken connection", "run", "unexpected EOF", /podman\.socket/],
		["anything else", "run", "Error: something new", /podman --log-level debug run/],
	])("%s", (_, verb, stderr, fix) => {
		const call: FailedCall = { command: "podman", verb, subject: "vllm/vllm-openai:v9", end: "exit", stderr };
		const error = dockerError(call);
		expect(error.fix).toMatch(fix);
		expect(`${error.message} ${error.fix}`).not.toMatch(DOCKER);
		// Docker's client may talk to podman's socket: then the service is podman's all the same.
		if (error.kind === "not-running") {
			expect(dockerError({ ...call, command: "docker", engine: "podman" }).fix).toContain("podman.socket");
		}
	});

	test.each(["missing", "timeout"] as const)("%s", (end) => {
		const { message, fix } = dockerError({ command: "podman", verb: "ps", end, stderr: "" });
		expect(`${message} ${fix}`).toContain("podman");
		expect(`${message} ${fix}`).not.toMatch(DOCKER);
	});

	test("a paused container", () => {
		const container = {
			id: "0123456789abcdef",
			key: "m#0",
			hash: "h",
			state: "paused",
			health: "unknown",
			startedAt: 0,
			progressAt: 0,
		} as const;
		const wanted = { key: "m#0", goal: "up", hash: "h", image: "i", running: 0 } as const;
		const limits = { silenceMs: 1, startMs: 1, drainMs: 1 };
		const world = { command: "podman", containers: [container], images: new Set(["i"]), inFlight: new Map() } as const;
		const problem = supervise([wanted], world, INITIAL_STATE, limits, 0).states.get("m#0")?.problem;
		expect(problem?.fix).toStartWith("`podman unpause 0123456789ab`");
		expect(`${problem?.reason}`).not.toMatch(DOCKER);
	});

	test.each([
		"RuntimeError: Failed to infer device type",
		"PermissionError: [Errno 13] Permission denied: '/root/.cache/huggingface/hub'",
	])("a cause in vLLM's log: %s", (error) => {
		const found = diagnose(["Traceback (most recent call last):", '  File "a.py", line 1, in a', error], {
			command: "podman",
		});
		expect(found?.fix).toContain("podman");
		expect(found?.fix).not.toMatch(DOCKER);
	});
});

describe("who ended a container of podman", () => {
	/** As podman 4 prints them. */
	const line = (status: string) =>
		JSON.stringify({
			ID: "c",
			Name: "router-chat",
			Status: status,
			Type: "container",
			Attributes: { "router.agent": "a" },
		});

	test.each([
		["`podman stop`", ["init", "start", "stop", "died", "cleanup"], { by: "stopped" }],
		["`podman kill`", ["init", "start", "kill", "died", "cleanup"], { by: "killed" }],
		["nobody", ["init", "start", "died", "cleanup"], undefined],
	])("is read from its events: %s", async (_, statuses, end) => {
		const directory = mkdtempSync(join(tmpdir(), "podman-"));
		try {
			// podman 4 prints nothing where `--until` has seconds.
			writeFileSync(
				join(directory, "podman"),
				`#!/bin/sh\ncase "$*" in *--until*) exit 0;; *--stream=false*) ;; *) exit 1;; esac\ncat <<'END'\n${statuses.map(line).join("\n")}\nEND\n`,
			);
			chmodSync(join(directory, "podman"), 0o755);
			const env = { PATH: `${directory}:${process.env["PATH"]}` };
			const podman = new DockerCli({ command: "podman", env, deadlineMs: 10_000, pullSilenceMs: 1 });
			const events = await podman.pastEvents("c", 5000);
			expect(events.length).toBe(statuses.length);
			expect<unknown>(endedBy(events, { engine: "podman", exitCode: 0, engineWasAway: false })).toEqual(end);
		} finally {
			rmSync(directory, { recursive: true, force: true });
		}
	});
});

describe("a container whose limit of memory the engine leaves out", () => {
	const IGNORED = "Resource limits are not supported and ignored on cgroups V1 rootless systems";
	const DISCARDED =
		"WARNING: Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.";

	/** Runs one with an engine that says so, and starts it. @returns what came of it, and what else was asked */
	async function started(command: "docker" | "podman", warning: string, ...args: string[]) {
		const directory = mkdtempSync(join(tmpdir(), "engine-"));
		try {
			const [calls, program] = [join(directory, "calls"), join(directory, command)];
			const script = `#!/bin/sh
				echo "$*" >>${calls}
				echo '${warning}' >&2
				echo c0ffee
			`;
			writeFileSync(program, script);
			chmodSync(program, 0o755);
			const env = { PATH: `${directory}:${process.env["PATH"]}` };
			const engine = new DockerCli({ command, env, deadlineMs: 10_000, pullSilenceMs: 1 });
			const end = await engine.run([...args, "image"], {}).catch((error) => error);
			return { end, removals: readFileSync(calls, "utf8").match(/^rm .*$/gm) ?? [] };
		} finally {
			rmSync(directory, { recursive: true, force: true });
		}
	}

	test.each([
		["podman", IGNORED, /Delegate=yes/],
		["docker", DISCARDED, /cgroup_enable=memory/],
	] as const)("is removed, and %s's want of it is told", async (command, warning, fix) => {
		const { end, removals } = await started(command, warning, "--memory=1g", "--memory-swap=1g");
		expect(end).toBeInstanceOf(DockerError);
		expect([end.message, end.fix]).toEqual([
			expect.stringContaining("can't limit a container's memory"),
			expect.stringMatching(fix),
		]);
		expect(removals).toEqual(["rm --force --volumes -- c0ffee"]);
	});

	test("stays where none was asked for, or swap alone is not limited", async () => {
		const swap =
			"WARNING: Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.";
		expect(await started("podman", IGNORED)).toEqual({ end: "c0ffee", removals: [] });
		expect(await started("docker", swap, "--memory=1g")).toEqual({ end: "c0ffee", removals: [] });
	});
});

describe("the command that really runs", () => {
	const inDirectory = (files: Record<string, string | { link: string }>, check: (env: { PATH: string }) => void) => {
		const directory = mkdtempSync(join(tmpdir(), "path-"));
		try {
			for (const [name, content] of Object.entries(files)) {
				const file = join(directory, name);
				if (typeof content !== "string") symlinkSync(join(directory, content.link), file);
				else {
					writeFileSync(file, content);
					chmodSync(file, 0o755);
				}
			}
			check({ PATH: directory });
		} finally {
			rmSync(directory, { recursive: true, force: true });
		}
	};
	const podman = "\u007fELF podman";

	test.each([
		[
			"a script that hands over to podman",
			{
				podman,
				docker:
					'#!/usr/bin/sh\n[ -e /etc/containers/nodocker ] || echo "Emulate Docker CLI using podman." >&2\nexec /usr/bin/podman "$@"\n',
			},
			"podman",
		],
		["a link to podman", { podman, docker: { link: "podman" } }, "podman"],
		["Docker's own client", { podman, docker: "\u007fELF docker, which knows podman" }, "docker"],
		[
			"a script of somebody else's",
			{ podman, docker: '#!/bin/sh\n# not podman\nexec /usr/bin/docker.real "$@"\n' },
			"docker",
		],
		["a stand-in without podman", { docker: '#!/bin/sh\nexec podman "$@"\n' }, "docker"],
		["nothing", {}, "docker"],
	] as const)("where docker is %s", (_, files, expected) => {
		inDirectory(files, (env) => {
			expect(engineCommand("docker", env)).toBe(expected);
			expect(engineCommand("podman", env)).toBe("podman");
		});
	});

	test("says nothing of the engine behind a socket: its address does", () => {
		expect(engineOf("docker", { DOCKER_HOST: "unix:///run/user/1000/podman/podman.sock" })).toBe("podman");
		expect(engineOf("docker", { DOCKER_HOST: "unix:///var/run/docker.sock" })).toBe("docker");
		expect(engineOf("docker", {})).toBe("docker");
		expect(engineOf("podman", {})).toBe("podman");
	});
});
