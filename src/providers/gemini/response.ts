/** Gemini's whole answers (@google/genai 2.32, GenerateContentResponse), as OpenAI's. */
import { type Static, Type } from "@sinclair/typebox";
import { LazyCheck } from "../../lazy-check.ts";
import { type Call, formFor } from "../../openai/call.ts";
import { thoughtFields } from "../../openai/reasoning.ts";
import { open, optional, type RequestBody } from "../../openai/request-fields.ts";
import { checkedTokens, objectIn, sumOf, type Tokens } from "../../openai/usage.ts";
import { chatUsage, type FinishReason, now, reportedTier } from "../chat-answer.ts";
import type { Failure } from "../failure.ts";
import { answerNames, unnamedText } from "../message-marks.ts";
import type { Answer, StoredThinking } from "../provider.ts";
import { clientName } from "./function-names.ts";
import { annotationsOf } from "./grounding.ts";
import { type JsonReading, jsonAnswer, jsonReading } from "./json-answer.ts";
import { LogprobsResult, logprobsOf } from "./logprobs.ts";

const text = optional(Type.String());

const FunctionCall = Type.Object({ id: text, name: text, args: Type.Optional(Type.Unknown()) }, open);
const InlineData = Type.Object({ mimeType: text, data: text }, open);

const Part = Type.Object(
	{
		text,
		thought: optional(Type.Boolean()),
		thoughtSignature: text,
		functionCall: optional(FunctionCall),
		inlineData: optional(InlineData),
	},
	open,
);
/** A part, as far as it is read. Unknown kinds are ignored: the request asked for none. */
export type ResponsePart = Static<typeof Part>;

const candidateSchema = Type.Object(
	{
		index: Type.Optional(Type.Integer({ minimum: 0, maximum: 1000 })),
		content: optional(Type.Object({ parts: optional(Type.Array(Part)) }, open)),
		finishReason: text,
		logprobsResult: optional(LogprobsResult),
		citationMetadata: Type.Optional(Type.Unknown()),
		groundingMetadata: Type.Optional(Type.Unknown()),
	},
	open,
);
/** One of several answers. */
export type GeminiCandidate = Static<typeof candidateSchema>;

/** Its tokens, unchecked: `candidatesTokenCount` is without the thoughts. */
export interface GeminiUsage {
	readonly promptTokenCount?: unknown;
	readonly candidatesTokenCount?: unknown;
	readonly thoughtsTokenCount?: unknown;
	readonly toolUsePromptTokenCount?: unknown;
	readonly totalTokenCount?: unknown;
	readonly cachedContentTokenCount?: unknown;
	readonly promptTokensDetails?: unknown;
	readonly candidatesTokensDetails?: unknown;
	/** Of the Gemini API and of Vertex: in which tier it was answered. */
	readonly serviceTier?: unknown;
	readonly trafficType?: unknown;
}

const Generated = Type.Object(
	{
		candidates: optional(Type.Array(candidateSchema)),
		promptFeedback: optional(Type.Object({ blockReason: text }, open)),
		usageMetadata: Type.Optional(Type.Unknown()),
		modelVersion: text,
		responseId: text,
		error: Type.Optional(Type.Unknown()),
	},
	open,
);
/** An answer, or a piece of one. */
export type GenerateResponse = Static<typeof Generated>;

const GENERATED = new LazyCheck(Generated);

/** Whether it has the shape that is read here. */
export const isGenerated = (value: unknown): value is GenerateResponse => GENERATED.Check(value);

/** Its tokens, in OpenAI's sense and checked. Its wire leaves counts of 0 out: the total says whether there were none. */
export function generatedTokens(sent: unknown): Tokens {
	const usage: GeminiUsage = objectIn(sent) ?? {};
	const { thoughtsTokenCount: thoughts, candidatesTokenCount: candidates, totalTokenCount: total } = usage;
	const input = sumOf(usage.promptTokenCount, usage.toolUsePromptTokenCount);
	const isNone = candidates === undefined && thoughts === undefined && input !== undefined && total === input;
	return checkedTokens({
		input,
		output: isNone ? 0 : sumOf(candidates, thoughts),
		cached: usage.cachedContentTokenCount,
		reasoning: thoughts,
		inputImage: countIn(usage.promptTokensDetails, "IMAGE"),
		inputAudio: countIn(usage.promptTokensDetails, "AUDIO"),
		outputImage: countIn(usage.candidatesTokensDetails, "IMAGE"),
		outputAudio: countIn(usage.candidatesTokensDetails, "AUDIO"),
	});
}

/** Those of an answer of any shape; undefined where it counts none. */
export function countedIn(response: unknown): Tokens | undefined {
	const usage = objectIn(objectIn(response)?.["usageMetadata"]);
	return usage && generatedTokens(usage);
}

/** The tier that it was answered in, in OpenAI's word. */
export function generatedTier(sent: unknown): string | undefined {
	const { serviceTier, trafficType }: GeminiUsage = objectIn(sent) ?? {};
	return reportedTier(serviceTier) ?? reportedTier(trafficType);
}

function countIn(details: unknown, modality: string): unknown {
	if (!Array.isArray(details)) return undefined;
	return objectIn(details.find((each) => objectIn(each)?.["modality"] === modality))?.["tokenCount"];
}

const FINISH: Readonly<Record<string, FinishReason>> = {
	STOP: "stop",
	MAX_TOKENS: "length",
	// There is more of it, behind a token for which OpenAI has no field.
	CONTINUATION: "length",
	ESCALATION: "content_filter",
	SAFETY: "content_filter",
	RECITATION: "content_filter",
	LANGUAGE: "content_filter",
	BLOCKLIST: "content_filter",
	PROHIBITED_CONTENT: "content_filter",
	SPII: "content_filter",
	IMAGE_SAFETY: "content_filter",
	IMAGE_PROHIBITED_CONTENT: "content_filter",
	IMAGE_RECITATION: "content_filter",
};

/** OpenAI's word for a finish reason; the failure it is where the answer is none: a malformed call, a reason that says nothing. */
export function candidateFinish(reason: string, hasCalls: boolean): FinishReason | Failure {
	if (reason === "MISSING_THOUGHT_SIGNATURE") {
		const message = "wants thought signatures in this conversation that nobody has (MISSING_THOUGHT_SIGNATURE)";
		return { kind: "unsupported", isOurs: true, message };
	}
	if (!Object.hasOwn(FINISH, reason)) {
		const word = /^[A-Z_]{1,40}$/.test(reason) ? ` (${reason})` : "";
		return { kind: "transport", isOurs: true, status: 500, message: `stopped before its answer was finished${word}` };
	}
	const finish = FINISH[reason]!;
	return finish === "stop" && hasCalls ? "tool_calls" : finish;
}

/** The failure of a prompt that was not let through; undefined where it was. */
export function blocked({ promptFeedback, candidates }: GenerateResponse): Failure | undefined {
	const reason = promptFeedback?.blockReason;
	if (!reason || candidates?.length) return undefined;
	const word = /^[A-Z_]{1,40}$/.test(reason) ? ` (${reason})` : "";
	return { kind: "content_filter", isOurs: true, message: `refused the prompt${word}` };
}

/** The id of a call: Google's own, from Gemini 3 on, else one made of the answer's, so that it is the same each time it is read. */
export function callId(
	call: { readonly id?: string | null },
	responseId: string,
	candidate: number,
	at: number,
): string {
	if (call.id) return call.id;
	return `call_${responseId}_${candidate === 0 ? "" : `${candidate}_`}${at}`;
}

/** The `extra_content` that carries a signature, as Google's own OpenAI half names it. */
export const signatureExtra = (signature: string) => ({ extra_content: { google: { thought_signature: signature } } });

/** An image of the answer, in the form that OpenRouter gave it, with the signature that must come back with it. */
export const imageOf = ({ mimeType, data }: NonNullable<ResponsePart["inlineData"]>, signature?: string | null) => ({
	type: "image_url",
	image_url: { url: `data:${mimeType ?? "image/png"};base64,${data ?? ""}` },
	...(signature ? signatureExtra(signature) : {}),
});

/** What of a request its answer is read by. */
export interface AnswerRules {
	/** `parallel_tool_calls: false`: Gemini has no such switch, so that of several calls the first is kept. */
	readonly isSoleCall: boolean;
	/** The request's tools. */
	readonly tools: unknown;
	/** See `answerNames`. */
	readonly names: readonly string[];
	/** Where an answer in JSON is to come as a call: words beside calls are then left out, since clients read all content as JSON. */
	readonly json: JsonReading | undefined;
}

/** Those of a request to a model. */
export function answerRules(body: RequestBody, model: string): AnswerRules {
	const { parallel_tool_calls, tools, messages } = body;
	const isSoleCall = parallel_tool_calls === false;
	return { isSoleCall, tools, names: answerNames(messages), json: jsonReading(body, model) };
}

/** Those of an answer to what its client has written itself: all of it is as it came. */
export const AS_IT_CAME: AnswerRules = { isSoleCall: false, tools: undefined, names: [], json: undefined };

/**
 * The answer for the client. What was counted of one that is none is known, too.
 * @param rules those of the call's request, unless the client has written that itself
 */
export function generatedAnswer(
	response: unknown,
	call: Call,
	model = call.facts.model,
	rules = answerRules(formFor(call, "gemini").body().value, model),
): Answer | Failure {
	if (!isGenerated(response)) {
		const message = "sent an answer of another shape than its API's";
		return { kind: "transport", isOurs: true, status: 500, message, tokens: countedIn(response) };
	}
	const tokens = generatedTokens(response.usageMetadata);
	const thinking: StoredThinking[] = [];
	const id = response.responseId || crypto.randomUUID();
	const choices = blocked(response) ?? choicesOf(response, { responseId: id, thinking, rules });
	if ("kind" in choices) return { ...choices, tokens };
	const completion = {
		id,
		object: "chat.completion",
		created: now(),
		model: response.modelVersion ?? call.facts.model,
		choices,
		service_tier: generatedTier(response.usageMetadata),
		usage: chatUsage(tokens),
	};
	return { body: JSON.stringify(completion), tokens, thinking };
}

function choicesOf({ candidates }: GenerateResponse, context: Omit<MessageContext, "index">): object[] | Failure {
	if (!candidates?.length) {
		return { kind: "transport", isOurs: true, status: 500, message: "sent an answer without any candidate" };
	}
	const choices: object[] = [];
	for (const [position, candidate] of candidates.entries()) {
		const index = candidate.index ?? position;
		if (!candidate.finishReason) return { kind: "truncated", isOurs: true, message: "sent an answer without an end" };
		const made = messageOf(candidate, { ...context, index });
		if ("kind" in made) return made;
		const { message, hasCalls } = made;
		const finish_reason = candidateFinish(candidate.finishReason, hasCalls);
		if (typeof finish_reason !== "string") return finish_reason;
		choices.push({ index, message, logprobs: logprobsOf(candidate.logprobsResult), finish_reason });
	}
	return choices;
}

/** What a candidate's message is made with. */
interface MessageContext {
	readonly responseId: string;
	readonly index: number;
	readonly thinking: StoredThinking[];
	readonly rules: AnswerRules;
}

function messageOf(candidate: GeminiCandidate, { responseId, index, thinking, rules }: MessageContext) {
	let text = "";
	let reasoning = "";
	let signature: string | undefined;
	const calls: object[] = [];
	const images: object[] = [];
	let answer: string | undefined;
	for (const part of candidate.content?.parts ?? []) {
		if (rules.json && part.functionCall?.name === rules.json.name) {
			const read = jsonAnswer(rules.json, part.functionCall.args);
			if (typeof read !== "string") return read;
			answer ??= read;
			continue;
		}
		if (part.functionCall) {
			if (rules.isSoleCall && calls.length > 0) continue;
			const { name, args } = part.functionCall;
			const id = callId(part.functionCall, responseId, index, calls.length);
			const extra = part.thoughtSignature ? signatureExtra(part.thoughtSignature) : {};
			if (part.thoughtSignature) thinking.push({ id, value: part.thoughtSignature });
			calls.push({
				id,
				type: "function",
				function: { name: clientName(name ?? "", rules.tools), arguments: JSON.stringify(args ?? {}) },
				...extra,
			});
			continue;
		}
		// Drafts of an image are thoughts, for which OpenAI has no field.
		if (part.inlineData) {
			if (!part.thought) images.push(imageOf(part.inlineData, part.thoughtSignature));
			continue;
		}
		if (part.thought) reasoning += part.text ?? "";
		else if (part.text) text += part.text;
		signature = part.thoughtSignature ?? signature;
	}
	// Calls of the caller's own come first: with their results it answers again.
	if (rules.json && (calls.length > 0 || answer !== undefined)) text = calls.length > 0 ? "" : answer!;
	const said = unnamedText(text, rules.names);
	const annotations = annotationsOf(candidate, text, said);
	const message: Record<string, unknown> = {
		role: "assistant",
		content: said === "" && calls.length > 0 ? null : said,
		refusal: null,
	};
	if (annotations.length > 0) message["annotations"] = annotations;
	if (reasoning !== "") Object.assign(message, thoughtFields(reasoning));
	if (calls.length > 0) message["tool_calls"] = calls;
	if (images.length > 0) message["images"] = images;
	if (signature !== undefined) Object.assign(message, signatureExtra(signature));
	return { message, hasCalls: calls.length > 0 };
}
