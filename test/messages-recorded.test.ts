/** What Anthropic was recorded to be asked and to answer means the same behind the Messages API of the router, before Claude. */

import { expect } from "bun:test";
import { messageText } from "../src/dialects/anthropic-messages/messages-answer.ts";
import { anthropicMessages } from "../src/dialects/anthropic-messages/messages-dialect.ts";
import { messagesRequest } from "../src/providers/anthropic/request.ts";
import { messageAnswer } from "../src/providers/anthropic/response.ts";
import { type Answer, NO_INPUTS } from "../src/providers/provider.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { type Recording, recordings } from "./kit/recordings.ts";
import { meaningOfAnthropic } from "./kit/vendor-meaning.ts";
import { startVendorRig, type VendorRig } from "./kit/vendor-rig.ts";

const { afterAll, beforeAll, test } = needing("recordings");

let rig: VendorRig;
beforeAll(async () => {
	rig = await startVendorRig();
});
afterAll(() => rig.stop());

const all = recordings("anthropic").filter(({ request }) => request);
const post = ({ request }: Recording) =>
	rig.post("/v1/messages", request!.body as Json, { "anthropic-version": "2023-06-01" });

test.each(all.map((each) => [each.id, each] as const))(
	"%s is asked of Claude in its client's own bytes",
	async (_, recording) => {
		rig.replay.play(recording.response);
		await post(recording);
		expect(rig.replay.received[0]!.body).toBe(JSON.stringify(recording.request!.body));
	},
);

test.each(all.map((each) => [each.id, each] as const))(
	"%s means the same where it has to be translated",
	(_, { request }) => {
		const sent = request!.body as Loose;
		const { native } = anthropicMessages.parse("chat", Buffer.from(JSON.stringify(sent)));
		const { body } = messagesRequest(native!.body().value, sent["model"], sent["stream"] === true, NO_INPUTS);
		expect(meaningOfAnthropic(JSON.parse(body))).toEqual(meaningOfAnthropic(sent));
	},
);

/** A message without what another message of the same meaning may have or not. */
function meaningOf({ content, usage, stop_reason, stop_sequence, model, role, type }: Loose): Json {
	const { input_tokens, output_tokens, cache_read_input_tokens, cache_creation_input_tokens } = usage;
	return {
		type,
		role,
		model,
		stop_reason,
		stop_sequence,
		content: content.map(({ caller, citations, ...block }: Loose) => block),
		usage: {
			input_tokens,
			output_tokens,
			cache_read_input_tokens: cache_read_input_tokens ?? 0,
			cache_creation_input_tokens: cache_creation_input_tokens ?? 0,
		},
	};
}

/** The message that a stream comes to. */
function summed(sse: string): Loose {
	let message: Loose = {};
	const inputs: string[] = [];
	for (const line of sse.split("\n")) {
		if (!line.startsWith("data: ")) continue;
		const event = JSON.parse(line.slice("data: ".length)) as Loose;
		const { type, index, delta } = event;
		if (type === "message_start") message = event["message"];
		else if (type === "content_block_start") message["content"][index] = { ...event["content_block"] };
		else if (type === "content_block_delta") {
			const block = message["content"][index];
			if (delta.type === "text_delta") block.text += delta.text;
			else if (delta.type === "thinking_delta") block.thinking += delta.thinking;
			else if (delta.type === "signature_delta") block.signature = delta.signature;
			else inputs[index] = (inputs[index] ?? "") + delta.partial_json;
		} else if (type === "message_delta") {
			message = { ...message, ...delta, usage: { ...message["usage"], ...event["usage"] } };
		}
	}
	for (const [index, text] of inputs.entries()) if (text) message["content"][index].input = JSON.parse(text);
	return message;
}

const whole = all.filter(({ response }) => response.status === 200 && response.body);
const streamed = all.filter(({ response }) => response.status === 200 && response.sse);

test.each(whole.map((each) => [each.id, each] as const))("%s is answered as it was", async (_, recording) => {
	rig.replay.play(recording.response);
	const { status, text } = await post(recording);
	expect([status, text]).toEqual([200, JSON.stringify(recording.response.body)]);
});

test.each(whole.map((each) => [each.id, each] as const))(
	"%s means the same where it has to be translated back",
	(_, { response }) => {
		const { body } = messageAnswer(JSON.stringify(response.body), response.body) as Answer;
		expect(meaningOf(JSON.parse(messageText(JSON.parse(body), "req_1", undefined)))).toEqual(
			meaningOf(response.body as Loose),
		);
	},
);

test.each(streamed.map((each) => [each.id, each] as const))("%s is streamed as it was", async (_, recording) => {
	for (const cut of ["event", "whole"] as const) {
		rig.replay.play(recording.response, cut);
		const { status, text } = await post(recording);
		expect(status).toBe(200);
		expect(summed(text)).toEqual(summed(recording.response.sse!));
	}
});

test.each(all.filter(({ response }) => response.status >= 400).map((each) => [each.id, each] as const))(
	"%s is refused as it was, but for the router's own key",
	async (_, recording) => {
		rig.replay.play(recording.response);
		const { status, text } = await post(recording);
		const { error } = JSON.parse(text) as Loose;
		const said = (recording.response.body as Loose)["error"];
		if (recording.response.status === 401) expect([status, error.type]).toEqual([502, "api_error"]);
		else expect([status, error]).toEqual([recording.response.status, said]);
	},
);
