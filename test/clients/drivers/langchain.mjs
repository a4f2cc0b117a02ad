/** LangChain's agent on one of its chat models. */
import { ChatAnthropic } from "@langchain/anthropic";
import { ChatOpenAI } from "@langchain/openai";
import { createAgent, tool } from "langchain";
import { z } from "zod";
import { DESCRIPTION, key, model, prompt, readNote, TOOL, tell, url } from "./task.mjs";

const models = {
	openai: () => new ChatOpenAI({ model, apiKey: key, configuration: { baseURL: `${url}/v1` } }),
	responses: () =>
		new ChatOpenAI({ model, apiKey: key, useResponsesApi: true, configuration: { baseURL: `${url}/v1` } }),
	anthropic: () => new ChatAnthropic({ model, apiKey: key, anthropicApiUrl: url }),
};
const notes = tool(readNote, { name: TOOL, description: DESCRIPTION, schema: z.object({ name: z.string() }) });
const agent = createAgent({ model: models[process.argv[2]](), tools: [notes] });
const asked = { messages: [{ role: "user", content: prompt }] };
tell("whole", (await agent.invoke(asked)).messages.at(-1).text);
let text = "";
for await (const [piece] of await agent.stream(asked, { streamMode: "messages" })) {
	if (piece.getType() === "ai") text += piece.text;
}
tell("streamed", text);
