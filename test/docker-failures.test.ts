/** What the Docker CLI prints when it fails → what is wrong and what to do. Outputs as Docker 20.10–29 and podman 4–5 print them. */
import { describe, expect, test } from "bun:test";
import type { DockerErrorKind } from "../src/agent/docker/docker-error.ts";
import { dockerError, type FailedCall } from "../src/agent/docker/docker-failures.ts";

const call = (stderr: string, more: Partial<FailedCall> = {}): FailedCall => ({
	command: "docker",
	verb: "run",
	end: "exit",
	stderr,
	...more,
});
const IMAGE = "vllm/vllm-openai:v9";

const RECORDED: [problem: DockerErrorKind, fix: RegExp, stderr: string, command?: "podman"][] = [
	[
		"no-network",
		/`agent\.network`/,
		"docker: Error response from daemon: network router-gpu-1 not found.\nSee 'docker run --help'.\n",
	],
	[
		"no-network",
		/podman network ls/,
		"Error: unable to find network with name or ID nosuch: network not found\n",
		"podman",
	],
	[
		"failed",
		/network prune.*agent\.network: bridge/,
		"Error response from daemon: all predefined address pools have been fully subnetted\n",
	],
	[
		"not-running",
		/systemctl start docker/,
		"Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n",
	],
	[
		"not-running",
		/systemctl start docker/,
		'error during connect: Get "http://10.0.0.9:2375/v1.50/containers/json": dial tcp 10.0.0.9:2375: connect: connection refused\n',
	],
	[
		"not-running",
		/podman\.socket/,
		'Cannot connect to Podman. Please verify your connection to the Linux system using `podman system connection list`, or try `podman machine init` and `podman machine start` to manage a new Linux VM\nError: unable to connect to Podman socket: Get "http://d/v5.0.0/libpod/_ping": dial unix ///run/podman/podman.sock: connect: no such file or directory\n',
		"podman",
	],
	[
		"permission",
		/usermod -aG docker/,
		'permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.50/containers/json": dial unix /var/run/docker.sock: connect: permission denied\n',
	],
	[
		"permission",
		/usermod -aG docker/,
		"docker: Got permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Post \"http://%2Fvar%2Frun%2Fdocker.sock/v1.24/containers/create\": dial unix /var/run/docker.sock: connect: permission denied.\nSee 'docker run --help'.\n",
	],
	[
		"no-nvidia",
		/nvidia-container-toolkit/,
		"docker: Error response from daemon: could not select device driver \"\" with capabilities: [[gpu]].\n\nRun 'docker run --help' for more information\n",
	],
	[
		"no-nvidia",
		/nvidia-container-toolkit/,
		"docker: Error response from daemon: failed to discover GPU vendor from CDI: no known GPU vendor found\n",
	],
	["no-nvidia", /nvidia-ctk/, "docker: Error response from daemon: unknown or invalid runtime name: nvidia.\n"],
	["no-nvidia", /cdi generate/, "Error: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=3\n", "podman"],
	[
		"no-nvidia",
		/reboot/,
		"docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error running prestart hook #0: exit status 1, stdout: , stderr: Auto-detected mode as 'legacy'\nnvidia-container-cli: initialization error: nvml error: driver/library version mismatch: unknown\n",
	],
	[
		"no-nvidia",
		/nvidia-smi -L/,
		"docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error running prestart hook #0: exit status 1, stdout: , stderr: Auto-detected mode as 'legacy'\nnvidia-container-cli: device error: 7: unknown device: unknown.\n",
	],
	[
		"no-space",
		/system df/,
		"failed to register layer: write /usr/local/lib/python3.12/dist-packages/torch/lib/libtorch_cuda.so: no space left on device\n",
	],
	[
		"no-space",
		/podman system df/,
		'Error: copying system image from manifest list: writing blob: storing blob to file "/var/tmp/container_images_storage/1": write /var/tmp/1: no space left on device\n',
		"podman",
	],
	[
		"no-image",
		/docker pull/,
		"Error response from daemon: manifest for vllm/vllm-openai:v9 not found: manifest unknown: manifest unknown\n",
	],
	[
		"no-image",
		/docker login/,
		"Error response from daemon: pull access denied for vllm/vllm-opnai, repository does not exist or may require 'docker login': denied: requested access to the resource is denied\n",
	],
	["no-image", /docker pull/, "docker: Error response from daemon: No such image: vllm/vllm-openai:v9\n"],
	["no-image", /podman pull/, "Error: vllm/vllm-openai:v9: image not known\n", "podman"],
	[
		"no-image",
		/docker login/,
		'Error response from daemon: Head "https://registry.internal/v2/vllm/manifests/v9": unauthorized: authentication required\n',
	],
	[
		"no-image",
		/processor/,
		"Error response from daemon: no matching manifest for linux/arm64/v8 in the manifest list entries: no match for platform in manifest: not found\n",
	],
	["no-image", /agent\.image/, "docker: invalid reference format\n"],
	[
		"registry",
		/agent\.registry/,
		"Error response from daemon: toomanyrequests: You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit\n",
	],
	[
		"registry",
		/agent\.registry/,
		'Error response from daemon: Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io on 127.0.0.53:53: no such host\n',
	],
	[
		"registry",
		/agent\.registry/,
		'Error response from daemon: Get "https://registry-1.docker.io/v2/": net/http: TLS handshake timeout\n',
	],
	[
		"port-taken",
		/next one/,
		"docker: Error response from daemon: driver failed programming external connectivity on endpoint router-chat-1a2b3c4d (5f0c): Bind for 127.0.0.1:20001 failed: port is already allocated.\n",
	],
	[
		"port-taken",
		/next one/,
		"docker: Error response from daemon: failed to set up container networking: driver failed programming external connectivity on endpoint router-chat-1a2b3c4d (5f0c): failed to bind host port for 127.0.0.1:20001:172.17.0.2:8000/tcp: address already in use\n",
	],
	[
		"port-taken",
		/next one/,
		"Error: rootlessport listen tcp 127.0.0.1:20001: bind: address already in use\n",
		"podman",
	],
	[
		"name-taken",
		/rm --force router-chat/,
		'docker: Error response from daemon: Conflict. The container name "/router-chat" is already in use by container "0f3c". You have to remove (or rename) that container to be able to reuse that name.\n',
	],
	["gone", /agent/, "Error response from daemon: No such container: 0f3c\n"],
	["gone", /agent/, 'Error: no container with name or ID "0f3c" found: no such container\n', "podman"],
	["not-running", /systemctl start docker/, "unexpected EOF\n"],
	[
		"failed",
		/journalctl/,
		"docker: Error response from daemon: failed to create the runc thing\n\nRun 'docker run --help' for more information\n",
	],
];

describe("a recorded failure", () => {
	test.each(RECORDED)("%s, mended by %p", (problem, fix, stderr, command = "docker" as never) => {
		const error = dockerError(call(stderr, { command, subject: problem === "name-taken" ? "router-chat" : IMAGE }));
		expect(error.kind).toBe(problem);
		expect(error.fix).toMatch(fix);
		expect(error.message).not.toContain("undefined");
		expect(error.message).not.toContain("\n");
		expect(error.message.length).toBeLessThan(400);
	});

	test("that no row knows is told by its own last words, without the CLI's hint", () => {
		expect(dockerError(call(RECORDED.at(-1)![2])).message).toBe("`docker run` failed: failed to create the runc thing");
		expect(dockerError(call("")).message).toBe("`docker run` failed: it gave no reason");
	});
});

test("a port that is taken is named", () => {
	const messages = RECORDED.filter(([problem]) => problem === "port-taken").map(
		([, , stderr]) => dockerError(call(stderr)).message,
	);
	expect(messages).toHaveLength(3);
	for (const message of messages) expect(message).toBe("the container's port 20001 is taken by another program");
});

test("a missing program and a deadline say so, whatever was printed", () => {
	const missing = dockerError(call("", { end: "missing" }));
	expect([missing.kind, missing.message]).toEqual(["missing", "`docker` is not installed, or not on the agent's PATH"]);
	expect(missing.fix).toContain("apt-get install -y docker.io");
	expect(dockerError(call("", { end: "missing", command: "podman" })).fix).toContain("podman");
	const late = dockerError(call("no space left on device", { end: "timeout", verb: "stop" }));
	expect([late.kind, late.message]).toEqual(["timeout", "`docker stop` did not end in time"]);
});

test("a pull that breaks off is the registry's, not the daemon's", () => {
	expect(dockerError(call("unexpected EOF", { verb: "pull" })).kind).toBe("failed");
});

test("one endless line is cut", () => {
	expect(dockerError(call("x".repeat(10_000))).message.length).toBeLessThan(400);
});
