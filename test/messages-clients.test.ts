/** What Claude Code, Anthropic's Python SDK and the AI SDK were recorded to send is taken for a model of every wire. */
import { expect } from "bun:test";
import type { ClientRequest } from "./kit/client-recordings.ts";
import type { Loose } from "./kit/exchange.ts";
import { hello, MODELS, messagesRig } from "./kit/messages.ts";
import { needing } from "./kit/needing.ts";
import { restoredRequests } from "./kit/restored-requests.ts";

const { afterAll, beforeEach, describe, test } = needing("recordings");

const FILES = [
	"claude-code-turns",
	"claude-code-apikey",
	"claude-code-haiku",
	"claude-code-other-model",
	"claude-code-router-404",
	"claude-code-title",
	"claude-code-count-tokens",
	"claude-code-count-tokens-fallback",
	"anthropic-py",
	"ai-sdk-anthropic",
];

const rig = messagesRig();
afterAll(() => rig.stop());
beforeEach(() => {
	rig.restart();
	rig.upstream.run(hello);
});

/** The requests for messages, with what was cut out of the recording put back in. */
const recorded = (file: string): readonly ClientRequest[] =>
	restoredRequests(file).filter(({ method, path }) => method === "POST" && path.startsWith("/v1/messages"));

/** The headers that matter, but for the key. */
const sent = ({ headers }: ClientRequest) =>
	Object.fromEntries(
		Object.entries(headers).filter(([name]) => name.startsWith("anthropic-") || name.startsWith("x-stainless")),
	);

describe.each(Object.entries(MODELS))("for a model of the wire %s", (wire, model) => {
	const all = FILES.flatMap((file) => recorded(file).map((request, index) => [`${file} ${index}`, request] as const));

	test.each(all)("%s", async (_, request) => {
		const { headers, body, path } = request;
		const answer = await rig.send({ ...body, model }, sent(request), path);
		const { status, text, headers: got } = answer;
		if (body["thread"]) {
			expect([status, answer.json["error"].details.error_code]).toEqual([400, "thread_unsupported_request"]);
			return;
		}
		expect([status, status === 200 ? "" : text]).toEqual([200, ""]);
		expect(got.get("request-id")).toMatch(/^req_/);
		if (path.includes("count_tokens")) {
			expect(answer.json["input_tokens"]).toBeGreaterThan(0);
			expect(got.get("x-router-estimated")).toBe("true");
			return;
		}
		if (body["stream"]) {
			const { events } = answer;
			expect(events.map(({ type }) => type)).toEqual([
				"message_start",
				"content_block_start",
				...events.filter(({ type }) => type === "content_block_delta").map(({ type }) => type),
				"content_block_stop",
				"message_delta",
				"message_stop",
			]);
			expect(events.at(-2)!["usage"]).toMatchObject({ input_tokens: 3, output_tokens: 2 });
		} else expect(answer.json["content"]).toEqual([{ type: "text", text: "Hello" }]);
		const asked = rig.upstream.received[0]!;
		expect(asked.body.includes("x-anthropic-billing-header")).toBe(
			wire === "claude" && JSON.stringify(body["system"] ?? "").includes("x-anthropic-billing-header"),
		);
		const dropped = got.get("x-router-dropped") ?? "";
		expect(dropped.includes("context_management")).toBe(wire !== "claude" && body["context_management"] != null);
		expect(headers["anthropic-version"]).toBeDefined();
	});
});

test("turns of one conversation begin with the same bytes for a model that is not Claude", async () => {
	const asked: string[] = [];
	for (const request of recorded("claude-code-turns")) {
		const system = (request.body["system"] as Loose[]).map((block, index) =>
			index === 0 ? { ...block, text: `x-anthropic-billing-header: cch=${asked.length};` } : block,
		);
		await rig.send({ ...request.body, system, model: MODELS.openai });
		asked.push(JSON.stringify(rig.asked()["messages"]).slice(0, -1));
	}
	expect(asked.length).toBe(3);
	for (const [turn, text] of asked.slice(1).entries()) expect(text.startsWith(asked[turn]!)).toBe(true);
});
