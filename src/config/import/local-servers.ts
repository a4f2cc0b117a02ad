/** Files of programs that run inference servers (llama-swap, compose, GPUStack) → `router.yaml`. Pure. */
import { isRecord } from "../document.ts";
import { Draft, literal } from "./draft.ts";
import { type VllmCommand, vllmCommand, wordsOf } from "./engine-command.ts";
import type { Source } from "./source.ts";

/** llama-swap's own address unless it is started with another `--listen`. */
const SWAP_URL = "http://127.0.0.1:8080/v1";

/**
 * A configuration of llama-swap: it goes on running the models, and the router calls it by their names. What the agent could run in its place is
 * said with the settings for that.
 */
export function importLlamaSwap(file: Source): Draft {
	const draft = new Draft();
	const [apiKey] = file.at("apiKeys").members.flatMap(([, key]) => key.text() ?? []);
	const swap = () =>
		draft.provider({
			type: "openai-compatible",
			baseUrl: SWAP_URL,
			apiKey: apiKey === undefined ? undefined : fromEnvironment(apiKey),
			name: "swap",
		});
	const macros = macrosOf(file);
	for (const [key, entry] of file.at("models").members) {
		const name = String(key);
		const target = `${swap()}/${name}`;
		const concurrency = entry.at("concurrencyLimit").number();
		const command = filledIn(entry.at("cmd").text() ?? "", { ...macros, ...macrosOf(entry), MODEL_ID: name });
		const vllm = vllmCommand(wordsOf(command.replace(/^\s*#.*$/gm, "")));
		const ttl = entry.at("ttl").number();
		entry
			.at("cmd")
			.leave(
				vllm
					? `llama-swap goes on running it; ${byAgent(vllm, name, ttl)}`
					: "llama-swap goes on running it: the router starts no programs but vLLM",
			);
		for (const part of [
			"proxy",
			"checkEndpoint",
			"cmdStop",
			"env",
			"name",
			"description",
			"unlisted",
			"useModelName",
			"filters",
			"metadata",
			"macros",
			"timeouts",
			"sendLoadingState",
		]) {
			entry.at(part).leave("stays llama-swap's");
		}
		const limits = concurrency !== undefined && concurrency >= 1 ? { concurrency } : {};
		draft.models.push({ name, targets: [target], ...limits });
		for (const [, alias] of entry.at("aliases").members) {
			const other = alias.text() ?? alias.at("id").text();
			alias.take();
			if (other !== undefined && !draft.models.some((model) => model.name === other)) {
				draft.models.push({ name: other, targets: [target], ...limits });
			}
		}
	}
	for (const [part, place] of file.members) {
		if (part !== "models" && part !== "macros" && part !== "apiKeys")
			place.leave(`stays llama-swap's, which the router expects at ${SWAP_URL}`);
	}
	return draft;
}

/** A compose file: its vLLM services go on, and the router calls them at the ports that they publish. */
export function importCompose(file: Source): Draft {
	const draft = new Draft();
	for (const [key, service] of file.at("services").members) {
		const name = String(key);
		const image = service.at("image").text() ?? "";
		const parts = ["entrypoint", "command"].flatMap((part) => wordsAt(service.at(part)));
		const vllm = vllmCommand(parts, /vllm/i.test(image));
		if (!vllm) {
			service.leave("runs no vLLM with a model in its command");
			continue;
		}
		const inside = vllm.port ?? 8000;
		const published = publishedPort(service.at("ports"), inside);
		const baseUrl = published === undefined ? `http://${name}:${inside}/v1` : `http://127.0.0.1:${published}/v1`;
		const apiKey =
			vllm.apiKey === undefined ? variable(service.at("environment"), "VLLM_API_KEY") : asVariable(vllm.apiKey);
		const provider = draft.provider({ type: "vllm", baseUrl, apiKey, name });
		for (const served of vllm.names) {
			const known = draft.models.find((model) => model.name === served);
			// Several services of one name are its replicas.
			if (known) known.targets.push(`${provider}/${served}`);
			else draft.models.push({ name: served, targets: [`${provider}/${served}`] });
		}
		service.at("image").leave(`compose goes on running it; ${byAgent(vllm, vllm.names[0]!, undefined)}`);
		service.at("ports").take();
		for (const [part, place] of service.members) {
			if (part !== "image" && part !== "command" && part !== "entrypoint" && part !== "ports")
				place.leave("stays compose's");
		}
		if (published === undefined)
			service.at("image").leave(`publishes no port: the router has to be in its network, as a service of this file`);
	}
	for (const [part, place] of file.members) if (part !== "services") place.leave("stays compose's");
	return draft;
}

/** Models of GPUStack, as its `GET /v2/models` (`/v1/models` before 2.0) or `gpustack` list them: the agent runs those of vLLM. */
export function importGpustack(file: Source): Draft {
	const draft = new Draft();
	const list = file.at("items").isThere ? file.at("items") : file.at("models");
	for (const [, entry] of list.members) {
		const name = entry.at("name").text();
		const model = entry.at("huggingface_repo_id").text() ?? entry.at("local_path").text();
		const backend = entry.at("backend").text();
		if (name === undefined || model === undefined || (backend !== undefined && !/vllm/i.test(backend))) {
			entry.leave(
				model !== undefined
					? `runs on ${backend ?? "an unknown backend"}: the agent runs vLLM`
					: entry.at("model_scope_model_id").isThere
						? "is from ModelScope: the agent loads models of Hugging Face, which has most of them, and directories"
						: "is from neither Hugging Face nor a directory",
			);
			continue;
		}
		const given = entry.at("backend_parameters");
		const words = given.members.flatMap(([, word]) => wordsOf(literal(word.text() ?? "")));
		if (words.length > 0) given.take();
		const { args } = vllmCommand([model, ...words], true) ?? { args: [] };
		const replicas = entry.at("replicas").number();
		const version = entry.at("backend_version").text();
		if (version !== undefined) entry.at("backend_version").leave("the agent has a version of its own, or `image`");
		draft.agentModels.push({
			model,
			...(name !== model && { name }),
			...(replicas !== undefined && replicas > 1 && { replicas }),
			...(args.length > 0 && { args }),
			...(replicas === 0 && { load: "on-demand" }),
		});
		takeUnneeded(entry);
	}
	for (const part of ["pagination", "kind", "apiVersion"]) file.at(part).take();
	return draft;
}

/** What GPUStack says of a model beside what it is to run: what it found out itself, and what is off there, as here. */
function takeUnneeded(entry: Source): void {
	const found = [
		"id",
		"created_at",
		"updated_at",
		"ready_replicas",
		"source",
		"categories",
		"meta",
		"cluster_id",
		"distributable",
	];
	for (const part of found) entry.at(part).take();
	const switches = ["cpu_offloading", "distributed_inference_across_workers", "generic_proxy"];
	for (const part of switches) if (entry.at(part).value === false) entry.at(part).take();
	for (const part of ["extended_kv_cache", "speculative_config"]) {
		if (entry.at(part, "enabled").value === false) entry.at(part).take();
	}
	// The agent starts an engine again that has ended.
	if (entry.at("restart_on_error").value === true) entry.at("restart_on_error").take();
	if (entry.at("placement_strategy").text()) {
		entry.at("placement_strategy").leave("an agent is for one machine, and chooses its GPUs itself");
	}
	entry.at("worker_selector").leave("an agent is for one machine");
	entry.at("gpu_selector").leave("the agent chooses GPUs itself");
	entry.at("access_policy").leave("who may call it: `models` of each key");
}

/** What the agent's `agent.models` would be for it. */
function byAgent({ model, args }: VllmCommand, name: string, ttl: number | undefined): string {
	const entry = {
		model,
		...(name !== model && { name }),
		...(args.length > 0 && { args: args.map((word) => literal(word)) }),
		...(ttl !== undefined && ttl > 0 && { load: "on-demand", ttl: `${ttl}s` }),
	};
	return `to have the agent run it: \`agent: { models: [${JSON.stringify(entry)}] }\` and \`router --standalone\``;
}

/** llama-swap's `${env.NAME}` → `${NAME}`. */
function fromEnvironment(text: string): string {
	const name = /^\$\{env\.(\w+)\}$/.exec(text)?.[1];
	return name === undefined ? literal(text) : `\${${name}}`;
}

function macrosOf(place: Source): Readonly<Record<string, string>> {
	const found = place.at("macros").members.flatMap(([name, macro]) => {
		const text = macro.text();
		return text === undefined ? [] : [[String(name), text] as const];
	});
	return Object.fromEntries(found);
}

/** llama-swap's macros; `${PORT}` is llama-swap's to choose. */
function filledIn(text: string, macros: Readonly<Record<string, string>>): string {
	let filled = text;
	// A macro may hold others.
	for (let round = 0; round < 10; round++) {
		const next = filled.replace(/\$\{([\w-]+)\}/g, (whole, name: string) =>
			Object.hasOwn(macros, name) ? macros[name]! : whole,
		);
		if (next === filled) break;
		filled = next;
	}
	return filled;
}

function wordsAt(place: Source): string[] {
	const { value } = place;
	if (typeof value === "string") return wordsOf(String(place.take()));
	const words = place.members.flatMap(([, word]) => word.text() ?? []);
	if (words.length > 0) place.take();
	return words;
}

/** The host's port of `"8001:8000"`, `"127.0.0.1:8001:8000"`, or `{ target: 8000, published: 8001 }`. */
function publishedPort(ports: Source, inside: number): number | undefined {
	for (const [, { value }] of ports.members) {
		if (isRecord(value) && Number(value["target"]) === inside) return Number(value["published"]) || undefined;
		const [, host, container] = /(?:^|:)(\d+):(\d+)(?:\/tcp)?$/.exec(String(value)) ?? [];
		if (Number(container) === inside) return Number(host);
	}
	return undefined;
}

/** A variable that compose gives the service, as a mapping or as `NAME=value`. */
function variable(environment: Source, name: string): string | undefined {
	const own = environment.at(name).text();
	if (own !== undefined) return asVariable(own);
	for (const [, { value }] of environment.members) {
		if (typeof value === "string" && value.startsWith(`${name}=`)) return asVariable(value.slice(name.length + 1));
	}
	return undefined;
}

/** Compose's `${NAME}` means here what it means there. */
const asVariable = (text: string) =>
	/^\$\{\w+(?:[:?+-].*)?\}$/s.test(text) ? text : /^\$\w+$/.test(text) ? `\${${text.slice(1)}}` : literal(text);
