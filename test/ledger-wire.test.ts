/**
 * The ledger against recorded exchanges: what each call cost by the vendor's own usage. What is expected is made from the recording
 * and the price table's own arithmetic, by none of the router's code.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { calcPrice } from "@pydantic/genai-prices";
import { upstreamsAt } from "./kit/dialects.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { type Recording, recordings } from "./kit/recordings.ts";
import { type Replay, startReplay } from "./kit/replay.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { openAiOfAnthropic, openAiOfGemini } from "./kit/vendor-reverse.ts";
import { vendorsAt } from "./kit/vendor-rig.ts";

const FOLDERS = ["openai", "anthropic", "gemini", "openrouter", "xai", "venice", "vllm"];
const TABLE: Record<string, string> = {
	openai: "openai",
	anthropic: "anthropic",
	gemini: "google",
	openrouter: "openrouter",
	xai: "x-ai",
};
/** No table knows Venice's prices, nor ours. */
const PRICES = {
	"venice/*": { input: 0.7, output: 2.8, cached: 0.35 },
	"vllm-box/*": { input: 0.11, output: 0.33, cached: 0.02, reasoning: 0.44 },
};
const ADMIN = "admin-key-of-the-test";

const all = FOLDERS.flatMap(recordings);
/** Failed attempts, which cost their callers nothing; `/v1/responses` is not spoken; this one's error comes after its first bytes. */
const isAnswered = ({ id, request, response }: Recording) =>
	response.status === 200 &&
	!request?.path?.endsWith("/v1/responses") &&
	![
		"openrouter/openrouter-stream-error",
		"gemini/error-mid-stream",
		"gemini/prompt-blocked-safety-stream",
		"gemini/google-model-safety-settings",
	].includes(id);
const good = all.filter(isAnswered).map(withEvents);

/** Recorded without `alt=sse`, whose form the router always asks for: the pieces, as events. */
function withEvents(recording: Recording): Recording {
	if (recording.id !== "gemini/nested-model-optional") return recording;
	const pieces = (recording.response.body ?? JSON.parse(recording.response.text ?? "")) as unknown[];
	const sse = pieces.map((piece) => `data: ${JSON.stringify(piece)}\r\n\r\n`).join("");
	return { ...recording, response: { status: 200, headers: { "content-type": "text/event-stream" }, sse } };
}

/** What a client of the router sends for a recording, and the provider it names. */
function sent({ provider, request, response }: Recording): { body: Json; path: string; model: string } {
	const stream = response.sse !== undefined || request?.path?.includes("streamGenerateContent") === true;
	const chat = { messages: [{ role: "user", content: "Hello" }] };
	if (provider === "anthropic") {
		const model = String(request?.body?.["model"] ?? "claude-sonnet-4-5");
		return {
			body: { ...(request?.body ? openAiOfAnthropic(request.body) : chat), model, stream },
			path: "/v1/chat/completions",
			model,
		};
	}
	if (provider === "gemini") {
		const model = /models\/([^:]+):/.exec(request?.path ?? "")?.[1] ?? "gemini-2.5-flash";
		const body = request?.body ? openAiOfGemini(model, stream, request.body) : chat;
		return { body: { ...body, model, stream }, path: "/v1/chat/completions", model };
	}
	const body: Json = request?.body ?? { model: "gpt-4o-2024-08-06", ...chat, stream };
	const model = String(body["model"]);
	const name = provider === "vllm" ? "vllm-box" : provider;
	return {
		body: { ...body, model: `${name}/${model}` },
		path: request?.path?.replace(/^.*\/v1\//, "/v1/") ?? "/v1/chat/completions",
		model,
	};
}

/** The vendor's usage, as it stands in the recording: of a stream the last word on each count. */
function usageIn(recording: Recording): Loose | undefined {
	const found: Loose = {};
	const look = (value: Loose) => {
		const usage = value?.usage ?? value?.usageMetadata ?? value?.message?.usage;
		if (usage) Object.assign(found, Object.fromEntries(Object.entries(usage).filter(([, count]) => count !== null)));
	};
	const { sse, body } = recording.response;
	if (sse === undefined) for (const piece of [body].flat()) look(piece as Loose);
	else for (const [, data] of sse.matchAll(/^data:\s*(\{.*\})\s*$/gm)) look(JSON.parse(data!) as Loose);
	return Object.keys(found).length > 0 ? found : undefined;
}

/** USD by the price table. */
function byTable(provider: string, model: string, usage: Loose): number | undefined {
	const counts =
		provider === "anthropic"
			? {
					input_tokens:
						usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0),
					cache_read_tokens: usage.cache_read_input_tokens ?? 0,
					cache_write_tokens: usage.cache_creation_input_tokens ?? 0,
					output_tokens: usage.output_tokens,
				}
			: provider === "gemini"
				? {
						input_tokens: usage.promptTokenCount,
						cache_read_tokens: usage.cachedContentTokenCount ?? 0,
						output_tokens: (usage.candidatesTokenCount ?? 0) + (usage.thoughtsTokenCount ?? 0),
					}
				: {
						input_tokens: usage.prompt_tokens,
						cache_read_tokens: usage.prompt_tokens_details?.cached_tokens ?? 0,
						output_tokens: usage.completion_tokens ?? 0,
					};
	return calcPrice(counts, model, { providerId: TABLE[provider]! })?.total_price;
}

/** What the call cost its caller: undefined where nobody knows. */
function expectedCost({ provider }: Recording, model: string, usage: Loose): number | undefined {
	if (typeof usage.cost === "number") return usage.cost;
	if (typeof usage.cost_in_usd_ticks === "number") return usage.cost_in_usd_ticks / 1e10;
	const own: Record<string, number> | undefined =
		provider === "venice" ? PRICES["venice/*"] : provider === "vllm" ? PRICES["vllm-box/*"] : undefined;
	if (!own) return byTable(provider, model, usage);
	const { input: read = 0, output: written = 0, cached: again = read, reasoning: thought = written } = own;
	const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
	const reasoning = usage.completion_tokens_details?.reasoning_tokens ?? 0;
	const input = (usage.prompt_tokens - cached) * read + cached * again;
	const output = (usage.completion_tokens - reasoning) * written + reasoning * thought;
	return (input + output) / 1e6;
}

needing("recordings").describe("recorded exchanges", () => {
	let replay: Replay;
	let router: RunningRouter;
	beforeAll(async () => {
		replay = startReplay();
		const { env, config } = upstreamsAt(replay.origin);
		router = await startRouter({
			env: { ...env, ...vendorsAt(replay.origin) },
			config: {
				...config,
				prices: PRICES,
				keys: [{ name: "team-a", key: "key-of-team-a" }],
				admin: { keys: [{ name: "ops", key: ADMIN }] },
			},
		});
	});
	afterAll(async () => {
		await router.stop();
		await replay.stop();
	});

	const admin = async (path: string): Promise<Loose> =>
		(await (await fetch(router.url + path, { headers: { authorization: `Bearer ${ADMIN}` } })).json()) as Loose;

	async function call(recording: Recording) {
		const { body, path, model } = sent(recording);
		replay.play(recording.response);
		const answer = await post(router.url + path, JSON.stringify(body), { authorization: "Bearer key-of-team-a" });
		const id = answer.headers.get("x-request-id");
		return { answer, model, entry: await admin(`/admin/calls/${id}`) };
	}

	let priced = 0;
	const total: Record<string, number> = {};
	test.each(good.map((recording) => [recording.id, recording] as const))("%s", async (_, recording) => {
		const { answer, model, entry } = await call(recording);
		expect(answer.status).toBe(200);
		expect(entry["status"]).toBe(200);
		const usage = usageIn(recording);
		if (!usage) {
			expect(entry["estimated"]).toBe(true);
			return;
		}
		expect(entry["estimated"]).toBeUndefined();
		const cost = expectedCost(recording, model, usage);
		if (cost === undefined) {
			expect(entry["price"]).toEqual({ source: "none" });
			expect(entry["cost_usd"]).toBeUndefined();
			return;
		}
		priced++;
		total[recording.provider] = (total[recording.provider] ?? 0) + cost;
		expect(Math.abs(entry["cost_usd"] - cost)).toBeLessThan(1e-9);
		const told = answer.headers.get("x-router-cost-usd");
		if (told !== null) expect(Math.abs(Number(told) - cost)).toBeLessThan(1e-9);
		else expect(answer.text).toContain('"cost_usd":');
	});

	test("most of them have a price, of every provider, and the sums by provider are theirs", async () => {
		expect(priced).toBeGreaterThan(50);
		expect(Object.keys(total).sort()).toEqual([...FOLDERS].sort());
		const { data } = await admin("/admin/usage?by=provider");
		for (const provider of FOLDERS) {
			const sums = data.find((each: Loose) => each["provider"] === (provider === "vllm" ? "vllm-box" : provider));
			// What was estimated is in it, too.
			if (sums.estimated > 0) expect(sums.cost_usd).toBeGreaterThan(total[provider]! - 1e-9);
			else expect(Math.abs(sums.cost_usd - total[provider]!)).toBeLessThan(1e-9);
		}
	});

	const refused = all.filter(({ response }) => response.status >= 400 && response.status !== 429);
	test.each(refused.map((recording) => [recording.id, recording] as const))(
		"%s: a failed attempt costs nothing",
		async (_, recording) => {
			const { answer, entry } = await call(recording);
			expect(answer.status).toBeGreaterThanOrEqual(400);
			expect(entry["cost_usd"]).toBeUndefined();
			expect(entry["tokens"]).toBeUndefined();
		},
	);
});
