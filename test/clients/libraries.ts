/** Client libraries: each runs in a script of ./drivers, as its documentation shows it, and does the task twice, whole and streamed. */
import { join } from "node:path";
import { type Client, INSTALLED, runProcess } from "./client.ts";

/** The tool of the scripts: the text of a note. */
const TOOL = "read_note";

function library(name: string, of: string, script: string, ...args: string[]): Client {
	return {
		name,
		package: of,
		run: (at) =>
			runProcess([process.execPath, "--no-env-file", join(INSTALLED, "drivers", script), ...args], at, {
				ROUTER_URL: at.url,
				ROUTER_KEY: at.key,
				MODEL: at.model,
				PROMPT: at.prompt(TOOL, (file) => ({ name: file })),
			}),
	};
}

/** All of them. */
export const LIBRARIES: readonly Client[] = [
	library("AI SDK, openai()", "@ai-sdk/openai", "ai-sdk.mjs", "openai"),
	library("AI SDK, anthropic()", "@ai-sdk/anthropic", "ai-sdk.mjs", "anthropic"),
	library("AI SDK, google()", "@ai-sdk/google", "ai-sdk.mjs", "google"),
	library("OpenAI Agents SDK", "@openai/agents", "openai-agents.mjs"),
	library("Anthropic SDK, tool runner", "@anthropic-ai/sdk", "anthropic-tool-runner.mjs"),
	library("LangChain, ChatOpenAI", "@langchain/openai", "langchain.mjs", "openai"),
	library("LangChain, ChatOpenAI, Responses", "@langchain/openai", "langchain.mjs", "responses"),
	library("LangChain, ChatAnthropic", "@langchain/anthropic", "langchain.mjs", "anthropic"),
	library("Ollama's client", "ollama", "ollama.mjs"),
];
