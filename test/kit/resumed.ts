/** Streams that break off, taken apart: what a client was sent, and what that comes to. */

import { parseRequest } from "../../src/dialects/openai-chat.ts";
import type { Call } from "../../src/openai/call.ts";
import { SentRecord, type SentSoFar } from "../../src/openai/sent-so-far.ts";
import { SseSplitter } from "../../src/openai/sse.ts";
import type { StreamDecoder } from "../../src/providers/provider.ts";
import { configureUpstreams, type Upstream } from "../../src/providers/registry.ts";
import { type FollowUp, followUps, resumeSpend } from "../../src/proxy/resume-request.ts";
import type { Continuation } from "../../src/vendors.ts";
import { choiceEvent, DONE, finishEvent, usageEvent } from "./events.ts";
import { chunksOf, type Json } from "./exchange.ts";
import { configOf } from "./pipeline.ts";

/** What answers. */
export const upstream = configureUpstreams(configOf(), {}).find(({ name }) => name === "local") as Upstream;
/** The prompt of every call. */
export const messages = [{ role: "user", content: "hi" }];

/** A streamed call. */
export function callOf(body: Json = {}, operation: Call["operation"] = "chat"): Call {
	const raw = JSON.stringify({ model: "m", stream: true, ...(operation === "chat" ? { messages } : {}), ...body });
	return { ...parseRequest(operation, raw), operation } as Call;
}

/** What a client gets of these events: the text that is sent on for each. */
export function sentFor(decoder: StreamDecoder, text: string): { sent: string[]; failure: string | undefined } {
	const splitter = new SseSplitter();
	const sent: string[] = [];
	for (const each of [...splitter.push(Buffer.from(text)), ...splitter.end()]) {
		const out = decoder.push(each);
		if (out.failure) return { sent, failure: out.failure.message };
		if (out.done) break;
		sent.push(out.bytes ?? each.raw);
	}
	return { sent, failure: decoder.end()?.message };
}

/** What a client was told by these pieces. */
export function toldBy(sent: readonly string[]): SentSoFar {
	const transcript = new SentRecord();
	for (const piece of sent) transcript.add(piece);
	return transcript.soFar();
}

/** Before anything was told. */
export const NOTHING_SPENT = resumeSpend(toldBy([]), undefined, undefined);

/** The ways to ask for the rest of what was told, where its upstream counted nothing. */
export const waysOf = (call: Call, sent: SentSoFar, capability: Continuation): FollowUp[] =>
	followUps(call, sent, capability, resumeSpend(sent, undefined, undefined));

/** A stream, folded into one answer. */
export function folded(sse: string) {
	const calls: { id?: string; name: string; arguments: string }[] = [];
	const whole = { content: "", reasoning: "", refusal: "", text: "", finish: "", ids: new Set<unknown>(), calls };
	for (const { id, choices } of chunksOf(sse) as { id: unknown; choices?: Json[] }[]) {
		whole.ids.add(id);
		for (const choice of choices ?? []) {
			const delta = (choice["delta"] ?? {}) as Record<string, string | null>;
			whole.content += delta["content"] ?? "";
			whole.reasoning += delta["reasoning_content"] ?? delta["reasoning"] ?? "";
			whole.refusal += delta["refusal"] ?? "";
			whole.text += (choice["text"] as string) ?? "";
			whole.finish += (choice["finish_reason"] as string) ?? "";
			for (const { index, id: callId, function: f } of (delta["tool_calls"] ?? []) as unknown as {
				index: number;
				id?: string;
				function?: { name?: string; arguments?: string };
			}[]) {
				calls[index] ??= { name: "", arguments: "" };
				if (callId) calls[index].id ??= callId;
				calls[index].name += f?.name ?? "";
				calls[index].arguments += f?.arguments ?? "";
			}
		}
	}
	return whole;
}

/** An event with a piece of a tool call. */
export const toolDelta = (index: number, args: string, id?: string, name?: string) =>
	choiceEvent({
		tool_calls: [
			{ index, ...(id ? { id, type: "function" } : {}), function: { ...(name ? { name } : {}), arguments: args } },
		],
	});

/** A whole answer in these pieces, as an upstream that gives its chunks this id tells it. */
export const told = (id: string, ...pieces: string[]) =>
	[...pieces, finishEvent(), usageEvent(), DONE].join("").replaceAll("chatcmpl-kit", id);
