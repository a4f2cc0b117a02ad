/** What is kept in a thread of a request of `/v1/responses`: a prompt is nobody else's. */
import { expect, test } from "bun:test";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import { openAiResponses } from "../src/dialects/openai-responses/index.ts";
import { until } from "./kit/until.ts";

/** Asks what a request refers to, and reads it no further, as for an answer that is remembered. */
function askedOnly(): WeakRef<Buffer> {
	const body = Buffer.from(JSON.stringify({ model: "m", input: "a prompt ".repeat(1000) }));
	expect(openAiResponses.references!(body)).toBeUndefined();
	return new WeakRef(body);
}

test("a request that is not read after all is forgotten with its call", async () => {
	const asked = Array.from({ length: 20 }, askedOnly);
	// The structure of the last text that was indexed is kept.
	parseRequest("chat", JSON.stringify({ model: "m", messages: [{ role: "user", content: "hi" }] }));
	await until(() => {
		Bun.gc(true);
		return asked.every((each) => each.deref() === undefined);
	});
});
