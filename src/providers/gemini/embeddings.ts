/** Embeddings by Gemini's `batchEmbedContents`, as OpenAI's. */
import { Type } from "@sinclair/typebox";
import { LazyCheck } from "../../lazy-check.ts";
import { invalid, unsupported } from "../../openai/chat.ts";
import { open, type RequestBody } from "../../openai/request-fields.ts";
import { checkedTokens, objectIn } from "../../openai/usage.ts";
import { WIRE_FIELDS } from "../../vendors.ts";
import type { Failure } from "../failure.ts";
import { type FieldRules, refuseOthers, vendorFields } from "../fields.ts";
import type { Answer } from "../provider.ts";
import { UnsupportedFields } from "../unsupported-fields.ts";
import { countedIn } from "./response.ts";

const RULES: FieldRules = {
	carried: new Set(["model", "input", "encoding_format", "dimensions"]),
	dropped: new Set(["user", ...WIRE_FIELDS]),
};
const VENDOR = new Set(["taskType", "title"]);

/** The body. `model` with its collection, `models/…`. Throws RouterError naming what has no form there. */
export function embedRequest(body: RequestBody, model: string): string {
	refuseOthers(body, RULES, new UnsupportedFields());
	const vendor = vendorFields(body, "gemini", VENDOR);
	const { input, encoding_format, dimensions } = body;
	if (encoding_format && encoding_format !== "float" && encoding_format !== "base64") {
		throw invalid("encoding_format", 'must be "float" or "base64"');
	}
	const inputs = Array.isArray(input) ? input : [input];
	const other = inputs.findIndex((each) => typeof each !== "string");
	if (other !== -1) {
		throw unsupported(
			Array.isArray(input) ? `input[${other}]` : "input",
			"Gemini embeds text, not tokens of other models",
		);
	}
	const requests = inputs.map((text) => ({
		model,
		content: { parts: [{ text }] },
		outputDimensionality: dimensions ?? undefined,
		...vendor,
	}));
	return JSON.stringify({ requests });
}

const EMBEDDED = new LazyCheck(
	Type.Object(
		{
			embeddings: Type.Array(Type.Object({ values: Type.Array(Type.Number()) }, open)),
			usageMetadata: Type.Optional(Type.Unknown()),
		},
		open,
	),
);

/** The answer for the client. Google counts no tokens for most embeddings. */
export function embedAnswer(response: unknown, body: RequestBody): Answer | Failure {
	if (!EMBEDDED.Check(response)) {
		const message = "sent an answer without embeddings";
		return { kind: "transport", isOurs: true, status: 500, message, tokens: countedIn(response) };
	}
	const wanted = Array.isArray(body["input"]) ? body["input"].length : 1;
	if (response.embeddings.length !== wanted) {
		const message = `sent ${response.embeddings.length} embeddings for ${wanted} texts`;
		return { kind: "transport", isOurs: true, status: 500, message, tokens: countedIn(response) };
	}
	const isBase64 = body["encoding_format"] === "base64";
	const data = response.embeddings.map(({ values }, index) => {
		const embedding = isBase64 ? Buffer.from(new Float32Array(values).buffer).toString("base64") : values;
		return { object: "embedding", index, embedding };
	});
	const tokens = checkedTokens({ input: objectIn(response.usageMetadata)?.["promptTokenCount"], output: 0 });
	const usage = { prompt_tokens: tokens.input, total_tokens: tokens.input };
	return {
		body: JSON.stringify({ object: "list", data, model: body.model, usage }),
		tokens,
	};
}
