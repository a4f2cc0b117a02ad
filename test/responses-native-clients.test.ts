/** The AI SDK's default and what Codex has sent, on an OpenAI that speaks Responses itself and stores nothing for the router. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { clientFrames, clientRequests } from "./kit/client-recordings.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { responseEvents } from "./kit/response-events.ts";
import { connectSocket } from "./kit/responses-socket.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { callsFunction, says, startStrictResponses, thinks } from "./kit/strict-responses.ts";

let answered = 0;
function reply({ input, tools }: Loose): readonly Json[] {
	const results = Array.isArray(input) ? input.filter(({ type }: Loose) => type === "function_call_output").length : 0;
	const name = tools?.[0]?.name;
	// Codex runs two tools, one after the other.
	if (name && results < (name === "weather" ? 1 : 2))
		return [thinks(`${++answered}`, "Hm."), callsFunction(`call_${answered}`, name, '{"city":"Bern"}')];
	return [thinks(`${++answered}`, "Well."), says("Grey.")];
}

const KEYS = ["a", "b"].map((name) => ({ name, key: `key-of-${name}-1234` }));
const openAi = startStrictResponses(reply);
let router: RunningRouter;
beforeAll(async () => {
	router = await startRouter({
		env: { OPENAI_BASE_URL: `${openAi.origin}/v1`, OPENAI_API_KEY: "sk-openai-of-the-router" },
		config: { keys: KEYS },
	});
});
afterAll(() => Promise.all([router.stop(), openAi.stop()]));
beforeEach(() => {
	openAi.asked.length = 0;
});
const headersOf = (name: string) => ({ authorization: `Bearer key-of-${name}-1234` });

describe("the AI SDK, which names what was said by its ids", () => {
	const provider = () => createOpenAI({ baseURL: `${router.url}/v1`, apiKey: "key-of-a-1234" });
	const asking = () => ({
		model: provider()("gpt-5.4"),
		prompt: "Weather in Bern?",
		tools: {
			weather: tool({
				inputSchema: jsonSchema<{ city: string }>({ type: "object", properties: { city: { type: "string" } } }),
				execute: async ({ city }) => `Grey over ${city}.`,
			}),
		},
		stopWhen: stepCountIs(4),
	});
	/** What its second step has sent upstream. */
	function checkSecond() {
		const { input, store } = openAi.asked.at(-1)!.body;
		expect([input.map(({ type, role }: Loose) => type ?? role), store]).toEqual([
			["user", "reasoning", "function_call", "function_call_output"],
			false,
		]);
		expect(input[1].encrypted_content).toStartWith("gAAAA");
	}

	test("whole", async () => {
		const { text, steps } = await generateText(asking());
		expect([text, steps.length]).toEqual(["Grey.", 2]);
		checkSecond();
	});

	test("streamed", async () => {
		const result = streamText(asking());
		expect(await result.text).toBe("Grey.");
		expect(await result.reasoningText).toBe("Well.");
		checkSecond();
	});

	test("another key's items are not there", async () => {
		const ask = { model: "gpt-5.4", input: "hi" };
		const { output } = JSON.parse((await post(`${router.url}/v1/responses`, ask, headersOf("a"))).text) as Loose;
		const input = [
			{ type: "item_reference", id: output.at(-1).id },
			{ role: "user", content: "and?" },
		];
		const status = async (name: string) =>
			(await post(`${router.url}/v1/responses`, { ...ask, input }, headersOf(name))).status;
		expect([await status("b"), await status("a")]).toEqual([400, 200]);
	});
});

const turns = clientRequests("codex-http-turns").filter(({ path }) => path.endsWith("/responses"));
test.skipIf(turns.length === 0)("Codex's turns reach OpenAI as it sent them", async () => {
	for (const { body } of turns) {
		const input = body["input"].map((item: Loose) =>
			item["encrypted_content"] ? { ...item, encrypted_content: "gAAAAof-codex" } : item,
		);
		const sent = JSON.stringify({ ...body, model: "gpt-5.4", input });
		const { status, text } = await post(`${router.url}/v1/responses`, sent, headersOf("a"));
		expect([status, openAi.asked.at(-1)!.text]).toEqual([200, sent]);
		expect(responseEvents(text).response["status"]).toBe("completed");
	}
	expect(openAi.asked.every(({ path }) => path === "/v1/responses")).toBe(true);
});

const { frames } = clientFrames("codex-websocket");
test.skipIf(frames.length === 0)(
	"its frames reach OpenAI with all that was said before on the connection",
	async () => {
		const client = await connectSocket(router.url, headersOf("a"));
		let before: Loose | undefined;
		for (const frame of frames) {
			const call = before?.["output"].find(({ type }: Loose) => type === "function_call")?.call_id;
			const input = frame["input"].map((item: Loose) => (item["call_id"] && call ? { ...item, call_id: call } : item));
			client.send({ ...frame, model: "gpt-5.4", input, ...(before ? { previous_response_id: before["id"] } : {}) });
			const { type, response } = (await client.response()).at(-1)!;
			expect([type, response?.error ?? null]).toEqual(["response.completed", null]);
			before = response;
		}
		const { body, path } = openAi.asked.at(-1)!;
		const types = body["input"].map(({ type }: Loose) => type).filter((type: string) => type !== "message");
		const turn = ["reasoning", "function_call", "function_call_output"];
		expect([path, types]).toEqual(["/v1/responses", [...turn, ...turn]]);
		client.socket.close();
	},
);
