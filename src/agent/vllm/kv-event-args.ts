/** Whether a container's vLLM publishes its KV events, where, and how the agent finds that again. Pure. */
import type { ModelSpec, SpecSettings } from "../models/model-spec.ts";
import { EVENT_SOCKET, REPLAY_SOCKET } from "./kv-sockets.ts";
import { flagsOf } from "./vllm-args.ts";
import { containerImage, isAtLeast } from "./vllm-image.ts";

/** Where the directory of its sockets is in a container. */
const MOUNTED_AT = "/run/router-kv";
/** Names the directory of this host. Up to now it named a port: what such a container publishes is not read. */
export const KV_EVENT_LABEL = "router.kv-events";

/** What vLLM is told. */
export const KV_EVENT_ARGS: readonly string[] = [
	"--kv-events-config",
	JSON.stringify({
		enable_kv_cache_events: true,
		publisher: "zmq",
		endpoint: `ipc://${MOUNTED_AT}/${EVENT_SOCKET}`,
		replay_endpoint: `ipc://${MOUNTED_AT}/${REPLAY_SOCKET}`,
	}),
];

/** What `docker run` is told. `z`: where SELinux is on, only what is labelled so may be written by containers. @param directory of this host */
export const kvEventMountArg = (directory: string): string => `--volume=${directory}:${MOUNTED_AT}:z`;

/** By which the agent's user may connect to sockets that another one's process has made: run in the container, as that user. */
export const OPEN_KV_SOCKETS: readonly string[] = [
	"chmod",
	"0777",
	`${MOUNTED_AT}/${EVENT_SOCKET}`,
	`${MOUNTED_AT}/${REPLAY_SOCKET}`,
];

/**
 * Whether its container publishes KV events: one engine, with a prefix cache, whose events nobody else has use for. Versions before 0.28
 * give up their memory manager for models with several kinds of layers, for which `auto` asks nobody. What a file of
 * `--config` sets is not known: with several engines one of them would not start, as vLLM numbers no paths.
 */
export function publishesKvEvents(spec: ModelSpec, settings: SpecSettings): boolean {
	const { kvEvents = "never" } = settings;
	if (kvEvents === "never") return false;
	if (kvEvents === "auto" && !isAtLeast(containerImage(spec, settings), 0, 28)) return false;
	const given = flagsOf(spec.args ?? []);
	const isTaken = [...given.keys()].some((name) => name.startsWith("--kv-events-config"));
	const hasOneEngine = Number(given.get("--data-parallel-size") ?? 1) <= 1;
	return !isTaken && hasOneEngine && !given.has("--config") && !given.has("--no-enable-prefix-caching");
}
