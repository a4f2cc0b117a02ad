/** Whether a container's vLLM publishes its KV events, where, and how the agent finds that again. Pure. */
import type { ModelSpec, SpecSettings } from "../models/model-spec.ts";
import { flagsOf } from "./vllm-args.ts";
import { containerImage, isAtLeast } from "./vllm-image.ts";

/** Ports of this host's loopback where a container publishes its KV events, and sends them again. */
export interface KvEventPorts {
	readonly events: number;
	readonly replay: number;
}

/** Where vLLM publishes them in its container, and sends them again. */
const EVENT_PORT = 5557;
const REPLAY_PORT = 5558;
/** Labels of the ports of the host. */
const EVENT_LABEL = "router.kv-events";
const REPLAY_LABEL = "router.kv-replay";

/** What vLLM is told. */
export const KV_EVENT_ARGS: readonly string[] = [
	"--kv-events-config",
	JSON.stringify({
		enable_kv_cache_events: true,
		publisher: "zmq",
		endpoint: `tcp://*:${EVENT_PORT}`,
		replay_endpoint: `tcp://*:${REPLAY_PORT}`,
	}),
];

/** What `docker run` is told. */
export function kvEventPublishArgs({ events, replay }: KvEventPorts): string[] {
	return [`--publish=127.0.0.1:${events}:${EVENT_PORT}`, `--publish=127.0.0.1:${replay}:${REPLAY_PORT}`];
}

/** By which an agent that finds the container running knows its ports. */
export function kvEventLabels({ events, replay }: KvEventPorts): Record<string, string> {
	return { [EVENT_LABEL]: String(events), [REPLAY_LABEL]: String(replay) };
}

/** The ports that a container's labels name. */
export function kvEventPorts(labels: Readonly<Record<string, string>>): KvEventPorts | undefined {
	const events = Number(labels[EVENT_LABEL]);
	const replay = Number(labels[REPLAY_LABEL]);
	return events > 0 && replay > 0 ? { events, replay } : undefined;
}

/**
 * Whether its container publishes KV events: one engine, with a prefix cache, whose events nobody else has use for. Versions before 0.28
 * give up their memory manager for models with several kinds of layers, for which `auto` asks nobody. Events hold the prompts' tokens, and
 * whoever reaches their ports reads them: on a network that the configuration names, other containers.
 */
export function publishesKvEvents(spec: ModelSpec, settings: SpecSettings): boolean {
	const { kvEvents = "never" } = settings;
	if (kvEvents === "never") return false;
	if (kvEvents === "auto" && settings.namedNetwork !== undefined) return false;
	if (kvEvents === "auto" && !isAtLeast(containerImage(spec, settings), 0, 28)) return false;
	const given = flagsOf(spec.args ?? []);
	const isTaken = [...given.keys()].some((name) => name.startsWith("--kv-events-config"));
	const hasOneEngine = Number(given.get("--data-parallel-size") ?? 1) <= 1;
	return !isTaken && hasOneEngine && !given.has("--no-enable-prefix-caching");
}
