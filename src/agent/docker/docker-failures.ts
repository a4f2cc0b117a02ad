/** The Docker CLI's error output → what went wrong and what to do about it. Pure. */

import { shortText } from "../../short-text.ts";
import { pinnedImage } from "../vllm/vllm-image.ts";
import { DockerError, type DockerErrorKind } from "./docker-error.ts";

/** A call of the CLI that failed. */
export interface FailedCall {
	readonly command: "docker" | "podman";
	/** Whose engine it talks to; that of the command without it. */
	readonly engine?: "docker" | "podman";
	/** The subcommand, for the message: `pull`, `run`, `ps`. */
	readonly verb: string;
	/** The image, or the container's name. */
	readonly subject?: string;
	/** How it ended: the program is not there, it took too long, or it exited with something else than 0. */
	readonly end: "missing" | "timeout" | "exit";
	readonly stderr: string;
}

interface FailurePattern {
	readonly kind: DockerErrorKind;
	/** For this subcommand the same text means something else. */
	readonly exceptVerb?: string;
	readonly pattern: RegExp;
	readonly describe: (call: FailedCall, found: RegExpExecArray) => readonly [message: string, fix: string];
}

const TOOLKIT =
	"install the NVIDIA Container Toolkit (Debian, Ubuntu: `sudo apt-get install -y nvidia-container-toolkit`), then `sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker`";
const CDI = "`sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`";

const engineIn = ({ command, engine = command }: FailedCall) => engine;

/** The first that matches wins: the more exact come first. */
const PATTERNS: readonly FailurePattern[] = [
	{
		kind: "permission",
		pattern:
			/permission denied.*(?:docker daemon socket|docker\.sock|podman\.sock)|(?:docker|podman)\.sock.*permission denied/i,
		describe: (call) => [
			`the agent may not talk to ${engineIn(call)}: permission denied on its socket`,
			engineIn(call) === "docker"
				? "`sudo usermod -aG docker $USER`, then log in again; under systemd `SupplementaryGroups=docker`"
				: "use the user's own podman: `systemctl --user enable --now podman.socket`, and unset CONTAINER_HOST and DOCKER_HOST or point them at its socket (`podman info --format '{{.Host.RemoteSocket.Path}}'`)",
		],
	},
	{
		kind: "not-running",
		pattern:
			/cannot connect to the docker daemon|is the docker daemon running|error during connect|unable to connect to podman|cannot connect to podman|docker\.sock.*(?:connection refused|no such file)/i,
		describe: (call) =>
			engineIn(call) === "docker"
				? ["Docker's daemon does not answer", "`sudo systemctl start docker`"]
				: [
						"podman's service does not answer",
						"`systemctl --user enable --now podman.socket` for the user's own, `sudo systemctl start podman.socket` for root's; without CONTAINER_HOST podman needs none",
					],
	},
	{
		kind: "no-nvidia",
		pattern: /nvidia-container-cli.*unknown device|unresolvable CDI devices? ([^\s]+)/i,
		describe: (call, [, device]) =>
			device
				? [`${engineIn(call)} knows no device ${device}`, `${CDI}; \`nvidia-ctk cdi list\` lists those there are`]
				: [
						"a GPU that the model asks for does not exist",
						"`nvidia-smi -L` lists those there are; correct the model's `devices`",
					],
	},
	{
		kind: "no-nvidia",
		pattern:
			/driver\/library version mismatch|driver not loaded|nvidia-container-cli: initialization error|libnvidia-ml\.so[^\n]*cannot open/i,
		describe: ({ stderr }) => [
			`the NVIDIA driver does not work: ${lastLine(stderr)}`,
			"`nvidia-smi` must work on the host: install the driver, or reboot after an upgrade of it",
		],
	},
	{
		kind: "no-nvidia",
		pattern:
			/could not select device driver|unknown or invalid runtime name: nvidia|failed to discover GPU vendor|nvidia-container-runtime-hook|nvidia-container-cli/i,
		describe: (call) => [
			`${engineIn(call)} can't give GPUs to containers: the NVIDIA Container Toolkit is missing or not set up`,
			engineIn(call) === "docker"
				? TOOLKIT
				: `install the NVIDIA Container Toolkit, then ${CDI}; \`podman run --rm --device nvidia.com/gpu=all ubuntu nvidia-smi\` must list them`,
		],
	},
	{
		kind: "no-network",
		pattern: /network (\S+) not found|unable to find network with name or ID (\S+):/i,
		describe: ({ command }, [, name, other = name]) => [
			`there is no network ${other}`,
			`\`${command} network ls\` lists those there are: correct \`agent.network\`, or leave it out`,
		],
	},
	{
		kind: "failed",
		pattern:
			/all predefined address pools have been fully subnetted|non-overlapping IPv4 address pool|could not find free subnet/i,
		describe: ({ command }) => [
			`${command} has no addresses left for one more network`,
			`\`${command} network prune\` removes those that nobody uses; or have the containers in one that is there (\`agent.network: bridge\`)`,
		],
	},
	{
		kind: "no-space",
		pattern: /no space left on device|disk quota exceeded|not enough space/i,
		describe: ({ command, verb }) => [
			`no space left on the disk during \`${command} ${verb}\``,
			`\`${command} system df\` shows what fills it; \`${command} image prune --all\` removes unused images`,
		],
	},
	{
		kind: "failed",
		pattern: /newuidmap|newgidmap|no subuid ranges found|insufficient UIDs or GIDs/i,
		describe: () => [
			"podman may not map users for this one: it has no ids of its own in /etc/subuid and /etc/subgid",
			"`sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER && podman system migrate`",
		],
	},
	{
		kind: "no-image",
		pattern: /short-name .*did not resolve|no unqualified-search registries|short-name resolution enforced/i,
		describe: ({ subject }) => [
			`podman does not know which registry ${subject ?? "the image"} is in`,
			`write it with its registry: \`${subject ? `docker.io/${subject}` : `docker.io/${pinnedImage("nvidia")}`}\` (\`agent.image\`, or the model's \`image\`)`,
		],
	},
	{
		kind: "failed",
		pattern:
			/cgroup controller .?memory.? is not available|memory limit.*(?:cgroup is not mounted|not support)|resource limits are not supported and ignored|opening file .?memory\.(?:max|limit)/i,
		describe: (call) => [
			`${engineIn(call)} can't limit a container's memory here: the cgroup controller for it is not there`,
			engineIn(call) === "docker"
				? "boot the host with `cgroup_enable=memory`, or leave `memory` out"
				: "without root it needs cgroup v2 with the controller delegated (`Delegate=yes` for user@.service); or leave `memory` out",
		],
	},
	{
		kind: "registry",
		pattern: /toomanyrequests|pull rate limit/i,
		describe: ({ command, subject }) => [
			`the registry refuses more pulls of ${subject ?? "images"} for now (rate limit)`,
			`\`${command} login\` raises the limit; or name a mirror by \`agent.registry\``,
		],
	},
	{
		kind: "no-image",
		pattern: /no matching manifest for (\S+)|no image found in (?:manifest list|image index) for/i,
		describe: ({ subject }, [, platform]) => [
			`${subject ?? "the image"} is not built for ${platform ?? "this machine"}`,
			"name an image for this machine's processor by `agent.image` or the model's `image`",
		],
	},
	{
		kind: "no-image",
		pattern: /invalid reference format|invalid repository name/i,
		describe: ({ subject }) => [
			`${subject ?? "the image"} is no image name`,
			`correct \`agent.image\`, \`agent.registry\` or the model's \`image\`: \`${pinnedImage("nvidia")}\``,
		],
	},
	{
		kind: "no-image",
		pattern:
			/unauthorized|authentication required|no basic auth credentials|requested access to the resource is denied|pull access denied/i,
		describe: ({ command, subject }) => [
			`${subject ?? "the image"} does not exist, or its registry wants a login`,
			`check the name in \`agent.image\`; for a private one \`${command} login\` as the user that runs the agent`,
		],
	},
	{
		kind: "no-image",
		pattern:
			/manifest (?:for \S+ not found|unknown)|manifest unknown|name unknown|repository .*not found|no such image|unable to find image|image not known|failed to resolve reference.*not found|\bnot found: does not exist/i,
		describe: ({ command, subject }) => [
			`there is no image ${subject ?? ""}`.trimEnd(),
			`check the name and tag in \`agent.image\` or the model's \`image\`; try \`${command} pull ${subject ?? "IMAGE"}\``,
		],
	},
	{
		kind: "failed",
		pattern: /statfs \/dev\/mqueue: no such file/i,
		describe: () => [
			"podman shares the host's message queues with containers, and this host has none at /dev/mqueue",
			"`sudo mkdir /dev/mqueue && sudo mount -t mqueue mqueue /dev/mqueue`",
		],
	},
	{
		kind: "failed",
		pattern: /bind source path does not exist: (.+)|statfs (.+?): no such file or directory/i,
		describe: (_, [, path = "", other = path]) => [
			`${other.trim()}, which a model of the agent mounts, does not exist on the engine's host`,
			"make it there and put the files into it, or correct `model` or `mounts` under `agent.models`",
		],
	},
	{
		kind: "port-taken",
		pattern: /port is already allocated|address already in use|ports are not available|proxy already running/i,
		describe: ({ stderr }) => [
			`the container's port${takenPort(stderr)} is taken by another program`,
			"nothing: the agent tries the next one",
		],
	},
	{
		kind: "name-taken",
		pattern: /is already in use by/i,
		describe: ({ command, subject }) => [
			`a container named ${subject ?? "so"} exists already`,
			`\`${command} rm --force ${subject ?? "NAME"}\``,
		],
	},
	{
		kind: "gone",
		pattern: /no such (?:container|object)|no container with (?:name|ID)/i,
		describe: ({ subject }) => [
			`there is no container ${subject ?? ""}`.trimEnd(),
			"nothing: the agent starts it again if it should run",
		],
	},
	{
		kind: "registry",
		pattern:
			/no such host|TLS handshake timeout|i\/o timeout|connection refused|Client\.Timeout|network is unreachable|temporary failure in name resolution|x509:|server gave HTTP response to HTTPS client|50[0-9] (?:Bad Gateway|Service Unavailable|Internal Server Error)/i,
		describe: ({ stderr }) => [
			`the registry can't be reached: ${lastLine(stderr)}`,
			"check the network and the daemon's proxy, or name a mirror by `agent.registry`",
		],
	},
	{
		kind: "not-running",
		// During a pull it is the registry that broke off.
		exceptVerb: "pull",
		pattern: /\bEOF\s*$/,
		describe: (call) =>
			engineIn(call) === "docker"
				? ["docker broke off: its daemon went away", "`sudo systemctl start docker` if it does not come back"]
				: [
						"podman broke off: its service went away",
						"`systemctl --user start podman.socket` if it does not come back",
					],
	},
];

/** What failed, and what to do about it. Never throws. The message repeats the subcommand, never its arguments. */
export function dockerError(call: FailedCall): DockerError {
	const { command, verb, end, stderr } = call;
	if (end === "missing") {
		return new DockerError(
			"missing",
			`\`${command}\` is not installed, or not on the agent's PATH`,
			command === "docker"
				? "install it: `curl -fsSL https://get.docker.com | sh` (Debian: `sudo apt-get install -y docker.io`)"
				: "install it: `sudo apt-get install -y podman`",
		);
	}
	if (end === "timeout") {
		return new DockerError(
			"timeout",
			`\`${command} ${verb}\` did not end in time`,
			engineIn(call) === "docker"
				? "`sudo systemctl restart docker` if it stays so"
				: "see whether `podman ps` answers; `podman system migrate` ends what is stuck",
		);
	}
	for (const { kind, exceptVerb, pattern, describe } of PATTERNS) {
		const found = verb === exceptVerb ? null : pattern.exec(stderr);
		if (found) return new DockerError(kind, ...describe(call, found));
	}
	return new DockerError(
		"failed",
		`\`${command} ${verb}\` failed: ${lastLine(stderr)}`,
		engineIn(call) === "docker"
			? `see \`${command} ${verb} --help\` and the daemon's log (\`journalctl -u docker\`)`
			: `see \`${command} ${verb} --help\`; \`podman --log-level debug ${verb}\` says more`,
	);
}

const MAX_LINE = 300;

/** The last line of the CLI's output that is neither a hint nor empty, without `Error response from daemon:`. */
function lastLine(stderr: string): string {
	const lines = stderr
		.split("\n")
		.map((line) => line.trim())
		.filter((line) => line !== "" && !/^(?:See '|Run '|For more help|Usage:|time=".*level=(?:info|debug))/.test(line));
	const line = (lines.at(-1) ?? "it gave no reason").replace(/^(?:docker: )?Error(?: response from daemon)?: /i, "");
	return shortText(line, MAX_LINE);
}

/** ` 20001`, from the line on what could not be bound: there the host's port comes before the container's. */
function takenPort(stderr: string): string {
	const line = stderr.split("\n").find((each) => /already (?:allocated|in use)|not available/.test(each)) ?? "";
	const [, port] = /(?:\d+\.){3}\d+:(\d+)/.exec(line) ?? [];
	return port ? ` ${port}` : "";
}
