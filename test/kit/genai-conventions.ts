/**
 * Names that OpenTelemetry's conventions have, with the types of their values, as far as spans of a router can have them. Copied from
 * github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai/client-inference.md at 024a4f944a1291fcb627c9c47da69e79868dd15e, and its
 * docs/registry; `http.*`, `server.*`, `error.*`, `service.*` and `host.*` from github.com/open-telemetry/semantic-conventions v1.44.0, which that names.
 */

/** Attributes by name. */
export const CONVENTIONAL: Readonly<Record<string, "string" | "int" | "double" | "boolean">> = {
	"gen_ai.operation.name": "string",
	"gen_ai.provider.name": "string",
	"gen_ai.conversation.id": "string",
	"gen_ai.output.type": "string",
	"gen_ai.request.choice.count": "int",
	"gen_ai.request.model": "string",
	"gen_ai.request.stream": "boolean",
	"gen_ai.request.max_tokens": "int",
	"gen_ai.response.id": "string",
	"gen_ai.response.model": "string",
	"gen_ai.response.time_to_first_chunk": "double",
	"gen_ai.usage.input_tokens": "int",
	"gen_ai.usage.output_tokens": "int",
	"gen_ai.usage.cache_read.input_tokens": "int",
	"gen_ai.usage.cache_write.input_tokens": "int",
	"gen_ai.usage.reasoning.output_tokens": "int",
	"http.request.method": "string",
	"http.response.status_code": "int",
	"http.route": "string",
	"server.address": "string",
	"server.port": "int",
	"error.type": "string",
};

/** Counters of tokens (docs/gen-ai/gen-ai-token-metrics.md at 066d4a7f356f8600de6f10c42874626ab88692fb), and the attributes that each must have or may. */
export const CONVENTIONAL_COUNTERS = [
	"gen_ai.client.inference.usage.input_tokens",
	"gen_ai.client.inference.usage.output_tokens",
	"gen_ai.client.inference.usage.cache_read.input_tokens",
	"gen_ai.client.inference.usage.cache_write.input_tokens",
	"gen_ai.client.inference.usage.reasoning.output_tokens",
];
export const COUNTER_ATTRIBUTES = [
	"gen_ai.operation.name",
	"gen_ai.provider.name",
	"gen_ai.request.model",
	"gen_ai.token.modality",
];

/** Values of `gen_ai.token.modality`. */
export const MODALITIES = ["audio", "image", "text", "unknown"];

/** Attributes of resources. */
export const CONVENTIONAL_RESOURCE = ["service.name", "service.version", "service.instance.id", "host.name"];

/** Values of `gen_ai.operation.name`; others may be used where none of these is meant. */
export const OPERATIONS_OF_MODELS = ["chat", "embeddings", "generate_content", "text_completion"];

/** Values of `gen_ai.provider.name`; where one of them applies it must be used. */
export const PROVIDERS_OF_MODELS = [
	"anthropic",
	"aws.bedrock",
	"azure.ai.inference",
	"azure.ai.openai",
	"cohere",
	"deepseek",
	"gcp.gemini",
	"gcp.gen_ai",
	"gcp.vertex_ai",
	"groq",
	"ibm.watsonx.ai",
	"mistral_ai",
	"moonshot_ai",
	"openai",
	"perplexity",
	"x_ai",
];

/** What may hold a prompt or an answer: no span has one. */
export const CONTENTS = [
	"gen_ai.input.messages",
	"gen_ai.output.messages",
	"gen_ai.system_instructions",
	"gen_ai.tool.definitions",
	"gen_ai.tool.call.arguments",
	"gen_ai.tool.call.result",
];
