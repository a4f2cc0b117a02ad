/** What Codex, the AI SDK and the Agents SDK really send to `/v1/responses`, on models of every kind of upstream. */
import { describe as describeAll, expect } from "bun:test";
import { clientRequests } from "./kit/client-recordings.ts";
import { dialect } from "./kit/dialects.ts";
import type { Loose } from "./kit/exchange.ts";
import { fixture } from "./kit/fixtures.ts";
import { needing } from "./kit/needing.ts";
import { responseEvents } from "./kit/response-events.ts";
import { responseFaults } from "./kit/response-schema.ts";
import { upstreamKinds } from "./kit/upstream-kinds.ts";

const { test, beforeAll, afterAll } = needing("recordings");

const upstreams = upstreamKinds(["openai", "vllm-box", "llm-d"]);
beforeAll(() => upstreams.start());
afterAll(() => upstreams.stop());

const FILES = [
	...["codex-http-turns", "codex-output-schema", "codex-router-404", "codex-compaction-local"],
	...["ai-sdk-openai-responses", "openai-agents-py-responses", "openai-py-other-routes"],
];
const RECORDED = FILES.flatMap((file) =>
	clientRequests(file)
		.map((request, at) => [`${file}, request ${at + 1}`, request] as const)
		.filter(
			([, { method, path, body }]) => method === "POST" && path === "/v1/responses" && !body["previous_response_id"],
		),
);

/** Fields of the client's that an upstream must never see. */
const OWN = /client_metadata|encrypted_content|installation|turn_metadata|"instructions"|"store"/;

const NOT_SENT = new Set(["authorization", "accept-encoding", "content-length"]);

describeAll.each(upstreams.kinds.map((kind) => [kind.name, kind] as const))("%s", (_, { model, rig, answer }) => {
	test.each(RECORDED)("answers %s", async (_name, { headers, body }) => {
		const isStream = body["stream"] === true;
		const hasTools = (body["tools"] ?? []).length > 0;
		const { replay, post } = rig();
		replay.play(answer(hasTools ? "tools" : "text", isStream), "event");
		// What the recording has shortened can be sent in no header.
		const sent = Object.fromEntries(
			Object.entries(headers).filter(([name, value]) => !NOT_SENT.has(name) && !value.includes("…")),
		);
		const { status, headers: answered, text } = await post("/v1/responses", { ...body, model }, sent);
		expect([status, status === 200 ? "" : text]).toEqual([200, ""]);
		const response = isStream ? responseEvents(text).response : JSON.parse(text);
		expect(responseFaults(response)).toEqual([]);
		expect([response.status, response.output.at(-1).type]).toEqual([
			"completed",
			hasTools ? "function_call" : "message",
		]);
		const isSearching = (body["tools"] ?? []).some(({ type }: Loose) => type === "web_search");
		const dropped = [...(isSearching ? ["tools.web_search"] : []), ...(body["truncation"] ? ["truncation"] : [])];
		expect(answered.get("x-router-dropped")).toBe(dropped.length > 0 ? dropped.join(", ") : null);
		expect(replay.only().body).not.toMatch(OWN);
	});
});

test("an answer to an answer that was kept elsewhere is refused in OpenAI's words", async () => {
	const [request] = clientRequests("ai-sdk-openai-responses").filter(({ body }) => body["previous_response_id"]);
	const { status, text } = await upstreams.rig.post("/v1/responses", request!.body);
	expect([status, JSON.parse(text).error]).toEqual([
		400,
		{
			message: "Previous response with id 'resp_x' not found.",
			type: "invalid_request_error",
			param: "previous_response_id",
			code: "previous_response_not_found",
		},
	]);
});

test("Codex's turns: what it was told comes back as it was said, and its nested tools under their own names", async () => {
	const turns = clientRequests("codex-http-turns");
	const { replay, post } = upstreams.rig;
	const roles: string[][] = [];
	for (const { body } of turns) {
		replay.play(fixture(dialect("vllm-box"), "text", { stream: true }).response);
		await post("/v1/responses", { ...body, model: dialect("vllm-box").model });
		const sent = JSON.parse(replay.only().body);
		roles.push(sent.messages.map(({ role }: Loose) => role));
		expect(sent.tools.map(({ type, function: fn }: Loose) => [type, fn.name])).toEqual([
			["function", "exec_command"],
			["function", "multi_agent_v1__close_agent"],
		]);
	}
	const first = ["system", "user"];
	expect(roles).toEqual([first, [...first, "assistant", "tool"], [...first, "assistant", "tool", "assistant", "tool"]]);
	const choosing = {
		tool_calls: [
			{ index: 0, id: "c", type: "function", function: { name: "multi_agent_v1__close_agent", arguments: "{}" } },
		],
	};
	const chunk = (delta: Loose, finish_reason: string | null = null) =>
		`data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
	const sse = `${chunk({ role: "assistant", content: null })}${chunk(choosing)}${chunk({}, "tool_calls")}data: [DONE]\n\n`;
	replay.play({ status: 200, headers: { "content-type": "text/event-stream" }, sse });
	const { text } = await post("/v1/responses", { ...turns[0]!.body, model: dialect("vllm-box").model });
	expect(responseEvents(text).response["output"]).toMatchObject([
		{ type: "function_call", name: "close_agent", namespace: "multi_agent_v1", call_id: "c" },
	]);
});
