/** `router docs [TOPIC]`: the pages for users, which stand beside the code they describe and are part of the binary. */
import { readFileSync } from "node:fs";
import keysAndLimits from "../accounts/keys-and-limits.md" with { type: "file" };
import usage from "../accounts/usage/usage.md" with { type: "file" };
import gpuHosts from "../agent/gpu-hosts.md" with { type: "file" };
import calls from "../api/calls.md" with { type: "file" };
import responses from "../api/responses.md" with { type: "file" };
import cache from "../cache/cache.md" with { type: "file" };
import { nearest } from "../config/did-you-mean.ts";
import settings from "../config/settings.md" with { type: "file" };
import anthropicMessages from "../dialects/anthropic-messages.md" with { type: "file" };
import geminiApi from "../dialects/gemini-api.md" with { type: "file" };
import ollama from "../dialects/ollama.md" with { type: "file" };
import errors from "../errors.md" with { type: "file" };
import claudeAndGemini from "../providers/claude-and-gemini.md" with { type: "file" };
import upstreams from "../providers/upstreams.md" with { type: "file" };
import failures from "../proxy/failures.md" with { type: "file" };
import targets from "../routing/targets.md" with { type: "file" };
import severalRouters from "../store/several-routers.md" with { type: "file" };
import metrics from "../telemetry/metrics.md" with { type: "file" };
import opentelemetry from "../telemetry/otel/opentelemetry.md" with { type: "file" };
import troubleshooting from "../troubleshooting.md" with { type: "file" };
import connect from "./connect/connect.md" with { type: "file" };
import deploying from "./deploying.md" with { type: "file" };
import { UsageError } from "./flags.ts";

/**
 * Topic → the path of its page, in the order of a first reading. A topic is its page's file name without `.md`. Files in the binary, not
 * texts, which would be part of the program that each start loads.
 */
const PAGES: Readonly<Record<string, string>> = {
	calls,
	upstreams,
	"claude-and-gemini": claudeAndGemini,
	"anthropic-messages": anthropicMessages,
	"gemini-api": geminiApi,
	ollama,
	responses,
	connect,
	targets,
	failures,
	errors,
	"keys-and-limits": keysAndLimits,
	usage,
	cache,
	"gpu-hosts": gpuHosts,
	"several-routers": severalRouters,
	settings,
	metrics,
	opentelemetry,
	deploying,
	troubleshooting,
};

/** Its topics, and what their pages are about. */
export const topics = (): readonly (readonly [topic: string, about: string])[] =>
	Object.entries(PAGES).map(([topic, path]) => [topic, about(readFileSync(path, "utf8"))]);

/**
 * What `router docs` prints: the page of `topic`, as it is in the repository; without one the topics, a line each, with what their
 * pages are about. Ends with a line end. Throws UsageError, with close names, where there is no such topic.
 */
export function docsText(topic?: string): string {
	if (topic === undefined) return topicsText();
	const path = Object.hasOwn(PAGES, topic) ? PAGES[topic] : undefined;
	if (path !== undefined) return readFileSync(path, "utf8");
	throw new UsageError(`there is no topic "${topic}"; ${hint(topic)}`);
}

function topicsText(): string {
	const width = Math.max(...Object.keys(PAGES).map((topic) => topic.length)) + 2;
	const lines = topics().map(([topic, what]) => `  ${topic.padEnd(width)}${what}`);
	return `${lines.join("\n")}\n\n\`router docs TOPIC\` prints a page. A link in it to settings.md is the topic settings.\n`;
}

/** What a page is about: the part behind the colon of its first sentence (`For whoever got an error: every code, …`). */
function about(page: string): string {
	const sentence = page.split("\n")[2] ?? "";
	return sentence.slice(sentence.indexOf(": ") + 2).replace(/\.$/, "");
}

/** The topics that were most likely meant; all of them where none is close. */
function hint(word: string): string {
	const names = Object.keys(PAGES);
	const close = nearest(word, names);
	const meant = close.length > 0 ? close : names.filter((topic) => word.length > 2 && topic.includes(word));
	if (meant.length === 0) return `there are ${names.join(", ")}`;
	return `did you mean ${meant.map((topic) => `"${topic}"`).join(" or ")}?`;
}
