/** Anthropic's SDK with its tool runner. */
import Anthropic from "@anthropic-ai/sdk";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { z } from "zod";
import { DESCRIPTION, key, model, prompt, readNote, TOOL, tell, url } from "./task.mjs";

const client = new Anthropic({ baseURL: url, apiKey: key });
const asked = {
	model,
	max_tokens: 4096,
	messages: [{ role: "user", content: prompt }],
	tools: [
		betaZodTool({ name: TOOL, description: DESCRIPTION, inputSchema: z.object({ name: z.string() }), run: readNote }),
	],
};
const textOf = ({ content }) => content.map((block) => block.text ?? "").join("");
tell("whole", textOf(await client.beta.messages.toolRunner(asked)));
let last;
for await (const stream of client.beta.messages.toolRunner({ ...asked, stream: true }))
	last = await stream.finalMessage();
tell("streamed", textOf(last));
