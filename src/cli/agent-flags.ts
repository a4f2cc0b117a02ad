/** The flags of the command line that belong to the agent. Pure. */
import type { Flags, Role } from "../config/overlay.ts";

/** Flags of the agent alone, and those among them that belong to `--model`. */
const AGENT_FLAGS = [
	"model",
	"name",
	"gpus",
	"devices",
	"router",
	"advertise",
	"tunnel",
	"vllm-url",
	"stop-containers",
] as const;
const MODEL_FLAGS = ["name", "gpus", "devices"] as const;

/** The flags that are given, with their values as they were typed. */
type GivenFlags = Readonly<Partial<Record<(typeof AGENT_FLAGS)[number], string>>>;

/** The agent's flags, or what is wrong where there is no agent, or no model, that they could belong to. @param args what follows `--` */
export function parseAgentFlags(role: Role, given: GivenFlags, args: readonly string[] | undefined): Flags | string {
	const stray = AGENT_FLAGS.find((name) => name in given) ?? (args && "");
	if (role === "router" && stray !== undefined) return `--${stray} belongs to \`router --agent\` (or --standalone)`;
	const lone = MODEL_FLAGS.find((name) => name in given) ?? (args && "");
	if (!("model" in given) && lone !== undefined) return `--${lone} says more of a --model; there is none`;
	const { model, name, gpus, devices, router, advertise, "vllm-url": vllmUrl } = given;
	const values = Object.entries({ model, name, gpus, devices, router, advertise, vllmUrl, args });
	return {
		...Object.fromEntries(values.filter(([, value]) => value !== undefined)),
		...("tunnel" in given && { tunnel: true }),
		...("stop-containers" in given && { stopContainers: true }),
	};
}
