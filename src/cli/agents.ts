/** `router agents` and `router models`: the agents and models of a running router, as tables. */
import { agentTokens } from "../config/agent-tokens.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Config } from "../config/schema.ts";
import type { ShownAgent } from "../server/agents/agent-record.ts";
import type { ShownReplicas } from "../server/agents/replica-scaler.ts";
import { askRouter, callerKey, plainKey } from "./ask-router.ts";
import { plainText, table } from "./table.ts";

/** The secret that may list agents: an agent token, or an admin key. */
function adminToken(config: Config, env: Environment): string | undefined {
	return agentTokens(env)[0] ?? plainKey(config.admin.keys);
}

type ShownModel = ShownAgent["models"][number];

/** A table of the agents, and below it the problems of each. Throws StartError. */
export async function agentsTable(url: string | undefined, config: Config, env: Environment): Promise<string> {
	const agents = (await askRouter(url, config).list<ShownAgent>("/agents", adminToken(config, env))) ?? [];
	if (agents.length === 0) return "No agent has registered. `router agents invite` makes the line that starts one.\n";
	const rows = agents.map(
		({ name, state, refused, wake, reachable, endpoint, models, gpus, version, last_heartbeat }) => [
			name,
			wake ?? (refused ? "refused" : reachable || state === "gone" ? state : "unreachable"),
			endpoint,
			models.map((model) => `${model.name} (${stateText(model)})`).join(", ") || "none",
			gpuText(gpus),
			version ?? "",
			ago(last_heartbeat),
		],
	);
	const problems = agents.flatMap(({ name, problem, refused, models }) => [
		...(refused ? [`${name}: refused: ${refused}`] : []),
		...(problem ? [`${name}: ${problem}`] : []),
		...models.flatMap((model) => (model.reason ? [`${name}: ${model.name} is ${model.state}: ${model.reason}`] : [])),
	]);
	const head = ["AGENT", "STATE", "ENDPOINT", "MODELS", "GPUS", "VERSION", "HEARD"];
	return (
		table([head, ...rows].map((row) => row.map(plainText))) + problems.map((line) => `${plainText(line)}\n`).join("")
	);
}

/** A table of all models; those of agents with their load. Throws StartError. */
export async function modelsTable(url: string | undefined, config: Config, env: Environment): Promise<string> {
	const router = askRouter(url, config);
	const key = callerKey(config);
	const [some, agents, replicas = []] = await Promise.all([
		router.list<ListedModel>("/v1/models", key, true),
		// Who may call need not be who may see the agents, nor the other way round.
		router.list<ShownAgent>("/agents", adminToken(config, env), true),
		// An older router has no such list.
		router.list<ShownReplicas>("/agents/replicas", adminToken(config, env), true).catch(() => []),
	]);
	// Without agents' models there is nothing to show: it fails as it was refused.
	const listed = some ?? (agents?.length ? undefined : await router.list<ListedModel>("/v1/models", key));
	const ofAgents = (agents ?? []).flatMap(({ name, models, state, wake }) =>
		models.map((model) => [
			`local/${model.name}`,
			name,
			...(state === "gone" ? [wake ?? GONE, "", "", ""] : [stateText(model), loadText(model), ...reasonTexts(model)]),
		]),
	);
	const shown = new Set(ofAgents.map(([id]) => id));
	const others = (listed ?? []).filter(({ id }) => !shown.has(id)).map(({ id, owned_by }) => [id, owned_by, "", ""]);
	const head = [
		"MODEL",
		"WHERE",
		"STATE",
		"LOAD",
		...(ofAgents.some(([, , , , why]) => why) ? ["WHY", "WHAT TO DO"] : []),
	];
	const rows = table([head, ...ofAgents, ...others].map((row) => row.map(plainText)));
	return (
		rows +
		replicas.map((each) => `${plainText(replicasText(each))}\n`).join("") +
		(listed ? "" : key === undefined ? NO_KEY : REFUSED_KEY)
	);
}

/** Of a model of an agent that is gone. */
const GONE = "gone: its agent is not heard of any more";
/** A model of the list of all that a caller may use. */
interface ListedModel {
	readonly id: string;
	readonly owned_by: string;
}

/** Of a router with keys: the list of all its models takes one. */
const NO_KEY =
	"These are the agents' models alone: what else the router has it lists for who has a key. This command takes one from `keys:` of its configuration (--config), or ROUTER_API_KEYS.\n";
/** The same where it refused the one that was sent. */
const REFUSED_KEY =
	"These are the agents' models alone: the router refuses the key that this command has from `keys:` of its configuration (--config), or ROUTER_API_KEYS. It is wrong, revoked, or not for calls from here.\n";

/** `qwen: 1 of 1 to 3 replicas; gpu-2: load: its weights are there`. */
function replicasText({ model, min, max, ready, coming, orders, shortage }: ShownReplicas): string {
	const bounds = max === undefined ? `at least ${min}` : min === max ? `${min}` : `${min} to ${max}`;
	return [
		`${model}: ${ready} ready${coming > 0 ? `, ${coming} coming` : ""}, of ${bounds} replicas`,
		...orders.map(({ agent, what, why }) => `${what === "load" ? "loaded" : "retired"} at ${agent}: ${why}`),
		...(shortage === undefined ? [] : [shortage]),
	].join("; ");
}

/** Longest reason shown, in characters; `router agents` shows all of it. */
const LONGEST_REASON = 100;
/** Agents put it between the reason and the remedy (src/agent/problem.ts). */
const REMEDY = "What to do: ";

/** Why it is in its state, its first line cut at a word; and what to do. */
function reasonTexts({ reason = "" }: ShownModel): [why: string, remedy: string] {
	const at = reason.lastIndexOf(REMEDY);
	const [first = ""] = (at === -1 ? reason : reason.slice(0, at)).split("\n");
	const why = first.trim().replace(/\.$/, "");
	const cut = why.length > LONGEST_REASON ? `${why.slice(0, LONGEST_REASON).replace(/\s+\S*$/, "")}…` : why;
	return [cut, at === -1 ? "" : reason.slice(at + REMEDY.length)];
}

/** `ready`; of several replicas `ready, 1 of 2 replicas`. */
function stateText({ state, replicas = [], roll }: ShownModel): string {
	const rolled =
		roll === undefined ? "" : `, change ${roll.length > LONGEST_REASON ? `${roll.slice(0, LONGEST_REASON)}…` : roll}`;
	if (replicas.length < 2) return state + rolled;
	const ready = replicas.filter((each) => each.state === "ready").length;
	return `${state}, ${ready} of ${replicas.length} replicas${rolled}`;
}

function loadText({ parent, in_flight, running, waiting, kv_cache }: ShownModel): string {
	const parts = [
		parent === undefined ? "" : `adapter of ${parent}`,
		in_flight > 0 ? `${in_flight} from here` : "",
		running ? `${running} running` : "",
		waiting ? `${waiting} waiting` : "",
		kv_cache === undefined ? "" : `KV cache ${Math.round(kv_cache * 100)} %`,
	];
	return parts.filter((part) => part !== "").join(", ");
}

/** `2 × NVIDIA L4, 41 of 48 GB`. */
function gpuText(gpus: ShownAgent["gpus"]): string {
	if (gpus.length === 0) return "none";
	const names = [...new Set(gpus.map(({ name }) => name))].join(" + ");
	const gigabytes = (pick: "memory_used" | "memory_total") =>
		Math.round(gpus.reduce((sum, gpu) => sum + gpu[pick], 0) / 1e9);
	return `${gpus.length} × ${names}, ${gigabytes("memory_used")} of ${gigabytes("memory_total")} GB`;
}

function ago(time: string): string {
	const seconds = Math.max(0, Math.round((Date.now() - Date.parse(time)) / 1000));
	if (seconds < 120) return `${seconds} s ago`;
	return seconds < 7200 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3600)} h ago`;
}
