/** Each thing that the chat API can ask for: carried to the vendor, or refused by name. The page for users says the same. */
import { describe, expect, test } from "bun:test";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import { RouterError } from "../src/errors.ts";
import type { Call } from "../src/openai/call.ts";
import type { RequestBody } from "../src/openai/request-fields.ts";
import { messagesRequest } from "../src/providers/anthropic/request.ts";
import { dummyTransport } from "../src/providers/dummy.ts";
import { generateRequest } from "../src/providers/gemini/request.ts";
import { openAiCompatible } from "../src/providers/openai/index.ts";
import { configureUpstreams } from "../src/providers/registry.ts";
import type { Json } from "./kit/exchange.ts";
import type { Outcome } from "./kit/feature.ts";
import { FEATURES } from "./kit/features.ts";
import { page } from "./kit/pages.ts";
import { configOf } from "./kit/pipeline.ts";

const GOT = { media: () => ({ type: "image/webp", data: "ZmV0Y2hlZA==" }), thinking: () => undefined };

const encoders = {
	anthropic: (body: RequestBody, model = "claude-opus-4-7") => messagesRequest(body, model, false, GOT).body,
	gemini: (body: RequestBody, model = "gemini-3-flash-preview") =>
		generateRequest(body, model, "https://g.example/v1beta", GOT),
};

/** What became of a request. */
function outcome(vendor: "anthropic" | "gemini", ask: Json, model: string | undefined): Outcome {
	const request = { model: "m", messages: [{ role: "user", content: "Hi" }], ...ask };
	try {
		return { sends: JSON.parse(encoders[vendor](parseRequest("chat", JSON.stringify(request)).body().value, model)) };
	} catch (error) {
		if (!(error instanceof RouterError)) throw error;
		const { param, message } = error.body.error;
		expect(message).toContain(String(param));
		expect(error.status).toBe(400);
		return { refused: String(param) };
	}
}

describe.each(["anthropic", "gemini"] as const)("%s", (vendor) => {
	test.each(FEATURES.map((feature) => [feature.name, feature] as const))("%s", (_, feature) => {
		expect(outcome(vendor, feature.ask, feature.models?.[vendor])).toMatchObject(feature[vendor]);
	});
});

describe("an upstream that speaks OpenAI gets it as it came", () => {
	const upstreams = configureUpstreams(configOf(), { OPENAI_API_KEY: "k" });
	const provider = openAiCompatible(upstreams.find(({ name }) => name === "openai")!, dummyTransport);
	test.each(FEATURES.map(({ name, ask }) => [name, ask] as const))("%s", (_, ask) => {
		const raw = JSON.stringify({ model: "m", messages: [{ role: "user", content: "Hi" }], ...ask });
		const call = { ...parseRequest("chat", raw), operation: "chat", headers: new Headers() } as unknown as Call;
		const { body } = provider.encode(call, { id: "openai/m", provider, model: "m" });
		expect(Buffer.concat(body as readonly Buffer[]).toString()).toBe(raw);
	});
});

describe("the page claude-and-gemini.md", () => {
	test("has each as a row, tested or refused", async () => {
		const text = await page("src/providers/claude-and-gemini.md");
		const cell = (of: Outcome) => ("refused" in of ? "refused" : "tested");
		const rows = FEATURES.map(
			({ name, anthropic, gemini }) => `| ${name} | tested | ${cell(anthropic)} | ${cell(gemini)} |`,
		);
		const start = text.indexOf("| asked for |");
		const table = text.slice(start, text.indexOf("\n\n", start)).split("\n").slice(2);
		expect(table).toEqual(rows);
	});
});
