/**
 * What OpenTelemetry's conventions for generative AI call providers and operations. Its own words are used where it has them, as it asks, else
 * the router's. https://github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai/client-inference.md.
 */
import type { Operation } from "../../openai/operations.ts";

/** `gen_ai.operation.name` by the router's operation. */
const OPERATION_NAMES: { readonly [operation in Operation]?: string } = {
	completions: "text_completion",
	image_generations: "generate_content",
	image_edits: "generate_content",
	image_variations: "generate_content",
	speech: "generate_content",
};

/** `gen_ai.operation.name`. */
export const operationName = (operation: Operation): string => OPERATION_NAMES[operation] ?? operation;

/** `gen_ai.provider.name` by what price lists call the vendor, where that is another name. */
const PROVIDER_NAMES: Readonly<Record<string, string>> = {
	google: "gcp.gemini",
	"x-ai": "x_ai",
	mistral: "mistral_ai",
	moonshotai: "moonshot_ai",
	azure: "azure.ai.openai",
	aws: "aws.bedrock",
};

/** `gen_ai.provider.name` of an upstream: of a vendor's, whatever the configuration calls it. @param vendor as price lists call it, where they know it */
export const providerName = (provider: string, vendor: string | undefined): string =>
	vendor === undefined ? provider : (PROVIDER_NAMES[vendor] ?? vendor);
