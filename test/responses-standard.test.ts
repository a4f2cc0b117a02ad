/**
 * What the compliance tests of Open Responses ask of a server (openresponses/openresponses at 92c12d9, specification 2026-04-24, and the calls that
 * 18e5656 adds to them): whole, as a stream and over a WebSocket, on models of every kind of upstream.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Json, Loose } from "./kit/exchange.ts";
import { checkedEvents, responseEvents } from "./kit/response-events.ts";
import { responseFaults } from "./kit/response-schema.ts";
import { fn } from "./kit/responses.ts";
import { connectSocket } from "./kit/responses-socket.ts";
import { PIXEL, type ScenarioName } from "./kit/scenarios.ts";
import { upstreamKinds } from "./kit/upstream-kinds.ts";

const upstreams = upstreamKinds(["openai", "vllm-box"]);
beforeAll(() => upstreams.start());
afterAll(() => upstreams.stop());

const message = (role: string, content: unknown) => ({ type: "message", role, content });
const PDF = `data:application/pdf;base64,${Buffer.from("%PDF-1.1").toString("base64")}`;
const weather = fn("get_weather", {
	description: "Weather.",
	parameters: { type: "object", properties: { location: { type: "string" } }, required: ["location"] },
});
const asking = (text: string, part: Json) => [message("user", [{ type: "input_text", text }, part])];

const REQUESTS: readonly [name: string, request: Json, said: ScenarioName][] = [
	["a message", { input: [message("user", "Say hello in exactly 3 words.")] }, "text"],
	["a text", { input: "Say hello." }, "text"],
	["words of the system", { input: [message("system", "You are a pirate."), message("user", "Say hello.")] }, "text"],
	[
		"words of the developer",
		{ input: [message("developer", "You are a pirate."), message("user", "Say hello.")] },
		"text",
	],
	["a tool", { input: [message("user", "Weather in Bern?")], tools: [weather] }, "tools"],
	["a picture", { input: asking("What is it?", { type: "input_image", image_url: PIXEL }) }, "image"],
	["a file", { input: asking("Its title?", { type: "input_file", filename: "a.pdf", file_data: PDF }) }, "text"],
	[
		"several turns",
		{ input: [message("user", "I am Alice."), message("assistant", "Hello Alice!"), message("user", "Who am I?")] },
		"text",
	],
	[
		"what an assistant said in passing, and in the end",
		{
			input: [
				{ ...message("assistant", "I look it up."), phase: "commentary" },
				{ ...message("assistant", "It is four."), phase: "final_answer" },
				message("user", "Only the number."),
			],
		},
		"text",
	],
	[
		"a tool that must be called",
		{ input: "Weather in Bern?", tools: [weather], tool_choice: { type: "function", name: "get_weather" } },
		"tools",
	],
	[
		"what a tool gave",
		{
			input: [
				message("user", "Weather in Bern?"),
				{ type: "function_call", call_id: "call_a", name: "get_weather", arguments: '{"location":"Bern"}' },
				{ type: "function_call_output", call_id: "call_a", output: "64 degrees and clear" },
			],
			tools: [weather],
		},
		"tool results",
	],
	["thoughts", { input: "17 × 3?", reasoning: { effort: "low", summary: "auto" } }, "reasoning"],
];

describe.each(upstreams.kinds.map((kind) => [kind.name, kind] as const))("%s takes", (_, { model, rig, answer }) => {
	test.each(REQUESTS)("%s", async (_name, request, said) => {
		const { replay, post } = rig();
		for (const stream of [false, true]) {
			replay.play(answer(said, stream));
			const { status, text, headers } = await post("/v1/responses", { model, ...request, stream });
			expect([status, status === 200 ? "" : text]).toEqual([200, ""]);
			expect(headers.get("content-type")).toStartWith(stream ? "text/event-stream" : "application/json");
			const response: Loose = stream ? responseEvents(text).response : JSON.parse(text);
			expectAnswered(response, said);
		}
	});

	test.each(REQUESTS)("%s, over a WebSocket", async (_name, request, said) => {
		const { replay, router } = rig();
		replay.play(answer(said, true));
		const client = await connectSocket(router.url);
		const { response } = checkedEvents(await client.create({ model, ...request }));
		client.socket.close();
		expectAnswered(response, said);
	});
});

function expectAnswered(response: Loose, said: ScenarioName): void {
	expect(responseFaults(response)).toEqual([]);
	expect(response["status"]).toBe("completed");
	expect(response["output"].at(-1).type).toBe(said === "tools" ? "function_call" : "message");
}
