/** A configuration of LiteLLM's proxy (1.x: `model_list`, `litellm_settings`, `router_settings`, `general_settings`) → `router.yaml`. Pure. */
import { isRecord } from "../document.ts";
import { Draft, type DraftModel, type DraftTarget, durationOf, perMillion } from "./draft.ts";
import { litellmUpstream, secretOf, variableOr } from "./litellm-upstreams.ts";
import type { Source } from "./source.ts";

/** One deployment of a name. */
interface Deployment {
	readonly source: Source;
	readonly params: Source;
	readonly provider: string;
	readonly model: string;
	readonly weight: number | undefined;
	readonly order: number | undefined;
	readonly lacks: readonly string[];
}

/** `routing_strategy` → `policy`; absent: the default is nearest. */
const POLICIES: Readonly<Record<string, string | undefined>> = {
	"latency-based-routing": "fastest",
	"cost-based-routing": "cheapest",
};

/** Fields of a call that LiteLLM sets for its clients. */
const OF_CALLS =
	/^(temperature|top_p|max_tokens|max_completion_tokens|n|stop|seed|presence_penalty|frequency_penalty|response_format|tools|tool_choice|reasoning_effort|thinking|extra_body)$/;

const NOTHING_TO_SET = "nothing to set";
/** Settings of any section that are done without being asked for, or elsewhere. */
const ELSEWHERE: readonly (readonly [RegExp, string])[] = [
	[
		/^(num_retries|max_retries|allowed_fails|cooldown_time|retry_after|retry_policy|allowed_fails_policy|disable_cooldowns)$/,
		`${NOTHING_TO_SET}: a call that fails is tried again or elsewhere, and a target that fails too often is left out for a while (router docs failures)`,
	],
	[
		/^(context_window_fallbacks|enable_pre_call_checks)$/,
		`${NOTHING_TO_SET}: a call that is too long for a target goes to one that takes more, of targets and fallback`,
	],
	[/^content_policy_fallbacks$/, "an answer that a vendor refused is passed on as it is"],
	[
		/^(database_url|database_.*|store_model_in_db|store_prompts_in_spend_logs|disable_spend_logs|proxy_batch_write_at)$/,
		"no database is needed: keys and usage lie in `data_dir`, and several routers share them through `redis.url`",
	],
	[
		/^(callbacks|success_callback|failure_callback|service_callbacks|alerting.*|langfuse.*)$/,
		"see `router docs metrics` and `router docs opentelemetry`: /metrics for Prometheus, OTLP, alerts by `router init --prometheus-rules`",
	],
	[
		/^(set_verbose|json_logs|debug.*|detailed_debug|suppress_debug_info|turn_off_message_logging|redact_.*)$/,
		`${NOTHING_TO_SET}: the log is JSON and has no contents; \`log.level\` says how much`,
	],
	[/^(num_workers)$/, "`server.workers` is `auto`"],
	[
		/^(ui_.*|disable_admin_ui|allow_user_auth|proxy_admin_.*)$/,
		"the console is at /, for who has a key of `admin.keys`",
	],
];

/** Carries all over that has a counterpart. */
export function importLitellm(file: Source): Draft {
	const draft = new Draft();
	const settings = file.at("litellm_settings");
	const routing = file.at("router_settings");
	const general = file.at("general_settings");

	const names = new Map<string, Deployment[]>();
	for (const [, entry] of file.at("model_list").members) {
		const name = entry.at("model_name").text();
		const found = name === undefined ? undefined : deployment(draft, name, entry);
		if (name !== undefined && found) names.set(name, [...(names.get(name) ?? []), found]);
	}
	const policy = POLICIES[routing.at("routing_strategy").text() ?? ""];
	const drops = settings.at("drop_params").flag() ?? routing.at("drop_params").flag() ?? false;
	for (const [name, deployments] of names) draft.models.push(modelOf(draft, name, deployments, policy, drops));
	fallbacks(draft, settings, routing);
	aliases(draft, routing.at("model_group_alias"));
	waits(draft, settings, routing);
	cache(draft, settings, routing);
	masterKey(draft, general);
	for (const [, name] of file.at("environment_variables").members) {
		name.leave("belongs into the router's own environment, or the file that `--env-file` names");
	}
	for (const section of [settings, routing, general]) done(section);
	return draft;
}

/** Reads one entry of `model_list`; undefined, and left with a reason, where it leads nowhere here. */
function deployment(draft: Draft, name: string, entry: Source): Deployment | undefined {
	const params = entry.at("litellm_params");
	const info = entry.at("model_info");
	const found = litellmUpstream(params);
	if ("why" in found) {
		entry.leave(`"${name}" to ${params.at("model").text() ?? "no model"}: ${found.why}`);
		return undefined;
	}
	if (found.model.includes("*") && !name.includes("*")) {
		entry.leave(`"${name}": a \`*\` in the target needs one in the name`);
		return undefined;
	}
	const provider = draft.provider(found.upstream);
	price(draft, `${provider}/${found.model}`, [params, info]);
	info.at("id").take();
	info.at("mode").take();
	for (const [part, value] of params.members)
		if (OF_CALLS.test(String(part))) value.leave("is for clients to say in their calls");
	done(params);
	const lacks = [
		info.at("supports_function_calling").flag() === false ? ["tools"] : [],
		info.at("supports_vision").flag() === false ? ["images"] : [],
	].flat();
	return {
		source: entry,
		params,
		provider,
		model: found.model,
		weight: params.at("weight").number(),
		order: params.at("order").number(),
		lacks,
	};
}

function modelOf(
	draft: Draft,
	name: string,
	deployments: readonly Deployment[],
	policy: string | undefined,
	drops: boolean,
): DraftModel {
	const isOrdered = deployments.some(({ order }) => order !== undefined);
	const sorted = isOrdered
		? [...deployments].sort((a, b) => (a.order ?? Number.MAX_SAFE_INTEGER) - (b.order ?? Number.MAX_SAFE_INTEGER))
		: deployments;
	const isShared =
		!isOrdered && policy === undefined && deployments.some(({ weight }) => weight !== undefined && weight > 0);
	const seen = new Set<string>();
	const targets = sorted.flatMap((each): DraftTarget[] => {
		const { provider, model, weight, lacks } = each;
		const id = `${provider}/${model}`;
		if (seen.has(id)) return [];
		seen.add(id);
		if (!(isShared && weight !== undefined) && lacks.length === 0) return [id];
		return [
			{
				provider,
				model,
				...(isShared && weight !== undefined && { weight }),
				...(lacks.length > 0 && { lacks: [...lacks] }),
			},
		];
	});
	const model: DraftModel = { name, targets };
	if (isOrdered) model.policy = "order";
	else if (policy !== undefined && targets.length > 1) model.policy = policy;
	if (drops || deployments.some(({ params }) => params.at("drop_params").flag())) model.unsupported = "drop";
	const total = agreed(deployments, "timeout");
	const first = agreed(deployments, "stream_timeout");
	if (total !== undefined || first !== undefined) {
		model.timeouts = {
			...(total !== undefined && { total: durationOf(total) }),
			...(first !== undefined && { first_token: durationOf(first) }),
		};
	}
	const concurrency = summed(deployments, "max_parallel_requests");
	if (concurrency !== undefined) model.concurrency = concurrency;
	const limits = { rpm: summed(deployments, "rpm"), tpm: summed(deployments, "tpm") };
	const set = Object.entries(limits).filter((limit): limit is [string, number] => limit[1] !== undefined);
	if (set.length > 0) draft.limits[name] = Object.fromEntries(set);
	return model;
}

/** A duration that all deployments of a name have; else it is left. */
function agreed(deployments: readonly Deployment[], setting: string): number | undefined {
	const values = new Set(deployments.map(({ params }) => params.at(setting).value));
	const [first] = deployments;
	if (values.size === 1) {
		const count = first!.params.at(setting).number();
		for (const { params } of deployments) params.at(setting).number();
		return count !== undefined && count > 0 ? count : undefined;
	}
	for (const { params } of deployments)
		params.at(setting).leave("differs among the targets of its name: set `timeouts` of their providers");
	return undefined;
}

/** A limit of all deployments of a name together; left where some have none. */
function summed(deployments: readonly Deployment[], setting: string): number | undefined {
	const values = deployments.map(({ params }) => params.at(setting).value);
	if (values.some((value) => value === undefined || value === null)) {
		for (const { params } of deployments) {
			params.at(setting).leave("holds for one of several targets of its name: there are limits of names and of keys");
		}
		return undefined;
	}
	const numbers = deployments.map(({ params }) => params.at(setting).number());
	const sum = numbers.reduce<number>((total, number) => total + (number ?? 0), 0);
	return sum >= 1 && numbers.every((number) => number !== undefined) ? Math.round(sum) : undefined;
}

const PRICES: readonly (readonly [string, string])[] = [
	["input_cost_per_token", "input"],
	["output_cost_per_token", "output"],
	["cache_read_input_token_cost", "cached"],
	["cache_creation_input_token_cost", "cache_write"],
	["output_cost_per_reasoning_token", "reasoning"],
];

function price(draft: Draft, target: string, places: readonly Source[]): void {
	const given = PRICES.flatMap(([theirs, ours]) => {
		const usd = places.map((place) => place.at(theirs).number()).find((found) => found !== undefined);
		return usd === undefined ? [] : [[ours, perMillion(usd)] as const];
	});
	if (given.length === 0) return;
	const prices = Object.fromEntries(given);
	// One of the two alone is a price of nothing for the other.
	draft.prices[target] = { input: 0, output: 0, ...prices };
}

function aliases(draft: Draft, group: Source): void {
	for (const [name, alias] of group.members) {
		const of = isRecord(alias.value) ? alias.at("model").text() : alias.text();
		const model = draft.models.find((each) => each.name === of);
		if (!model) alias.leave(`"${of ?? ""}" is no name of this file`);
		else if (!draft.models.some((each) => each.name === name)) draft.models.push({ ...model, name: String(name) });
		if (alias.at("hidden").isThere) alias.at("hidden").leave("all names are listed to keys that may use them");
	}
}

/** Lists of `{name: [names]}`; names that the other ones fall back to are written with their targets. */
function fallbacks(draft: Draft, ...sections: readonly Source[]): void {
	for (const section of sections) {
		for (const [, entry] of section.at("fallbacks").members) {
			for (const [name, to] of entry.members) fallback(draft, [String(name)], to);
		}
		const others = section.at("default_fallbacks");
		if (others.isThere)
			fallback(
				draft,
				draft.models.filter((model) => !model.fallback).map(({ name }) => name),
				others,
			);
	}
}

function fallback(draft: Draft, names: readonly string[], to: Source): void {
	const wanted = to.members.map(([, name]) => name.value).filter((name) => typeof name === "string");
	to.take();
	const unknown = wanted.filter((name) => !draft.models.some((model) => model.name === name));
	const targets = wanted.flatMap((name) => draft.models.find((model) => model.name === name)?.targets ?? []).map(idOf);
	for (const name of names) {
		const model = draft.models.find((each) => each.name === name);
		const own = model?.targets.map(idOf) ?? [];
		const further = [...new Set(targets)].filter((target) => !own.includes(target) && !target.includes("*"));
		if (model && further.length > 0) model.fallback = [...new Set([...(model.fallback ?? []), ...further])];
		if (!model && names.length === 1) to.leave(`"${name}" is no name that was carried over`);
	}
	if (unknown.length > 0) to.leave(`${unknown.map((name) => `"${name}"`).join(", ")}: no name that was carried over`);
}

const idOf = (target: DraftTarget) => (typeof target === "string" ? target : `${target.provider}/${target.model}`);

function waits(draft: Draft, settings: Source, routing: Source): void {
	const total = routing.at("timeout").number() ?? settings.at("request_timeout").number();
	const first = routing.at("stream_timeout").number();
	if (total !== undefined && total > 0) draft.timeouts["total"] = durationOf(total);
	if (first !== undefined && first > 0) draft.timeouts["first_token"] = durationOf(first);
}

function cache(draft: Draft, settings: Source, routing: Source): void {
	const parameters = settings.at("cache_params");
	// LiteLLM's is off unless it is set; the router's is on.
	if (!(settings.at("cache").flag() ?? routing.at("cache_responses").flag() ?? false)) draft.cache["enabled"] = false;
	const ttl = parameters.at("ttl").number();
	if (ttl !== undefined) draft.cache["ttl"] = durationOf(ttl);
	const kind = parameters.at("type").text();
	if (kind !== undefined && kind !== "redis" && kind !== "local")
		parameters.at("type").leave("answers are kept in memory and, where it is set, in Redis");
	parameters.at("namespace").leave("`redis.prefix` is what the names of all keys in Redis begin with");
	const url = [routing, parameters].map((place) => redisUrl(place)).find((found) => found !== undefined);
	if (url !== undefined) draft.redis["url"] = url;
}

function redisUrl(place: Source): string | undefined {
	const whole = (place.at("redis_url").text() ?? place.at("url").text())?.trim();
	if (whole !== undefined) return variableOr(whole);
	const [host, port, password] = [
		["redis_host", "host"],
		["redis_port", "port"],
		["redis_password", "password"],
	].map(([long, short]) => {
		const text = place.at(long!).text() ?? place.at(short!).text();
		return text === undefined ? undefined : variableOr(text);
	});
	if (host === undefined) return undefined;
	return `redis://${password === undefined ? "" : `:${password}@`}${host}:${port ?? "6379"}`;
}

function masterKey(draft: Draft, general: Source): void {
	const place = general.at("master_key");
	const key = secretOf(place);
	if (key !== undefined && (key.startsWith("${") || key.length >= 8)) draft.keys.push({ name: "litellm-master", key });
	else place.leave("a key needs 8 characters at least: `router keys create --name …` makes one");
	const most = general.at("global_max_parallel_requests");
	most.leave("`concurrency` of the names under `models:`, or of `keys:`");
}

/** What is done without being asked for. */
function done(section: Source): void {
	for (const [name, value] of section.members) {
		const why = ELSEWHERE.find(([form]) => form.test(String(name)))?.[1];
		if (why !== undefined) value.leave(why);
	}
}
