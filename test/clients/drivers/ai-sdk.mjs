/** The AI SDK with one of its providers, as their documentation sets them up. */
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { DESCRIPTION, key, model, prompt, readNote, TOOL, tell, url } from "./task.mjs";

const providers = {
	openai: () => createOpenAI({ baseURL: `${url}/v1`, apiKey: key }),
	anthropic: () => createAnthropic({ baseURL: `${url}/v1`, apiKey: key }),
	google: () => createGoogleGenerativeAI({ baseURL: `${url}/v1beta`, apiKey: key }),
};
const asked = {
	model: providers[process.argv[2]]()(model),
	tools: {
		[TOOL]: tool({ description: DESCRIPTION, inputSchema: z.object({ name: z.string() }), execute: readNote }),
	},
	stopWhen: stepCountIs(6),
	prompt,
};
tell("whole", (await generateText(asked)).text);
tell("streamed", await streamText({ ...asked, onError: ({ error }) => console.error(error) }).text);
