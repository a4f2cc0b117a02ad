/** Rules for the `agent:` section and for `agents.replicas` that a schema can't express. */
import { argumentProblem } from "./agent-args.ts";
import type { Finding } from "./config-error.ts";
import { isRecord } from "./document.ts";
import { entries, type ListedEntry, repeated } from "./entries.ts";
import type { Role } from "./overlay.ts";
import { parseDuration } from "./units.ts";

/** What calls write before the name that an agent gives a model. */
const LOCAL = "local/";

/** Findings in `agent:` and `agents.replicas`. */
export function agentRules({ agent, agents }: ListedEntry, role: Role): Finding[] {
	const own: ListedEntry = isRecord(agent) ? agent : {};
	return [
		...repeatedModels(own),
		...vllmArguments(own),
		...tunnelWithoutRouter(own, role),
		...rollTimes(own["roll"]),
		...replicaBounds(agents, own, role),
	];
}

/** A model that has no name is called what it is. */
function repeatedModels(agent: ListedEntry): Finding[] {
	const named = entries(agent["models"]).map(([index, entry]): [number, ListedEntry] => [
		index,
		{ name: entry["name"] ?? entry["model"] },
	]);
	const message = "another model has this name too; give one of them another `name`";
	return repeated(named, ["agent", "models"], "name", message);
}

function vllmArguments(agent: ListedEntry): Finding[] {
	return entries(agent["models"]).flatMap(([index, { args }]) => {
		const words = Array.isArray(args) ? [...args.entries()] : [];
		return words.flatMap(([at, word]) => {
			const message = typeof word === "string" ? argumentProblem(word) : undefined;
			return message === undefined ? [] : [{ path: ["agent", "models", index, "args", at], message }];
		});
	});
}

/** The connection that calls are to come through has to lead somewhere. In the router's role the section is that of other hosts' agents. */
function tunnelWithoutRouter({ tunnel, router }: ListedEntry, role: Role): Finding[] {
	if (role === "router" || tunnel !== "always" || router !== undefined) return [];
	const why =
		role === "standalone"
			? "the router of this process needs none: leave it out, or name another router to join"
			: "no router is named that it could lead to: name it";
	return [{ path: ["agent", "tunnel"], message: `is \`always\`, and ${why} (\`agent.router\`, ROUTER_URL, --router)` }];
}

/** What is watched for longer than it may be is decided at the limit, as if `watch` were not there. */
function rollTimes(roll: unknown): Finding[] {
	if (!isRecord(roll)) return [];
	const { watch, limit } = roll;
	const [least, most] = [watch, limit].map((each) => (typeof each === "string" ? parseDuration(each) : undefined));
	if (least === undefined || most === undefined || least <= most) return [];
	const message = `is ${String(watch)}, and \`limit\` is ${String(limit)}: at least one of them has to change`;
	return [{ path: ["agent", "roll", "watch"], message }];
}

/** Bounds that can't be kept. Which models other agents have nobody knows here. */
function replicaBounds(agents: unknown, agent: ListedEntry, role: Role): Finding[] {
	const bounds = isRecord(agents) && isRecord(agents["replicas"]) ? Object.entries(agents["replicas"]) : [];
	const own = new Map(entries(agent["models"]).map(([, entry]) => [entry["name"] ?? entry["model"], entry]));
	return bounds.flatMap(([name, bound]): Finding[] => {
		if (!isRecord(bound)) return [];
		const path = ["agents", "replicas", name];
		const { min, max } = bound;
		if (typeof min === "number" && typeof max === "number" && min > max)
			return [
				{ path: [...path, "min"], message: `is ${min}, and \`max\` is ${max}: at least one of them has to change` },
			];
		if (name.startsWith(LOCAL)) {
			const message = `is how calls name it; here is the name that the agents give it: "${name.slice(LOCAL.length)}"`;
			return [{ path, of: "key", message }];
		}
		const load = own.get(name)?.["load"];
		if (role === "agent" || load === undefined || load === "on-demand") return [];
		const message = `is about models with \`load: on-demand\`, and this file's agent has "${name}" with \`load: ${String(load)}\``;
		return [{ path, of: "key", message }];
	});
}
