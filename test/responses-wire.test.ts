/** Every recorded answer means the same as a response and as a chat: text, calls, thoughts, counts and why it ended. */
import { expect } from "bun:test";
import { dialect } from "./kit/dialects.ts";
import { chunksOf, type Json, type Loose } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { type Recording, recordings } from "./kit/recordings.ts";
import { responseEvents } from "./kit/response-events.ts";
import { responseFaults } from "./kit/response-schema.ts";
import { type Rig, startRig } from "./kit/rig.ts";
import { startVendorRig, type VendorRig } from "./kit/vendor-rig.ts";

const { afterAll, beforeAll, describe, test } = needing("recordings");

let rig: Rig;
let vendorRig: VendorRig;
beforeAll(async () => {
	[rig, vendorRig] = await Promise.all([startRig(), startVendorRig()]);
});
afterAll(() => Promise.all([rig.stop(), vendorRig.stop()]));

const COMPATIBLE = { openai: "openai", openrouter: "openrouter", xai: "xai", venice: "venice", vllm: "vllm-box" };
const FOLDERS: readonly [folder: string, model: string, of: () => Rig | VendorRig][] = [
	...Object.entries(COMPATIBLE).map(([folder, name]) => [folder, dialect(name).model, () => rig] as never),
	["anthropic", "claude-opus-4-7", () => vendorRig],
	["gemini", "gemini-2.5-flash", () => vendorRig],
];
const isChat = ({ request, response }: Recording) =>
	response.status === 200 && !/embed|responses|\/completions$(?<!chat\/completions)|models$/i.test(request?.path ?? "");

/** A stream's pieces added up, as far as they are compared. */
function added(sse: string): Loose {
	const chat: Loose = { message: {} };
	for (const chunk of chunksOf(sse) as Loose[]) {
		if (chunk["usage"]) chat["usage"] = chunk["usage"];
		const { delta = {}, finish_reason } = chunk["choices"]?.[0] ?? {};
		if (finish_reason) chat["finish_reason"] = finish_reason;
		const { message } = chat;
		for (const name of ["content", "refusal", "reasoning", "reasoning_content"]) {
			if (typeof delta[name] === "string") message[name] = (message[name] ?? "") + delta[name];
		}
		for (const { index, id, function: fn } of delta.tool_calls ?? []) {
			message.tool_calls ??= [];
			message.tool_calls[index] ??= { id, function: { name: fn.name, arguments: "" } };
			message.tool_calls[index].function.arguments += fn.arguments ?? "";
		}
	}
	return chat;
}

const parsed = (text: string) => {
	try {
		return JSON.parse(text);
	} catch {
		return text;
	}
};

function meaningOfChat({ message, finish_reason, usage }: Loose): Json {
	const { content, refusal, reasoning_content, reasoning, tool_calls } = message;
	const ends: Record<string, string> = { length: "max_output_tokens", content_filter: "content_filter" };
	return {
		text: content ?? "",
		refusal: refusal ?? "",
		reasoning: reasoning_content || reasoning || "",
		calls: (tool_calls ?? []).map(({ id, function: fn }: Loose) => [id, fn.name, parsed(fn.arguments)]),
		end: ends[finish_reason] ?? "completed",
		usage: [
			...[usage.prompt_tokens, usage.completion_tokens, usage.total_tokens],
			usage.prompt_tokens_details?.cached_tokens ?? 0,
			// A part is never more than the whole, which one upstream's is.
			Math.min(usage.completion_tokens, usage.completion_tokens_details?.reasoning_tokens ?? 0),
		],
	};
}

function meaningOfResponse({ output, status, incomplete_details, usage }: Loose): Json {
	const items = (type: string) => output.filter((item: Loose) => item["type"] === type);
	const parts = items("message").flatMap(({ content }: Loose) => content);
	const joined = (texts: unknown[]) => texts.join("");
	return {
		text: joined(parts.map(({ text }: Loose) => text ?? "")),
		refusal: joined(parts.map(({ refusal }: Loose) => refusal ?? "")),
		reasoning: joined(items("reasoning").flatMap(({ summary }: Loose) => summary.map(({ text }: Loose) => text))),
		calls: items("function_call").map(({ call_id, name, arguments: args }: Loose) => [call_id, name, parsed(args)]),
		end: incomplete_details?.reason ?? status,
		usage: [
			...[usage.input_tokens, usage.output_tokens, usage.total_tokens],
			...[usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens],
		],
	};
}

describe.each(FOLDERS)("%s", (folder, model, of) => {
	const all = recordings(folder).filter(isChat);
	test.each(all.map((each) => [each.id, each] as const))("%s", async (_, { response }) => {
		const stream = response.sse !== undefined;
		const { replay, post } = of();
		replay.play(response, "event");
		const asking = { model, stream, messages: [{ role: "user", content: "Hi" }] };
		const chat = await post("/v1/chat/completions", {
			...asking,
			stream_options: stream ? { include_usage: true } : null,
		});
		replay.play(response, "event");
		const { status, text } = await post("/v1/responses", { model, stream, input: "Hi" });
		expect(status).toBe(chat.status);
		if (status !== 200) return;
		const said = stream
			? added(chat.text)
			: { ...JSON.parse(chat.text).choices[0], usage: JSON.parse(chat.text).usage };
		if (stream && !chat.text.includes("[DONE]")) {
			expect(responseEvents(text).response["status"]).toBe("failed");
			return;
		}
		const answer = stream ? responseEvents(text).response : JSON.parse(text);
		expect(responseFaults(answer)).toEqual([]);
		expect(meaningOfResponse(answer)).toEqual(meaningOfChat(said));
	});
});
