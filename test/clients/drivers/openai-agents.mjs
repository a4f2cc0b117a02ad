/** OpenAI's Agents SDK with its default, the Responses API. */
import { Agent, OpenAIProvider, Runner, setTracingDisabled, tool } from "@openai/agents";
import { z } from "zod";
import { DESCRIPTION, key, model, prompt, readNote, TOOL, tell, url } from "./task.mjs";

setTracingDisabled(true);
const runner = new Runner({ modelProvider: new OpenAIProvider({ baseURL: `${url}/v1`, apiKey: key }) });
const notes = tool({
	name: TOOL,
	description: DESCRIPTION,
	parameters: z.object({ name: z.string() }),
	execute: readNote,
	errorFunction: null,
});
const agent = new Agent({ name: "Reader", instructions: "Read notes.", model, tools: [notes] });
tell("whole", (await runner.run(agent, prompt)).finalOutput);
const streamed = await runner.run(agent, prompt, { stream: true });
let text = "";
for await (const piece of streamed.toTextStream()) text += piece;
await streamed.completed;
tell("streamed", text);
