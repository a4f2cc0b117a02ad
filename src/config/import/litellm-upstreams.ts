/** Upstreams as LiteLLM's configuration names them → those of the router. Pure. */
import type { ProviderType } from "../../vendors.ts";
import { type DraftUpstream, literal } from "./draft.ts";
import type { Source } from "./source.ts";

/** Where a deployment of LiteLLM's leads, or why it leads nowhere here. */
export type LitellmUpstream = { readonly upstream: DraftUpstream; readonly model: string } | { readonly why: string };

/** LiteLLM's prefixes that name an upstream which the router has a type for. */
const TYPES: Readonly<Record<string, ProviderType>> = {
	openai: "openai",
	"text-completion-openai": "openai",
	anthropic: "anthropic",
	gemini: "gemini",
	openrouter: "openrouter",
	xai: "xai",
	hosted_vllm: "vllm",
};

/**
 * Vendors that speak OpenAI's API, by LiteLLM's prefix: the address of that and the variable of the key, each as in the vendor's own
 * documentation of it ("OpenAI compatibility"); an address with a variable in it as LiteLLM's documentation of the provider.
 */
const COMPATIBLE: Readonly<Record<string, { readonly baseUrl?: string; readonly key?: string }>> = {
	groq: { baseUrl: "https://api.groq.com/openai/v1", key: "GROQ_API_KEY" },
	mistral: { baseUrl: "https://api.mistral.ai/v1", key: "MISTRAL_API_KEY" },
	deepseek: { baseUrl: "https://api.deepseek.com/v1", key: "DEEPSEEK_API_KEY" },
	together_ai: { baseUrl: "https://api.together.xyz/v1", key: "TOGETHERAI_API_KEY" },
	fireworks_ai: { baseUrl: "https://api.fireworks.ai/inference/v1", key: "FIREWORKS_API_KEY" },
	perplexity: { baseUrl: "https://api.perplexity.ai", key: "PERPLEXITYAI_API_KEY" },
	cerebras: { baseUrl: "https://api.cerebras.ai/v1", key: "CEREBRAS_API_KEY" },
	deepinfra: { baseUrl: "https://api.deepinfra.com/v1/openai", key: "DEEPINFRA_API_KEY" },
	nvidia_nim: { baseUrl: "https://integrate.api.nvidia.com/v1", key: "NVIDIA_NIM_API_KEY" },
	sambanova: { baseUrl: "https://api.sambanova.ai/v1", key: "SAMBANOVA_API_KEY" },
	moonshot: { baseUrl: "https://api.moonshot.ai/v1", key: "MOONSHOT_API_KEY" },
	ollama: { baseUrl: "http://localhost:11434/v1" },
	ollama_chat: { baseUrl: "http://localhost:11434/v1" },
	llamafile: { baseUrl: "http://127.0.0.1:8080/v1" },
	lm_studio: { baseUrl: "${LM_STUDIO_API_BASE}", key: "LM_STUDIO_API_KEY" },
	litellm_proxy: { baseUrl: "${LITELLM_PROXY_API_BASE}", key: "LITELLM_PROXY_API_KEY" },
	openai_like: {},
	custom_openai: {},
	xinference: {},
};

const WITHOUT: Readonly<Record<string, string>> = {
	bedrock:
		"AWS signs its calls, which the router does not; models of Bedrock are reached through a gateway that speaks OpenAI's API",
	sagemaker: "AWS signs its calls, which the router does not",
	vertex_ai: "Vertex AI wants tokens of Google Cloud; the same models are at `gemini/…` with GEMINI_API_KEY",
	vllm: "vLLM inside of LiteLLM's own process; the agent runs it in a container (`agent.models`)",
};

/** Names without a prefix, as LiteLLM reads them. */
const BARE: readonly (readonly [RegExp, ProviderType])[] = [
	[/^(gpt-|o\d|chatgpt-|text-embedding-|dall-e|tts-1|whisper-1|omni-moderation|ft:gpt-)/, "openai"],
	[/^claude/, "anthropic"],
];

/** Reads where one deployment leads: `model`, `custom_llm_provider`, `api_base`, `api_key`, `organization`, `extra_headers`. */
export function litellmUpstream(params: Source): LitellmUpstream {
	const whole = params.at("model").text() ?? "";
	const given = params.at("custom_llm_provider").text();
	const slash = whole.indexOf("/");
	const prefix = given ?? (slash > 0 ? whole.slice(0, slash) : "");
	const model = slash > 0 && whole.startsWith(`${prefix}/`) ? whole.slice(slash + 1) : whole;
	const baseUrl = addressOf(params);
	const apiKey = secretOf(params.at("api_key"));
	const headers = headersOf(params);

	if (model === "") return { why: "names no model" };
	if (prefix === "azure" || prefix === "azure_ai" || prefix === "azure_text") {
		if (baseUrl === undefined) return { why: "needs `api_base`, the address of the resource at Azure" };
		params.at("api_version").leave("nothing to set: Azure's address with /openai/v1 has no versions");
		// Azure's own "v1" API, generally available since August 2025: OpenAI's paths, the key as a bearer.
		const address = /\/openai\/v1\/?$/.test(baseUrl) ? baseUrl : `${baseUrl.replace(/\/+$/, "")}/openai/v1`;
		const key = apiKey ?? "${AZURE_API_KEY}";
		return { model, upstream: { type: "openai-compatible", baseUrl: address, apiKey: key, headers, name: "azure" } };
	}
	const type = TYPES[prefix] ?? (prefix === "" ? BARE.find(([form]) => form.test(whole))?.[1] : undefined);
	if (type !== undefined) {
		// Another address with OpenAI's prefix is how LiteLLM names any server that speaks its API.
		if (type === "openai" && baseUrl !== undefined && !/^https:\/\/api\.openai\.com\b/.test(baseUrl)) {
			return { model, upstream: { type: "openai-compatible", baseUrl, apiKey, headers } };
		}
		if (type === "vllm" && baseUrl === undefined) return { why: "needs `api_base`, the address of the vLLM" };
		return { model, upstream: { type, baseUrl, apiKey, headers } };
	}
	const compatible = COMPATIBLE[prefix];
	if (compatible) {
		const address = local(prefix, baseUrl) ?? compatible.baseUrl;
		if (address === undefined) return { why: "needs `api_base`, the address of the server" };
		const key = apiKey ?? (compatible.key === undefined ? undefined : `\${${compatible.key}}`);
		const name = baseUrl === undefined ? prefix : undefined;
		return { model, upstream: { type: "openai-compatible", baseUrl: address, apiKey: key, headers, name } };
	}
	const known = Object.entries(WITHOUT).find(([name]) => prefix === name || prefix.startsWith(`${name}_`))?.[1];
	if (known !== undefined) return { why: known };
	if (baseUrl !== undefined && prefix !== "") {
		return {
			why: `the router does not know "${prefix}"; if it speaks OpenAI's API, say so: \`providers: { ${prefix.replace(/[^a-z0-9]+/g, "-")}: { type: openai-compatible, base_url: … } }\``,
		};
	}
	return { why: prefix === "" ? "names no provider that the router knows" : `the router does not know "${prefix}"` };
}

/** LiteLLM's address of Ollama is the one of Ollama's own API; OpenAI's is beside it. */
function local(prefix: string, baseUrl: string | undefined): string | undefined {
	if (baseUrl === undefined || !prefix.startsWith("ollama") || /\/v1\/?$/.test(baseUrl)) return baseUrl;
	return `${baseUrl.replace(/\/+$/, "")}/v1`;
}

function addressOf(params: Source): string | undefined {
	const found = params.at("api_base").text() ?? params.at("base_url").text();
	return found === undefined ? undefined : variableOr(found);
}

/** A secret as `router.yaml` has it; undefined where there is none. `none` and the like are what local servers are given. */
export function secretOf(source: Source): string | undefined {
	const text = source.text();
	if (text === undefined || /^(none|empty|null|dummy|fake[\w-]*|sk-none|no-key|not-needed)$/i.test(text))
		return undefined;
	return variableOr(text);
}

/** `os.environ/NAME` → `${NAME}`; any other text stays itself. */
export function variableOr(text: string): string {
	const name = /^os\.environ\/(\w+)$/.exec(text.trim())?.[1];
	return name === undefined ? literal(text.trim()) : `\${${name}}`;
}

function headersOf(params: Source): Readonly<Record<string, string>> | undefined {
	const organization = params.at("organization").text();
	const headers: Record<string, string> = organization ? { "openai-organization": variableOr(organization) } : {};
	for (const [name, value] of [...params.at("extra_headers").members, ...params.at("default_headers").members]) {
		const text = value.text();
		if (text !== undefined) headers[String(name).toLowerCase()] = variableOr(text);
	}
	return Object.keys(headers).length > 0 ? headers : undefined;
}
