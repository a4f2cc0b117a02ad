/** Output of `docker` and `podman` → containers, events, progress. Pure; both programs' spellings are read. */

/** The states of a container; podman's other names are mapped to them. */
export type ContainerState = "created" | "running" | "paused" | "restarting" | "removing" | "exited" | "dead";

/** A container with the agent's label, as `inspect` shows it. */
export interface Container {
	/** The full id, 64 hex digits. */
	readonly id: string;
	/** Without the leading slash. */
	readonly name: string;
	readonly labels: Readonly<Record<string, string>>;
	readonly state: ContainerState;
	/** Of the last run; 0 while it has never ended. */
	readonly exitCode: number;
	readonly oomKilled: boolean;
	/** ms since the epoch; 0 where it was never started. */
	readonly startedAt: number;
	/** Of the last run; ms since the epoch. Absent while it has never ended. */
	readonly finishedAt?: number;
	/** Host port of vLLM's 8000; absent where none is published. */
	readonly port?: number;
	/** As it was named in `run`. */
	readonly image: string;
}

/** An event of a container with the agent's label. */
export interface DockerEvent {
	readonly id: string;
	/** `create`, `start`, `die`, `oom`, `kill`, `stop`, `destroy`, … as the engine calls it (podman's `died` and `remove` are mapped). */
	readonly action: string;
	/** Number of the signal that a `kill` sent, where the engine says it. */
	readonly signal?: number;
	/** Of a `die`: it ended well, or was told to (SIGTERM). podman may tell of the latter afterwards, or not at all. */
	readonly isClean?: true;
}

type Json = Record<string, unknown>;

/** The exit code of a container that SIGTERM ended. */
const SIGTERM_CODE = "143";

/** vLLM's port inside its container, as engines spell it. */
const VLLM_PORT = "8000/tcp";

/** Names of states: Docker's, and podman's other ones. */
const STATES: Record<string, ContainerState> = {
	created: "created",
	configured: "created",
	initialized: "created",
	running: "running",
	stopping: "running",
	paused: "paused",
	restarting: "restarting",
	removing: "removing",
	exited: "exited",
	stopped: "exited",
	dead: "dead",
};

/** `inspect`'s array. Throws where it is none. */
export function parseContainers(text: string): Container[] {
	const found: unknown = JSON.parse(text);
	if (!Array.isArray(found)) throw new TypeError("inspect printed no array");
	return found.map((entry) => container(entry as Json));
}

function container(entry: Json): Container {
	const state = object(entry["State"]);
	const config = object(entry["Config"]);
	const port =
		hostPort(object(entry["NetworkSettings"])["Ports"]) ?? hostPort(object(entry["HostConfig"])["PortBindings"]);
	const finishedAt = parseTime(string(state["FinishedAt"]));
	return {
		id: string(entry["Id"]),
		name: string(entry["Name"]).replace(/^\//, ""),
		labels: Object.fromEntries(Object.entries(object(config["Labels"])).map(([name, value]) => [name, String(value)])),
		state: STATES[string(state["Status"]).toLowerCase()] ?? "dead",
		exitCode: Number(state["ExitCode"] ?? 0),
		oomKilled: state["OOMKilled"] === true,
		startedAt: parseTime(string(state["StartedAt"])),
		...(finishedAt > 0 && { finishedAt }),
		...(port !== undefined && { port }),
		image: string(config["Image"]) || string(entry["ImageName"]),
	};
}

function hostPort(ports: unknown): number | undefined {
	const bindings = object(ports)[VLLM_PORT];
	const port = Number(object(Array.isArray(bindings) ? bindings[0] : undefined)["HostPort"]);
	return Number.isInteger(port) && port > 0 ? port : undefined;
}

/** ms since the epoch; 0 for Go's zero time (`0001-01-01T00:00:00Z`) and for what is no time. */
export function parseTime(text: string): number {
	// Nanoseconds: more digits than a Date takes.
	return Math.max(0, Date.parse(text.replace(/(\.\d{3})\d+/, "$1")) || 0);
}

/** One line of `events`; undefined for what is none of a container. */
export function parseEvent(line: string): DockerEvent | undefined {
	let event: Json;
	try {
		event = object(JSON.parse(line));
	} catch {
		return undefined;
	}
	if (string(event["Type"]) !== "container") return undefined;
	const id = string(object(event["Actor"])["ID"]) || string(event["ID"]) || string(event["id"]);
	const action = string(event["Action"]) || string(event["Status"]) || string(event["status"]);
	if (id === "" || action === "") return undefined;
	const attributes = object(object(event["Actor"])["Attributes"] ?? event["Attributes"]);
	const signal = Number.parseInt(string(attributes["signal"]), 10);
	// podman's client has it beside the attributes, and up to podman 4 leaves out a 0.
	const beside = action === "died" ? String(event["ContainerExitCode"] ?? 0) : "";
	const exitCode = string(attributes["exitCode"]) || string(attributes["containerExitCode"]) || beside;
	const isClean = exitCode === "0" || exitCode === SIGTERM_CODE;
	// `exec_start: sh -c …` carries the command.
	const known = PODMAN_ACTIONS[action] ?? action.replace(/:.*/s, "");
	return { id, action: known, ...(signal > 0 && { signal }), ...(known === "die" && isClean && { isClean: true }) };
}

const PODMAN_ACTIONS: Record<string, string> = { died: "die", remove: "destroy" };

function object(value: unknown): Json {
	return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

function string(value: unknown): string {
	return typeof value === "string" ? value : "";
}

/** `a3ed95caeb02: Pull complete` */
const DOCKER = /^([0-9a-f]{12}): (.+)$/;
/** `Copying blob sha256:a3ed95caeb02 done`, `Copying blob a3ed95caeb02 skipped: already exists` */
const PODMAN = /^Copying blob (?:sha256:)?([0-9a-f]{12})[0-9a-f]*(?: (.+))?$/;
const DONE = /^(?:Pull complete|Already exists|done|skipped)/;
/** The layer is here, and only has to be unpacked: that is the smaller half. */
const FETCHED = /^(?:Download complete|Verifying Checksum|Extracting)/;

/** A function that is given a pull's lines one by one and returns the progress so far, 0 … 100; undefined before the first layer. */
export function pullProgress(): (line: string) => number | undefined {
	const layers = new Map<string, number>();
	return (line) => {
		// podman prints nothing when a blob is done, but this after the last one.
		if (line.startsWith("Copying config")) for (const layer of layers.keys()) layers.set(layer, 1);
		const [, layer, status = ""] = DOCKER.exec(line) ?? PODMAN.exec(line) ?? [];
		if (layer)
			layers.set(layer, Math.max(layers.get(layer) ?? 0, DONE.test(status) ? 1 : FETCHED.test(status) ? 0.8 : 0));
		if (layers.size === 0) return undefined;
		return Math.floor((100 * [...layers.values()].reduce((sum, share) => sum + share, 0)) / layers.size);
	};
}
