/** Gemini's whole answers (@google/genai 2.32, GenerateContentResponse), as OpenAI's. */
import type { Call } from "../openai/call.ts";
import { tokensOf } from "../openai/usage.ts";
import { type FinishReason, now } from "./chat-chunks.ts";
import { type ChatUsage, chatUsage, countOf } from "./chat-usage.ts";
import { type LogprobsResult, logprobsOf } from "./gemini-logprobs.ts";
import type { Answer, Failure, Keep } from "./provider.ts";

/** A part, as far as it is read. Kinds that are not known are passed over: nobody asked for them. */
export interface ResponsePart {
	readonly text?: string;
	readonly thought?: boolean;
	readonly thoughtSignature?: string;
	readonly functionCall?: { readonly id?: string; readonly name?: string; readonly args?: unknown };
	readonly inlineData?: { readonly mimeType?: string; readonly data?: string };
}

/** One of several answers. */
export interface Candidate {
	readonly index?: number;
	readonly content?: { readonly parts?: readonly ResponsePart[] };
	readonly finishReason?: string;
	readonly logprobsResult?: LogprobsResult;
}

/** An answer, or a piece of one. */
export interface GenerateResponse {
	readonly candidates?: readonly Candidate[];
	readonly promptFeedback?: { readonly blockReason?: string };
	readonly usageMetadata?: GeminiUsage;
	readonly modelVersion?: string;
	readonly responseId?: string;
	readonly error?: unknown;
}

interface ModalityCount {
	readonly modality?: string;
	readonly tokenCount?: number;
}

/** Its tokens: `candidatesTokenCount` is without the thoughts. */
export interface GeminiUsage {
	readonly promptTokenCount?: number;
	readonly candidatesTokenCount?: number;
	readonly thoughtsTokenCount?: number;
	readonly toolUsePromptTokenCount?: number;
	readonly cachedContentTokenCount?: number;
	readonly promptTokensDetails?: readonly ModalityCount[];
	readonly candidatesTokensDetails?: readonly ModalityCount[];
}

/** OpenAI's usage. */
export function usageOf(usage: GeminiUsage): ChatUsage {
	const reasoning = countOf(usage.thoughtsTokenCount);
	return chatUsage({
		input: countOf(usage.promptTokenCount) + countOf(usage.toolUsePromptTokenCount),
		output: countOf(usage.candidatesTokenCount) + reasoning,
		cached: countOf(usage.cachedContentTokenCount),
		reasoning,
		inputImage: countIn(usage.promptTokensDetails, "IMAGE"),
		inputAudio: countIn(usage.promptTokensDetails, "AUDIO"),
		outputImage: countIn(usage.candidatesTokensDetails, "IMAGE"),
		outputAudio: countIn(usage.candidatesTokensDetails, "AUDIO"),
	});
}

function countIn(details: readonly ModalityCount[] | undefined, modality: string): number {
	return Array.isArray(details) ? countOf(details.find((each) => each?.modality === modality)?.tokenCount) : 0;
}

const FINISH: Readonly<Record<string, FinishReason>> = {
	STOP: "stop",
	MAX_TOKENS: "length",
	CONTINUATION: "length",
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
export function finishOf(reason: string, hasCalls: boolean): FinishReason | Failure {
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
export function callId(call: { readonly id?: string }, responseId: string, candidate: number, at: number): string {
	if (call.id) return call.id;
	return `call_${responseId}_${candidate === 0 ? "" : `${candidate}_`}${at}`;
}

/** The `extra_content` that carries a signature, as Google's own OpenAI half names it. */
export const signatureExtra = (signature: string) => ({ extra_content: { google: { thought_signature: signature } } });

/** An image of the answer, in the form that OpenRouter gave it. */
export const imageOf = ({ mimeType = "image/png", data = "" }: NonNullable<ResponsePart["inlineData"]>) => ({
	type: "image_url",
	image_url: { url: `data:${mimeType};base64,${data}` },
});

/** The answer for the client. */
export function answerOf(response: GenerateResponse, call: Call): Answer | Failure {
	const refused = blocked(response);
	if (refused) return refused;
	const { candidates } = response;
	if (!Array.isArray(candidates) || candidates.length === 0) {
		return { kind: "transport", isOurs: true, status: 500, message: "sent an answer without any candidate" };
	}
	const keeps: Keep[] = [];
	const choices: object[] = [];
	const responseId = response.responseId || crypto.randomUUID();
	for (const [position, candidate] of (candidates as readonly Candidate[]).entries()) {
		const index = candidate.index ?? position;
		if (!candidate.finishReason) return { kind: "truncated", isOurs: true, message: "sent an answer without an end" };
		const { message, hasCalls } = messageOf(candidate, responseId, index, keeps);
		const finish_reason = finishOf(candidate.finishReason, hasCalls);
		if (typeof finish_reason !== "string") return finish_reason;
		choices.push({ index, message, logprobs: logprobsOf(candidate.logprobsResult), finish_reason });
	}
	const usage = usageOf(response.usageMetadata ?? {});
	const completion = {
		id: responseId,
		object: "chat.completion",
		created: now(),
		model: response.modelVersion ?? call.body.model,
		choices,
		usage,
	};
	return { body: JSON.stringify(completion), tokens: tokensOf(usage), keeps };
}

function messageOf({ content }: Candidate, responseId: string, index: number, keeps: Keep[]) {
	let text = "";
	let reasoning = "";
	let signature: string | undefined;
	const calls: object[] = [];
	const images: object[] = [];
	for (const part of content?.parts ?? []) {
		if (part.functionCall) {
			const { name = "", args = {} } = part.functionCall;
			const id = callId(part.functionCall, responseId, index, calls.length);
			const extra = part.thoughtSignature ? signatureExtra(part.thoughtSignature) : {};
			if (part.thoughtSignature) keeps.push({ id, value: part.thoughtSignature });
			calls.push({ id, type: "function", function: { name, arguments: JSON.stringify(args) }, ...extra });
			continue;
		}
		if (part.thought) reasoning += part.text ?? "";
		else if (part.text) text += part.text;
		if (part.inlineData) images.push(imageOf(part.inlineData));
		signature = part.thoughtSignature ?? signature;
	}
	const message = {
		role: "assistant",
		content: text === "" && calls.length > 0 ? null : text,
		refusal: null,
		...(reasoning === "" ? {} : { reasoning_content: reasoning }),
		...(calls.length > 0 ? { tool_calls: calls } : {}),
		...(images.length > 0 ? { images } : {}),
		...(signature === undefined ? {} : signatureExtra(signature)),
	};
	return { message, hasCalls: calls.length > 0 };
}
