/** The official `@anthropic-ai/sdk`, unmodified but for `baseURL`, reads every upstream's answers and errors through the router. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import Anthropic from "@anthropic-ai/sdk";
import { anthropicClient, askedParams } from "./kit/anthropic-client.ts";
import { dialect, upstreamsAt } from "./kit/dialects.ts";
import { BROKEN_STREAMS, REFUSALS } from "./kit/error-fixtures.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { cutsAfter, resetsBeforeHeaders } from "./kit/faults.ts";
import type { Replay } from "./kit/replay.ts";
import { REPLAYED, type ReplayedRouter, startReplayedRouter } from "./kit/replayed-upstreams.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { SCENARIO_NAMES, type ScenarioName, scenario } from "./kit/scenarios.ts";

let started: ReplayedRouter;
let replay: Replay;
let router: RunningRouter;
let client: Anthropic;
beforeAll(async () => {
	started = await startReplayedRouter();
	({ replay, router } = started);
	client = anthropicClient(router.url);
});
afterAll(() => started.stop());

type ErrorClass = abstract new (...args: never[]) => Error;

/** The client's class for a status, and what it says of its type. */
const ERRORS: Readonly<Record<number, readonly [ErrorClass, string]>> = {
	400: [Anthropic.BadRequestError, "invalid_request_error"],
	401: [Anthropic.AuthenticationError, "authentication_error"],
	404: [Anthropic.NotFoundError, "not_found_error"],
	410: [Anthropic.APIError, "invalid_request_error"],
	422: [Anthropic.UnprocessableEntityError, "invalid_request_error"],
	429: [Anthropic.RateLimitError, "rate_limit_error"],
	502: [Anthropic.InternalServerError, "api_error"],
	503: [Anthropic.ServiceUnavailableError, "overloaded_error"],
	504: [Anthropic.GatewayTimeoutError, "timeout_error"],
};

/** What the promise rejects with; fails when it is no error of the API. */
async function rejection(promise: PromiseLike<unknown>): Promise<InstanceType<typeof Anthropic.APIError>> {
	try {
		await promise;
	} catch (error) {
		if (error instanceof Anthropic.APIError) return error;
		throw error;
	}
	throw new Error("the call succeeded");
}

const hello = (model: string) => askedParams(model, "text");

describe.each([...new Set(REFUSALS.map(({ provider }) => provider))])("%s refuses", (name) => {
	const refusals = REFUSALS.filter(({ provider }) => provider === name);
	const { model } = dialect(name);

	test.each(refusals.map((row) => [row.name, row] as const))("%s", async (_, refusal) => {
		const [kind, type] = ERRORS[refusal.status]!;
		for (const stream of [false, true]) {
			replay.play(refusal.response);
			const error = await rejection(client.messages.create({ ...hello(model), stream }));
			expect(error).toBeInstanceOf(kind);
			expect([error.status, error.type]).toEqual([refusal.status, type as never]);
			expect(error.requestID).toMatch(/^req_/);
			expect((error.error as Loose)["request_id"]).toBe(error.requestID);
		}
	});
});

test.each(BROKEN_STREAMS.map((row) => [row.name, row] as const))(
	"a stream that breaks throws: %s",
	async (_, broken) => {
		const seen = Promise.withResolvers<void>();
		const response = { status: 200, headers: { "content-type": "text/event-stream" }, sse: broken.sse };
		replay.play(response, { before: '"error"', until: seen.promise });
		const stream = await client.messages.create({ ...hello(dialect(broken.provider).model), stream: true });
		const error = await rejection(Array.fromAsync(stream, () => seen.resolve()));
		expect(error.message).toContain(broken.message);
		expect((error.error as Loose)["request_id"]).toMatch(/^req_/);
	},
);

describe("an upstream that breaks off", () => {
	const faults = startFaultUpstream();
	let broken: RunningRouter;
	beforeAll(async () => {
		broken = await startRouter(upstreamsAt(faults.origin));
	});
	afterAll(async () => {
		await broken.stop();
		faults.stop();
	});

	test("before the first byte: an error of the server's", async () => {
		faults.run(resetsBeforeHeaders);
		const error = await rejection(anthropicClient(broken.url).messages.create(hello("local/qwen3-8b")));
		expect(error).toBeInstanceOf(Anthropic.InternalServerError);
		expect([error.status, error.type]).toEqual([502, "api_error"]);
	});

	test("inside the stream: the final message is never there", async () => {
		faults.run(cutsAfter(2));
		const stream = anthropicClient(broken.url).messages.stream(hello("local/qwen3-8b"));
		const error = await rejection(stream.finalMessage());
		expect(error.type).toBe("api_error");
	});
});

describe("is refused before any upstream is asked", () => {
	test("a model that nobody serves", async () => {
		const error = await rejection(client.messages.create(hello("no-such-model")));
		expect(error).toBeInstanceOf(Anthropic.NotFoundError);
		expect(error.type).toBe("not_found_error");
	});

	test("a wrong type, by its path", async () => {
		const messages = [{ role: "user", content: 7 }] as never;
		const error = await rejection(client.messages.create({ ...hello("dummy"), messages }));
		expect(error).toBeInstanceOf(Anthropic.BadRequestError);
		expect(error.apiMessage).toStartWith("messages.0.content: ");
	});

	test("a sampling parameter, which this version of the API has no more", async () => {
		const error = await rejection(client.messages.create({ ...hello("dummy"), temperature: 1 } as never));
		expect(error.apiMessage).toStartWith("temperature: ");
	});

	test("a key that is none, as `x-api-key` or as a bearer", async () => {
		const guarded = await startRouter({ env: { ROUTER_API_KEYS: "rk-the-only-right-key" } });
		try {
			for (const headers of [{}, { authorization: null, "x-api-key": "rk-another-key" }]) {
				const error = await rejection(anthropicClient(guarded.url).messages.create(hello("dummy"), { headers }));
				expect(error).toBeInstanceOf(Anthropic.AuthenticationError);
				expect(error.type).toBe("authentication_error");
			}
			const apiKey = "rk-the-only-right-key";
			for (const own of [new Anthropic({ baseURL: guarded.url, apiKey })]) {
				for (const headers of [{}, { authorization: null, "x-api-key": apiKey }]) {
					const { role } = await own.messages.create(hello("dummy"), { headers });
					expect(role).toBe("assistant");
				}
			}
		} finally {
			await guarded.stop();
		}
	});
});

describe.each(REPLAYED.map((row) => [row.name, row] as const))("%s", (name, { model, answersAs, answer }) => {
	function expected(asked: ScenarioName) {
		const { content, refusal, reasoning, toolCalls, finish } = scenario(asked).said;
		// Gemini says that it stopped, not why in words; Claude says that beside its content.
		const words = refusal === undefined ? content : name === "gemini" || name === "anthropic" ? null : refusal;
		const stops = { stop: "end_turn", length: "max_tokens", tool_calls: "tool_use", content_filter: "refusal" };
		return {
			thinking: reasoning,
			text: words ?? undefined,
			calls: (toolCalls ?? []).map(({ id, name: fn, arguments: text }) => [id, fn, JSON.parse(text) as Json]),
			stop: refusal === undefined ? stops[finish] : "refusal",
		};
	}
	function seen({ content, stop_reason }: Anthropic.Message) {
		const of = <T extends string>(type: T) => content.filter((block) => block.type === type) as Loose[];
		const [thinking] = of("thinking");
		const [text] = of("text");
		return {
			thinking: thinking?.["thinking"],
			text: text?.["text"],
			calls: of("tool_use").map(({ id, name: fn, input }) => [id, fn, input]),
			stop: stop_reason as string,
		};
	}
	const counted = (asked: ScenarioName) => {
		const reasoning = scenario(asked).said.reasoning ? 30 : 0;
		const written = name === "anthropic" ? 3 : 0;
		return {
			input_tokens: 7 - written,
			cache_read_input_tokens: 4,
			cache_creation_input_tokens: written,
			output_tokens: 7 + reasoning,
		};
	};

	test.each(SCENARIO_NAMES)("%s", async (asked) => {
		replay.play(answer(asked, false));
		const message = await client.messages.create(askedParams(model, asked));
		expect(seen(message)).toEqual(expected(asked));
		expect(message.usage as unknown).toMatchObject(counted(asked));
		expect([message.type, message.role, message.model]).toEqual(["message", "assistant", answersAs]);
		expect(message.id).toMatch(/^msg_[\w-]+$/);
	});

	test.each(SCENARIO_NAMES)("%s, streamed and added up by the client", async (asked) => {
		replay.play(answer(asked, true), "event");
		const stream = client.messages.stream(askedParams(model, asked));
		const events = await Array.fromAsync(stream);
		const message = await stream.finalMessage();
		expect(seen(message)).toEqual(expected(asked));
		expect(message.usage as unknown).toMatchObject(counted(asked));
		expect(message.model).toBe(answersAs);
		inOrder(events);
	});

	test("a stream is passed on piece by piece, not gathered", async () => {
		const gate = Promise.withResolvers<void>();
		replay.play(answer("text", true), { before: "line.", until: gate.promise });
		let text = "";
		const stream = client.messages.stream(hello(model)).on("text", (delta) => {
			text += delta;
			if (text.includes("🙂")) gate.resolve();
		});
		expect(await stream.finalText()).toBe(scenario("text").said.content!);
	});

	test("the client's own parser reads structured output", async () => {
		replay.play(answer("JSON schema", false));
		const message = await client.messages.parse(askedParams(model, "JSON schema"));
		const [block] = message.content;
		expect(JSON.parse((block as Anthropic.TextBlock).text)).toEqual({ name: "Bern", people: 134000 });
	});
});

/** Blocks begin one after the other, each with the next index, and each is ended before the next one begins. */
function inOrder(events: readonly Anthropic.MessageStreamEvent[]): void {
	expect(events[0]!.type).toBe("message_start");
	expect(events.slice(-2).map(({ type }) => type)).toEqual(["message_delta", "message_stop"]);
	let next = 0;
	let open: number | undefined;
	for (const event of events.slice(1, -2)) {
		if (event.type === "content_block_start") {
			expect([event.index, open]).toEqual([next++, undefined]);
			open = event.index;
		} else if (event.type === "content_block_stop") {
			expect(event.index as number | undefined).toBe(open);
			open = undefined;
		} else {
			expect(event.type).toBe("content_block_delta");
			expect((event as { index: number }).index as number | undefined).toBe(open);
		}
	}
	expect(open).toBeUndefined();
}
