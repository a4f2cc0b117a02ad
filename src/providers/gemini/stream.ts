/** Gemini's streams (`streamGenerateContent?alt=sse`), as OpenAI's: each event becomes its chunks at once, but for the last. */
import type { Call } from "../../openai/call.ts";
import { parseBounded } from "../../openai/json.ts";
import type { SseEvent } from "../../openai/sse.ts";
import { ChatChunks, now } from "../chat-chunks.ts";
import { chatUsage } from "../chat-usage.ts";
import { type Failure, NO_CHOICE, type Out, type StoredThinking, type StreamDecoder, TRUNCATED } from "../provider.ts";
import type { Upstream } from "../registry.ts";
import { failureOf, readErrorObject } from "../upstream-error.ts";
import { logprobsOf } from "./logprobs.ts";
import {
	blocked,
	callId,
	finishOf,
	type GeminiCandidate,
	type GenerateResponse,
	imageOf,
	isGenerated,
	type ResponsePart,
	signatureExtra,
	usageTokens,
} from "./response.ts";

/** What is known of one candidate. */
interface Choice {
	calls: number;
	/** Any piece may bring one; only the last counts, and that it was the last is known at the end. */
	finishReason: string | undefined;
}

/** What a piece of an answer becomes. */
interface Piece {
	bytes: string;
	delta: boolean;
	finish: boolean | undefined;
	readonly keeps: StoredThinking[];
}

/** Reads one stream. */
export function generateDecoder(upstream: Upstream, call: Call): StreamDecoder {
	const chunks = new ChatChunks(now());
	const choices = new Map<number, Choice>();
	let responseId = "";
	let usage: unknown;
	/** Each piece says `STOP`, as models before 2.0 do: the end of the stream alone tells which of them was the last. */
	let saysAlways = false;

	function push({ data }: SseEvent): Out {
		if (data === undefined) return { bytes: "" };
		const response = parse(data);
		if (!response) return { bytes: "", dropped: true };
		if (response.error) return { bytes: "", failure: failed(response) };
		if (response.usageMetadata) usage = response.usageMetadata;
		const tokens = usage === undefined ? undefined : usageTokens(usage);
		const refused = blocked(response);
		if (refused) return { bytes: "", failure: refused, tokens };
		if (!chunks.hasBegun) {
			responseId = response.responseId || crypto.randomUUID();
			chunks.begin(responseId, response.modelVersion ?? call.body.model);
		}
		const piece: Piece = { bytes: "", delta: false, finish: undefined, keeps: [] };
		for (const [position, candidate] of (response.candidates ?? []).entries()) {
			read(candidate, candidate.index ?? position, piece);
		}
		return { ...piece, tokens };
	}

	function read(candidate: GeminiCandidate, index: number, piece: Piece): void {
		let choice = choices.get(index);
		if (!choice) {
			choice = { calls: 0, finishReason: undefined };
			choices.set(index, choice);
			piece.bytes += chunks.role(index);
		}
		const parts = candidate.content?.parts ?? [];
		if (choice.finishReason !== undefined && parts.length > 0) saysAlways = true;
		for (const part of parts) readPart(part, index, choice, piece);
		const logprobs = logprobsOf(candidate.logprobsResult);
		if (logprobs) piece.bytes += chunks.delta("{}", index, JSON.stringify(logprobs));
		choice.finishReason = candidate.finishReason ?? choice.finishReason;
		if (saysAlways) piece.finish = false;
		else if (candidate.finishReason) piece.finish = true;
	}

	function readPart(part: ResponsePart, index: number, choice: Choice, piece: Piece): void {
		const { text, thought, functionCall, inlineData, thoughtSignature: signature } = part;
		if (functionCall) {
			const id = callId(functionCall, responseId, index, choice.calls);
			const args = JSON.stringify(functionCall.args ?? {});
			const extra = signature ? signatureExtra(signature) : {};
			if (signature) piece.keeps.push({ id, value: signature });
			piece.bytes += chunks.call(choice.calls++, id, functionCall.name ?? "", args, extra, index);
			piece.delta = true;
			return;
		}
		if (inlineData) {
			if (thought) return;
			piece.bytes += chunks.delta(JSON.stringify({ images: [imageOf(inlineData, signature)] }), index);
			piece.delta = true;
			return;
		}
		if (text) {
			piece.bytes += thought ? chunks.reasoning(text, index) : chunks.text(text, index);
			piece.delta = true;
		}
		if (signature) piece.bytes += chunks.delta(JSON.stringify(signatureExtra(signature)), index);
	}

	function failed(response: GenerateResponse): Failure {
		const error = readErrorObject({ error: response.error }) ?? { isOurs: true, message: "failed" };
		// CANCELLED: not by the caller, whose stream it is.
		const status = error.status === 499 ? 500 : (error.status ?? 500);
		return failureOf(upstream, status, error);
	}

	function end(): Failure | undefined {
		if (choices.size === 0) return NO_CHOICE;
		const isWhole = [...choices.values()].every(({ finishReason }) => finishReason !== undefined);
		return isWhole ? undefined : TRUNCATED;
	}

	function rest(): Out {
		let bytes = "";
		const tokens = usageTokens(usage);
		for (const [index, { calls, finishReason = "" }] of choices) {
			const reason = finishOf(finishReason, calls > 0);
			if (typeof reason !== "string") return { bytes: "", failure: reason, tokens };
			bytes += chunks.finish(reason, index);
		}
		const told = call.body.stream_options?.include_usage === true ? chunks.usage(chatUsage(tokens)) : undefined;
		return { bytes, usage: told, tokens };
	}

	return { push, end, rest };
}

function parse(json: string): GenerateResponse | undefined {
	try {
		const response = parseBounded(json);
		return isGenerated(response) ? response : undefined;
	} catch {
		return undefined;
	}
}
