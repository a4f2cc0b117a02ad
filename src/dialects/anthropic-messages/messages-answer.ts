/** OpenAI's whole answers as Anthropic's messages. */

import { type PlacedThought, withThoughts } from "../../openai/reasoning.ts";
import { carriedDetails, signedDetails } from "../../openai/thought-details.ts";
import { objectIn } from "../../openai/usage.ts";
import { decimal } from "../../openai/usage-edits.ts";
import { argumentsText, contentText, reasoningIn, toolCallsIn } from "../chat-message.ts";
import { usageOf } from "./messages-usage.ts";

type Json = Readonly<Record<string, unknown>>;

/** Why a message is over, in Anthropic's words. */
export type StopReason = "end_turn" | "max_tokens" | "stop_sequence" | "tool_use" | "refusal";

/** How an answer ended. */
export interface Stop {
	readonly stop_reason: StopReason;
	/** The sequence that ended it, where its upstream says so (vLLM, SGLang). */
	readonly stop_sequence: string | null;
}

/**
 * How a choice ended.
 * @param hasCalls it calls tools: some servers say `stop` then
 */
export function stopOf(choice: Json, hasCalls: boolean, isRefusal: boolean): Stop {
	const { finish_reason: finish, stop_reason, matched_stop } = choice;
	const sequence = [stop_reason, matched_stop].find((each) => typeof each === "string") as string | undefined;
	if (finish === "content_filter" || isRefusal) return { stop_reason: "refusal", stop_sequence: null };
	if (finish === "length") return { stop_reason: "max_tokens", stop_sequence: null };
	if (hasCalls) return { stop_reason: "tool_use", stop_sequence: null };
	if (finish === "stop" && sequence !== undefined) return { stop_reason: "stop_sequence", stop_sequence: sequence };
	return { stop_reason: "end_turn", stop_sequence: null };
}

/**
 * The id of the message that answers a call. Not its upstream's: some have few (Ollama) and cached answers have one for all, and Claude Code takes two
 * messages of one id for one.
 */
export const messageId = (call: string): string => `msg_${call.replace(/^req_/, "").replaceAll("-", "")}`;

/** The id of a tool call; one without an id has its place in the message for it. */
export const callId = (sent: unknown, message: string, index: number): string =>
	typeof sent === "string" && sent !== "" ? sent : `toolu_${message.slice(4)}_${index}`;

/**
 * The message.
 * @param answer OpenAI's, parsed
 * @param call the id of the call that it answers
 * @param costUsd told in its usage where it is given
 * @param names whole names of tools, by those that were sent
 */
export function messageText(
	answer: object,
	call: string,
	costUsd: number | undefined,
	names?: ReadonlyMap<string, string>,
): string {
	const { model, choices, usage } = answer as Json;
	const id = messageId(call);
	const choice = objectIn(Array.isArray(choices) ? choices[0] : undefined) ?? {};
	const message = objectIn(choice["message"]) ?? {};
	const refusal = contentText(message["refusal"]);
	const calls = toolCallsIn(message);
	const content = contentTexts(
		message,
		refusal,
		calls.map((call, index) => useText(call, id, index, names)),
	);
	const stop = stopOf(choice, calls.length > 0, refusal !== "");
	const counts = JSON.stringify(usageOf(usage));
	const priced = costUsd === undefined ? counts : `${counts.slice(0, -1)},"cost":${decimal(costUsd)}}`;
	const head = JSON.stringify({
		id,
		type: "message",
		role: "assistant",
		model: typeof model === "string" ? model : "",
	});
	return `${head.slice(0, -1)},"content":[${content.join(",")}],${stopText(stop, refusal)},"usage":${priced}}`;
}

/** The fields that say how a message ended, without braces. */
export function stopText(stop: Stop, refusal: string): string {
	const details = stop.stop_reason === "refusal" ? { stop_details: refusalDetails(refusal) } : {};
	return JSON.stringify({ ...stop, ...details }).slice(1, -1);
}

const refusalDetails = (refusal: string) => ({
	type: "refusal",
	category: null,
	explanation: refusal === "" ? null : refusal,
});

/** Thoughts where they stood, text and calls, each as JSON. */
function contentTexts(message: Json, refusal: string, calls: readonly string[]): string[] {
	const text = contentText(message["content"]) || refusal;
	return withThoughts(thoughtsIn(message), text, calls, (piece) => JSON.stringify({ type: "text", text: piece }));
}

const BEGINNING = { text: 0, calls: 0 };

/** Claude's signed thoughts, each in its place; of all others what they thought, before all else, with what their vendor has signed of it. */
export function thoughtsIn(message: Json): PlacedThought[] {
	const details = Array.isArray(message["reasoning_details"]) ? message["reasoning_details"] : [];
	const signed = details.flatMap((each) => signedThought(objectIn(each) ?? {}) ?? []);
	if (signed.length > 0) return signed;
	const thinking = reasoningIn(message);
	const all = signedDetails(message);
	if (thinking === "" && all.length === 0) return [];
	return [{ block: foreignThought(thinking, all), after: BEGINNING }];
}

/** A thought of another vendor's as a block, with the details in the place of Claude's signature, or of what Claude has encrypted. */
export function foreignThought(thinking: string, details: readonly unknown[]): object {
	const carried = details.length > 0 ? carriedDetails(details) : "";
	return thinking === ""
		? { type: "redacted_thinking", data: carried }
		: { type: "thinking", thinking, signature: carried };
}

function signedThought(detail: Json): PlacedThought | undefined {
	const { type, format, text, data, signature } = detail;
	if (format !== "anthropic-claude-v1") return undefined;
	const after = placeIn(detail["after"]);
	if (type === "reasoning.encrypted" && typeof data === "string")
		return { block: { type: "redacted_thinking", data }, after };
	if (type !== "reasoning.text" || typeof signature !== "string") return undefined;
	return { block: { type: "thinking", thinking: contentText(text), signature }, after };
}

function placeIn(sent: unknown): PlacedThought["after"] {
	const { text, calls } = objectIn(sent) ?? {};
	return typeof text === "number" && typeof calls === "number" ? { text, calls } : BEGINNING;
}

/** A call as JSON. Its input is the text of its arguments, so that big numbers survive. */
function useText(call: Json, message: string, index: number, names: ReadonlyMap<string, string> | undefined): string {
	const { name: sent, arguments: args } = objectIn(call["function"]) ?? {};
	const name = names?.get(contentText(sent)) ?? contentText(sent);
	const head = JSON.stringify({ type: "tool_use", id: callId(call["id"], message, index), name });
	return `${head.slice(0, -1)},"input":${argumentsText(args)}}`;
}
