/** Embeddings: Google's requests in OpenAI's words, and OpenAI's answers in Google's. */
import { invalid } from "../../openai/chat.ts";
import { objectIn } from "../../openai/usage.ts";
import { refusal } from "./read-request.ts";
import type { TranslatedRequest } from "./request.ts";
import type { EmbedRequest } from "./request-schema.ts";

/** A request for the vectors of these contents. Throws `invalid_value` where they are to be made in more than one way, or hold no text. */
export function embeddingRequest(
	model: string,
	requests: readonly EmbedRequest[],
	{ isGemini, isBatch }: { readonly isGemini: boolean; readonly isBatch: boolean },
): TranslatedRequest {
	const [first] = requests as [EmbedRequest];
	const left = new Set<string>();
	for (const [index, request] of requests.entries()) {
		for (const name of ["taskType", "title", "outputDimensionality"] as const) {
			if ((request[name] ?? undefined) === (first[name] ?? undefined)) continue;
			throw refusal(`requests[${index}].${name}`, "must be the same in all requests of a batch");
		}
	}
	const { taskType, title, outputDimensionality } = first;
	const own = { ...(taskType ? { taskType } : {}), ...(title ? { title } : {}) };
	if (!isGemini) for (const name of Object.keys(own)) left.add(name);
	const text = JSON.stringify({
		model,
		input: requests.map(({ content }, index) => textOf(content, isBatch ? `requests[${index}].content` : "content")),
		encoding_format: "float",
		dimensions: outputDimensionality ?? undefined,
		...(isGemini && Object.keys(own).length > 0 ? { gemini: own } : {}),
	});
	return { text, leftOut: [...left] };
}

function textOf({ parts }: EmbedRequest["content"], path: string): string {
	const texts = (parts ?? []).flatMap(({ text }) => (text == null ? [] : [text]));
	if (texts.length === 0) throw invalid(`${path}.parts`, "must hold text");
	return texts.join("\n");
}

/** The answer. Throws SyntaxError where OpenAI's is no JSON, which providers see to. */
export function embeddingAnswer(answer: string, isBatch: boolean): string {
	const { data, usage } = JSON.parse(answer) as { data?: unknown; usage?: unknown };
	const embeddings = (Array.isArray(data) ? data : []).map((each) => ({
		values: valuesIn(objectIn(each)?.["embedding"]),
	}));
	const count = objectIn(usage)?.["prompt_tokens"];
	const counted = typeof count === "number" ? { usageMetadata: { promptTokenCount: count } } : {};
	return JSON.stringify({ ...(isBatch ? { embeddings } : { embedding: embeddings[0] }), ...counted });
}

/** The numbers, which some servers send as bytes. */
function valuesIn(embedding: unknown): readonly unknown[] {
	if (Array.isArray(embedding)) return embedding;
	if (typeof embedding !== "string") return [];
	const bytes = Buffer.from(embedding, "base64");
	return Array.from({ length: Math.floor(bytes.length / 4) }, (_, index) => bytes.readFloatLE(index * 4));
}
