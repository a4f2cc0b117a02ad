/** What `docker` and `podman` print as JSON → our own shapes. Pure; both engines' spellings are read. */
import type { Container, ContainerState, DockerEvent } from "./docker.ts";

type Json = Record<string, unknown>;

/** vLLM's port inside its container, as engines spell it. */
const VLLM_PORT = "8000/tcp";

/** podman's own words for a state; those of Docker stand for themselves. */
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
	return {
		id: string(entry["Id"]),
		name: string(entry["Name"]).replace(/^\//, ""),
		labels: Object.fromEntries(Object.entries(object(config["Labels"])).map(([name, value]) => [name, String(value)])),
		state: STATES[string(state["Status"]).toLowerCase()] ?? "dead",
		exitCode: Number(state["ExitCode"] ?? 0),
		oomKilled: state["OOMKilled"] === true,
		startedAt: parseTime(string(state["StartedAt"])),
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
	// `exec_start: sh -c …` carries the command.
	return { id, action: PODMAN_ACTIONS[action] ?? action.replace(/:.*/s, "") };
}

const PODMAN_ACTIONS: Record<string, string> = { died: "die", remove: "destroy" };

function object(value: unknown): Json {
	return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

function string(value: unknown): string {
	return typeof value === "string" ? value : "";
}
