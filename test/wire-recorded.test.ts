/** Every recorded exchange, through the router: what the upstream gets and what the client gets. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
	clientError,
	expectForwarded,
	expectHeadersPassed,
	expectRouterHeaders,
	expectStream,
	withReasoningCounted,
} from "./kit/contract.ts";
import { dialect } from "./kit/dialects.ts";
import { answerText, eventData, type Json, type Loose } from "./kit/exchange.ts";
import { fixture } from "./kit/fixtures.ts";
import { needing } from "./kit/needing.ts";
import { type Recording, recordings } from "./kit/recordings.ts";
import { CLIENT_KEY, type Rig, startRig } from "./kit/rig.ts";

/** Folder of the recordings, and the provider that stands for it here. */
const FOLDERS = { openai: "openai", openrouter: "openrouter", xai: "xai", venice: "venice", vllm: "vllm-box" } as const;
const PROVIDERS = Object.entries(FOLDERS);

/** What a recorded refusal becomes: status, code, and what stays hidden. */
const REFUSED: Record<string, { status: number; code: string; says: string; hides?: string }> = {
	"openai/async-chat-completion-404": { status: 404, code: "model_not_found", says: "this-model-does-not-exist" },
	"openai/error-handles-invalid-api-keys-gracefully": {
		status: 502,
		code: "upstream_auth",
		says: "OPENAI_API_KEY",
		hides: "invalid-key",
	},
	"openrouter/error-handling-with-raises-appropriate-auth-error": {
		status: 502,
		code: "upstream_auth",
		says: "OPENROUTER_API_KEY",
	},
	"openrouter/openrouter-errors-raised": {
		status: 429,
		code: "rate_limit_exceeded",
		says: "temporarily rate-limited upstream",
		hides: "user_",
	},
	"openrouter/real-error-scenarios-handles-context-length-exceeded-errors": {
		status: 400,
		code: "context_length_exceeded",
		says: "maximum context length is 200000 tokens",
		hides: "user_",
	},
	"xai/error-handling-with-raises-appropriate-auth-error": { status: 502, code: "upstream_auth", says: "XAI_API_KEY" },
	"venice/error-400-invalid-request": {
		status: 400,
		code: "INVALID_REQUEST",
		says: "Only one image URL is allowed",
	},
};

const BROKEN = "openrouter/openrouter-stream-error";
const RESPONSES = "/v1/responses";

const all = PROVIDERS.flatMap(([folder]) => recordings(folder));
const isResponses = ({ request }: Recording) => request.path.endsWith(RESPONSES);
const isWhole = ({ request, response }: Recording) => response.sse === undefined && request.path !== RESPONSES;

needing("recordings").describe("recorded exchanges", () => {
	let rig: Rig;
	beforeAll(async () => {
		rig = await startRig();
	});
	afterAll(() => rig.stop());

	/** The recorded body as a client of the router sends it: `provider/model`. A stream's body may be missing. */
	function sent(recording: Recording, change: Json = {}): { text: string; model: string; provider: string } {
		const provider = FOLDERS[recording.provider as keyof typeof FOLDERS];
		const chat = { messages: [{ role: "user", content: "Hello" }] };
		const recorded = isResponses(recording)
			? { model: recording.request.body?.["model"], ...chat }
			: recording.request.body;
		const body = recorded ?? { model: "gpt-4o-2024-08-06", ...chat, stream: recording.response.sse !== undefined };
		const model = String(body["model"]);
		return { text: JSON.stringify({ ...body, model: `${provider}/${model}`, ...change }), model, provider };
	}

	/** Plays it, and checks what the upstream got. */
	async function through(recording: Recording, change?: Json, cut?: "event") {
		const { text, model, provider } = sent(recording, change);
		rig.replay.play(recording.response, cut);
		const path = recording.request.path.replace(/^.*\/v1\//, "/v1/");
		const answer = await rig.post(isResponses(recording) ? "/v1/chat/completions" : path, text);
		const got = rig.replay.received[0];
		if (!got) throw new Error(`the upstream was not called; the client got ${answer.status} ${answer.text}`);
		const upstream = dialect(provider);
		expect(got.method).toBe("POST");
		expect(got.path).toBe(isResponses(recording) ? "/v1/chat/completions" : upstreamPath(recording));
		expect(got.headers.get("authorization")).toBe(`Bearer ${upstream.key}`);
		expect(got.headers.get("content-type")).toBe("application/json");
		expect(got.headers.get("accept-encoding")).toBe("identity");
		expect(JSON.stringify([...got.headers])).not.toContain(CLIENT_KEY);
		expectForwarded(got.body, text, { model, venice: provider === "venice" });
		return { answer, model, provider };
	}

	const upstreamPath = ({ request }: Recording) => request.path;

	test("there are 43 of them, and each is in one of the groups below", () => {
		const groups = [whole, streams, refusals, responses, all.filter(({ id }) => id === BROKEN)];
		expect(all.length).toBe(43);
		expect(new Set(groups.flat()).size).toBe(all.length);
	});

	const refusals = all.filter(({ response }) => response.status >= 400);
	const named = (recording: Recording) =>
		recording.id + (isResponses(recording) ? " (of /v1/responses, on the chat path)" : "");
	const refusedRows = refusals.map((recording) => [named(recording), recording] as const);
	test.each(refusedRows)("%s: refused", async (_, recording) => {
		const expected = REFUSED[recording.id];
		if (!expected) throw new Error("say in REFUSED what becomes of it");
		const { answer } = await through(recording);
		const error = clientError(answer.text);
		expect(answer.status).toBe(expected.status);
		expect(error.code).toBe(expected.code);
		expect(error.message).toContain(expected.says);
		if (expected.hides) expect(answer.text).not.toContain(expected.hides);
		if (answer.status === 429) expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
		expect(answer.headers.get("www-authenticate")).toBeNull();
	});

	const responses = all.filter((recording) => isResponses(recording) && recording.response.status === 200);
	test.each(responses.map((recording) => [recording.id, recording] as const))(
		"%s: asked of its upstream as a chat, and answered as a response",
		async (_, recording) => {
			const provider = FOLDERS[recording.provider as keyof typeof FOLDERS];
			rig.replay.play(fixture(dialect(provider), "JSON schema").response);
			const answer = await rig.post(RESPONSES, JSON.stringify(recording.request.body));
			expect([answer.status, rig.replay.only().path]).toEqual([200, `${dialect(provider).base}/chat/completions`]);
			const { input, text } = recording.request.body as Loose;
			const { type, ...json_schema } = text.format;
			expect(JSON.parse(rig.replay.only().body)).toEqual({
				model: recording.request.body!["model"],
				messages: input,
				response_format: { type, json_schema },
			});
			expect(JSON.parse(answer.text)).toMatchObject({ object: "response", status: "completed", text });
		},
	);

	const whole = all.filter((recording) => isWhole(recording) && recording.response.status === 200);
	test.each(whole.map((recording) => [recording.id, recording] as const))("%s: whole", async (_, recording) => {
		const { answer, model, provider } = await through(recording);
		expect(answer.status).toBe(200);
		expect(answer.text).toBe(withReasoningCounted(answerText(recording.response)));
		expect(answer.headers.get("content-type")).toStartWith("application/json");
		expectRouterHeaders(answer.headers, provider, model);
		expectHeadersPassed(answer.headers, recording.response.headers);
	});

	const streams = all.filter(({ id, response }) => response.sse !== undefined && id !== BROKEN);
	const asked = [
		["usage asked for", { stream_options: { include_usage: true } }, true],
		["usage not asked for", { stream_options: undefined }, false],
	] as const;
	const cases = streams.flatMap((recording) =>
		asked.map(([how, change, usage]) => [recording.id, how, recording, change, usage] as const),
	);
	test.each(cases)("%s: streamed, %s", async (_, __, recording, change, usage) => {
		const { answer, model, provider } = await through(recording, change, "event");
		expect(answer.status).toBe(200);
		expect(answer.headers.get("content-type")).toStartWith("text/event-stream");
		expectStream(answer.text, answerText(recording.response), usage);
		expectRouterHeaders(answer.headers, provider, model);
		expectHeadersPassed(answer.headers, recording.response.headers);
	});

	test(`${BROKEN}: an error behind the finish reason is no loss`, async () => {
		const recording = all.find(({ id }) => id === BROKEN)!;
		const { text: body, model } = sent(recording);
		const cut = { before: '"error"', marker: '"finish_reason":"length"' };
		const { status, text } = await rig.postInTwo(recording.response, cut, body);
		expect(status).toBe(200);
		expectForwarded(rig.replay.only().body, body, { model });
		const before = eventData(answerText(recording.response)).slice(0, -2);
		const seen = eventData(text);
		const { choices, usage } = JSON.parse(seen.splice(-2, 1)[0]!);
		expect(seen).toEqual([...before, "[DONE]"]);
		expect({ choices, usage }).toEqual({
			choices: [],
			usage: JSON.parse(eventData(recording.response.sse!).at(-2)!).usage,
		});
	});
});
