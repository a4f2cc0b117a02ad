/** OpenAI's whole answers as Google's. */
import { carriedDetails } from "../../openai/thought-details.ts";
import { objectIn } from "../../openai/usage.ts";
import { argumentsText, contentText, reasoningIn, toolCallsIn } from "../chat-message.ts";
import { usageOf, usageText } from "./usage-metadata.ts";

type Json = Readonly<Record<string, unknown>>;

/** What of a call the form of its answer depends on. */
export interface GeneratedForm {
	/** The call's. */
	readonly id: string;
	/** What it thought is to be said, too. */
	readonly showsThoughts: boolean;
	/** Whole names of functions, by those that were sent. */
	readonly names: ReadonlyMap<string, string> | undefined;
}

const FINISH: Readonly<Record<string, string>> = {
	stop: "STOP",
	tool_calls: "STOP",
	function_call: "STOP",
	length: "MAX_TOKENS",
	content_filter: "SAFETY",
};

/** Google's word for a finish reason. */
export const finishReason = (finish: unknown, isRefusal: boolean): string =>
	isRefusal ? "SAFETY" : (FINISH[String(finish)] ?? "STOP");

/** The id of the answer to a call: not its upstream's, of which cached answers have one for all. */
export const responseId = (call: string): string => call.replace(/^req_/, "");

/** The signature of a part, as `extra_content` carries it; "" where it has none. */
export function signatureText({ extra_content }: Json): string {
	const signature = objectIn(objectIn(extra_content)?.["google"])?.["thought_signature"];
	return typeof signature === "string" && signature !== "" ? `,"thoughtSignature":${JSON.stringify(signature)}` : "";
}

/** The same of what another vendor has signed; "" where that is nothing. */
export const carriedText = (details: readonly unknown[]): string =>
	details.length === 0 ? "" : `,"thoughtSignature":"${carriedDetails(details)}"`;

/** A call as a part, JSON. `carried`: in the place of a signature, as `carriedText` gives it. */
export function callPart(call: Json, at: number, { id: request, names }: GeneratedForm, carried = ""): string {
	const { name: sent, arguments: args } = objectIn(call["function"]) ?? {};
	const name = names?.get(contentText(sent)) ?? contentText(sent);
	const id = contentText(call["id"]) || `call_${responseId(request)}_${at}`;
	const head = JSON.stringify({ id, name }).slice(0, -1);
	return `{"functionCall":${head},"args":${argumentsText(args)}}${signatureText(call) || carried}}`;
}

/** What it thought as a part, JSON. */
export const thoughtPart = (text: string): string => `{"text":${JSON.stringify(text)},"thought":true}`;

/** A text as a part, JSON. `signature`: as `signatureText` gives it. */
export const textPart = (text: string, signature = ""): string => `{"text":${JSON.stringify(text)}${signature}}`;

/** A picture that the model made, as a part, JSON; "" where its bytes are not at hand. */
export function imagePart(sent: unknown): string {
	const image = objectIn(sent) ?? {};
	const [, mimeType, data] =
		/^data:([^;,]+);base64,(.*)$/s.exec(contentText(objectIn(image["image_url"])?.["url"])) ?? [];
	if (mimeType === undefined) return "";
	return `{"inlineData":${JSON.stringify({ mimeType, data })}${signatureText(image)}}`;
}

/** A candidate, JSON. `more`: further fields, each behind a comma. */
export const candidateText = (parts: readonly string[], index: number, more = ""): string =>
	`{"content":{"parts":[${parts.join(",")}],"role":"model"}${more},"index":${index}}`;

/**
 * The answer.
 * @param answer OpenAI's, parsed
 * @param costUsd told in its usage where it is given
 */
export function generatedText(answer: object, form: GeneratedForm, costUsd: number | undefined): string {
	const { model, choices, usage } = answer as Json;
	const candidates = (Array.isArray(choices) ? choices : []).map((choice, at) =>
		choiceText(objectIn(choice) ?? {}, at, form),
	);
	const tail = JSON.stringify({ modelVersion: contentText(model), responseId: responseId(form.id) }).slice(1);
	return `{"candidates":[${candidates.join(",")}],"usageMetadata":${usageText(usageOf(usage), costUsd)},${tail}`;
}

function choiceText(choice: Json, at: number, form: GeneratedForm): string {
	const message = objectIn(choice["message"]) ?? {};
	const refusal = contentText(message["refusal"]);
	const text = contentText(message["content"]) || refusal;
	const reasoning = form.showsThoughts ? reasoningIn(message) : "";
	const calls = toolCallsIn(message);
	const images = Array.isArray(message["images"]) ? message["images"].map(imagePart).filter((part) => part !== "") : [];
	const details = Array.isArray(message["reasoning_details"]) ? message["reasoning_details"] : [];
	const carried = carriedText(details);
	// It stands with the first call, or else with the text.
	const signature = signatureText(message) || (calls.length === 0 ? carried : "");
	const parts = [
		...(reasoning === "" ? [] : [thoughtPart(reasoning)]),
		...(text === "" && (signature === "" || calls.length > 0) ? [] : [textPart(text, signature)]),
		...images,
		...calls.map((call, index) => callPart(call, index, form, index === 0 ? carried : "")),
	];
	const finish = `,"finishReason":"${finishReason(choice["finish_reason"], refusal !== "")}"`;
	const index = typeof choice["index"] === "number" ? choice["index"] : at;
	return candidateText(parts, index, finish + logprobsText(choice["logprobs"]));
}

/** Log probabilities in Google's words, behind a comma; "" where there are none. */
export function logprobsText(sent: unknown): string {
	const content = objectIn(sent)?.["content"];
	if (!Array.isArray(content) || content.length === 0) return "";
	const entry = (each: unknown) => {
		const { token, logprob } = objectIn(each) ?? {};
		return { token, logProbability: logprob };
	};
	const topCandidates = content.map((each) => {
		const top = objectIn(each)?.["top_logprobs"];
		return { candidates: Array.isArray(top) ? top.map(entry) : [] };
	});
	return `,"logprobsResult":${JSON.stringify({ chosenCandidates: content.map(entry), topCandidates })}`;
}
