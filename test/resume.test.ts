/** A stream that breaks after its first bytes goes on from another target, and its client reads one unbroken answer. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { choiceEvent, DONE, event, finishEvent, textEvent, usageEvent } from "./kit/events.ts";
import { chunksOf, eventData, type Json } from "./kit/exchange.ts";
import { type Script, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, streams, trickles } from "./kit/faults.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";

const first = startFaultUpstream();
const second = startFaultUpstream();
const third = startFaultUpstream();
afterAll(() => {
	for (const upstream of [first, second, third]) upstream.stop();
});

const WORDS = ["The ", "quick ", "brown ", "fox ", "jumps."];
const WHOLE = WORDS.join("");
const call = { model: "fast", stream: true, messages: [{ role: "user", content: "hi" }] };
const config = (more: Json = {}) => ({
	timeouts: { first_token: "2s", stall: "200ms" },
	providers: {
		one: { type: "vllm", base_url: first.origin },
		two: { type: "vllm", base_url: second.origin },
		plain: { type: "openai-compatible", base_url: third.origin },
	},
	models: [
		{ name: "fast", policy: "order", targets: ["one/a", "two/b"], ...more },
		{ name: "spare", policy: "order", targets: ["one/a"], fallback: ["plain/c"], ...more },
		{ name: "other", policy: "order", targets: ["one/a", "plain/c"], ...more },
	],
});

let router: Pipeline;
beforeEach(() => {
	router = pipeline({ config: config() });
	for (const upstream of [first, second, third]) upstream.run(answersAsModel());
});

/** A model that gives the same answer to everybody, and goes on with its beginning where it is asked to, as vLLM does. */
function answersAsModel(words: readonly string[] = WORDS): Script {
	return (connection) => {
		const body = JSON.parse(connection.request.body) as {
			continue_final_message?: boolean;
			messages: { content: string }[];
		};
		const whole = words.join("");
		const begun = body.continue_final_message ? body.messages.at(-1)!.content : "";
		const rest = whole.startsWith(begun) ? whole.slice(begun.length) : whole;
		const pieces = rest.match(/.{1,4}/g) ?? [];
		return streams([
			choiceEvent({ role: "assistant", content: "" }),
			...pieces.map(textEvent),
			finishEvent(),
			usageEvent(),
			DONE,
		])(connection);
	};
}
/** Sends the beginning of that answer and then tears the connection down; later ones at once. */
function breaksAfter(words: number, end: "destroy" | "end" = "destroy"): Script {
	return async (connection) => {
		if (connection.nth > 0) return connection.destroy();
		await begins([choiceEvent({ role: "assistant", content: "" }), ...WORDS.slice(0, words).map(textEvent)])(
			connection,
		);
		await Bun.sleep(20);
		connection[end]();
	};
}
/** What a vLLM answers whose engine has died. */
const DEAD = JSON.stringify({
	error: {
		...{ message: "EngineCore encountered an issue. See stack trace (above) for the root cause." },
		...{ type: "InternalServerError", param: null, code: 500 },
	},
});
const stalls: Script = async (connection) => {
	await begins(WORDS.slice(0, 2).map(textEvent))(connection);
	await connection.closed;
};

async function read(body: Json = call): Promise<{ text: string; sse: string; error: string | undefined }> {
	const sse = await (await router.send(body)).text();
	const chunks = chunksOf(sse) as { error?: { message: string }; choices?: { delta?: { content?: string } }[] }[];
	return {
		text: chunks.map(({ choices }) => choices?.[0]?.delta?.content ?? "").join(""),
		sse,
		error: chunks.find(({ error }) => error)?.error?.message,
	};
}
const sent = (upstream: typeof first, nth = 0) =>
	JSON.parse(upstream.received[nth]!.body) as Json & { messages: Json[] };

describe("a stream goes on", () => {
	test.each([1, 2, 3, 4, 5])("after %i words were told, on another vLLM that is given them", async (words) => {
		first.run(breaksAfter(words));
		const { text, sse, error } = await read();
		expect([text, error]).toEqual([WHOLE, undefined]);
		expect(sent(second).messages.at(-1)).toEqual({
			role: "assistant",
			content: WORDS.slice(0, words).join("").trimEnd(),
		});
		expect(eventData(sse).filter((data) => data === "[DONE]")).toHaveLength(1);
		expect(new Set(chunksOf(sse).map(({ id }) => id)).size).toBe(1);
		expect(sse).toContain('"provider":"two"');
	});

	test("where it stalls, where it ends without a finish reason, and where an error comes in its middle", async () => {
		const error = event({ error: { message: "engine died", code: 500 } });
		for (const script of [stalls, breaksAfter(2, "end"), streams([...WORDS.slice(0, 2).map(textEvent), error])]) {
			router = pipeline({ config: config() });
			first.run(script);
			expect(await read()).toMatchObject({ text: WHOLE, error: undefined });
		}
	});

	test("a second time, on a third target", async () => {
		router = pipeline({ config: config({ targets: ["one/a", "two/b", "plain/c"] }) });
		first.run(breaksAfter(2));
		second.run(async (connection) => {
			await begins([textEvent("brown ")])(connection);
			await Bun.sleep(20);
			connection.destroy();
		});
		expect(await read()).toMatchObject({ text: WHOLE, error: undefined });
		expect(third.received).toHaveLength(1);
	});

	test("by asking again and comparing, where the other target takes no beginning", async () => {
		first.run(breaksAfter(3));
		const { text, error } = await read({ ...call, model: "other" });
		expect([text, error]).toEqual([WHOLE, undefined]);
		expect(sent(third).messages).toEqual(call.messages);
	});

	test("by asking again where the beginning is refused", async () => {
		first.run(breaksAfter(2));
		second.run((connection) =>
			connection.nth === 0
				? answers(
						"400 Bad Request",
						'{"error":{"message":"no prefill","type":"BadRequestError","code":400}}',
					)(connection)
				: answersAsModel()(connection),
		);
		expect(await read()).toMatchObject({ text: WHOLE, error: undefined });
		expect(second.received).toHaveLength(2);
	});

	test("on the same server, where its connection was cut and no other one serves it", async () => {
		second.run((connection) => connection.destroy());
		first.run((connection) => (connection.nth === 0 ? breaksAfter(2)(connection) : answersAsModel()(connection)));
		expect(await read()).toMatchObject({ text: WHOLE, error: undefined });
	});

	test("and while what its client has read is told once more, there are signs of life", async () => {
		router = pipeline({ config: { ...config(), server: { keep_alive: "60ms" } } });
		first.run(breaksAfter(4));
		const again = [...WHOLE].map(textEvent);
		third.run(trickles([choiceEvent({ role: "assistant", content: "" }), ...again, finishEvent(), DONE], 30));
		const { text, error, sse } = await read({ ...call, model: "other" });
		expect([text, error]).toEqual([WHOLE, undefined]);
		// Waiting for the other target makes one or two; all that is told again, eight.
		expect(sse.split(": keep-alive").length).toBeGreaterThan(4);
		const { firstToken } = router.context.state.targets.of("plain/c");
		expect(firstToken.count).toBe(0);
	});

	test("nowhere, and is complete, where only what follows its finish reason was cut off", async () => {
		first.run(async (connection) => {
			await begins([...WORDS.map(textEvent), finishEvent()])(connection);
			await Bun.sleep(20);
			connection.destroy();
		});
		const { text, error, sse } = await read();
		expect([text, error, sse.endsWith(DONE)]).toEqual([WHOLE, undefined, true]);
		expect(second.received).toHaveLength(0);
		expect(await router.settledCalls(1)).toMatchObject([{ status: 200 }]);
	});

	test("where the only one left comes back while its client waits", async () => {
		first.run((connection) => {
			if (connection.nth === 0) return breaksAfter(2)(connection);
			return connection.nth < 3 ? connection.destroy() : answersAsModel()(connection);
		});
		second.run(answers("503 Service Unavailable", '{"error":{"message":"busy"}}'));
		expect(await read()).toMatchObject({ text: WHOLE, error: undefined });
	});

	test("on the one whose connection was cut, where the only other engine is found dead", async () => {
		first.run((connection) => (connection.nth === 0 ? breaksAfter(2) : answersAsModel())(connection));
		second.run(answers("500 Internal Server Error", DEAD));
		expect(await read()).toMatchObject({ text: WHOLE, error: undefined });
	});

	test("on an engine that was found dead, once it is back", async () => {
		first.run(breaksAfter(2));
		second.run((connection) => {
			if (connection.request.path === "/health") return answers("200 OK", "")(connection);
			return connection.nth === 0
				? answers("500 Internal Server Error", DEAD)(connection)
				: answersAsModel()(connection);
		});
		expect(await read()).toMatchObject({ text: WHOLE, error: undefined });
	});

	test("on a target that had failed before it began", async () => {
		first.run((connection) =>
			connection.nth === 0
				? answers("503 Service Unavailable", '{"error":{"message":"busy"}}')(connection)
				: answersAsModel()(connection),
		);
		second.run(breaksAfter(2));
		expect(await read()).toMatchObject({ text: WHOLE, error: undefined });
	});

	test("and its usage says what the whole answer cost, once", async () => {
		first.run(breaksAfter(2));
		const { sse } = await read({ ...call, stream_options: { include_usage: true } });
		const usages = chunksOf(sse).flatMap(({ usage }) => (usage ? [usage] : []));
		// Nobody had counted the first two words: the white space behind the second is made once more.
		expect(usages).toEqual([{ prompt_tokens: 4, completion_tokens: 4, total_tokens: 8, estimated: true }]);
		const [settled] = await router.settledCalls(1);
		expect(settled).toMatchObject({ status: 200, attempts: 2, tokens: { input: 4, output: 4 } });
	});
});

describe("a stream ends in an error event, and never silently", () => {
	test("where the other target says something else", async () => {
		first.run(breaksAfter(3));
		third.run(answersAsModel(["A ", "slow ", "fox."]));
		const { text, error, sse } = await read({ ...call, model: "other" });
		expect(text).toBe(WORDS.slice(0, 3).join(""));
		expect(error).toContain("one broke off before the answer was complete");
		expect(sse).not.toContain("[DONE]");
	});

	test("where several choices were asked for", async () => {
		first.run(breaksAfter(3));
		const { error } = await read({ ...call, n: 2 });
		expect(error).toContain("broke off");
		expect(second.received).toHaveLength(0);
	});

	test("where only a fallback is left, which its owner has not called equal; with `any` it goes on there", async () => {
		first.run(breaksAfter(3));
		expect((await read({ ...call, model: "spare" })).error).toContain("broke off");
		expect(third.received).toHaveLength(0);
		router = pipeline({ config: config({ resume: "any" }) });
		first.run(breaksAfter(3));
		expect(await read({ ...call, model: "spare" })).toMatchObject({ text: WHOLE, error: undefined });
	});

	test("where its owner has switched it off", async () => {
		router = pipeline({ config: config({ resume: "off" }) });
		first.run(breaksAfter(3));
		expect((await read()).error).toContain("broke off");
		expect(second.received).toHaveLength(0);
	});

	test("where it breaks at the same place whenever it is told again", async () => {
		const breaks = async (connection: Parameters<Script>[0]) => {
			await begins([choiceEvent({ role: "assistant", content: "" }), ...WORDS.slice(0, 3).map(textEvent)])(connection);
			await Bun.sleep(5);
			connection.destroy();
		};
		third.run(breaks);
		first.run(breaks);
		const { text, error } = await read({ ...call, model: "other", tools: [] });
		expect(text).toStartWith("The quick brown ");
		expect(error).toContain("broke off");
		expect(first.received.length + third.received.length).toBeLessThan(30);
	}, 20_000);

	test("where every other target fails, too: it says how the first one broke", async () => {
		first.run(breaksAfter(3));
		second.run(answers("503 Service Unavailable", '{"error":{"message":"busy"}}'));
		const { error } = await read();
		expect(error).toContain("one broke off before the answer was complete");
		const [settled] = await router.settledCalls(1);
		expect(settled?.status).toBe(502);
	});
});

test("a client that leaves while its stream goes on elsewhere ends that, too", async () => {
	first.run(breaksAfter(2));
	second.run(async (connection) => {
		await begins([textEvent("brown ")])(connection);
		await connection.closed;
	});
	const next = second.next();
	const answer = await router.send(call);
	const reader = answer.body!.getReader();
	const reading = (async () => {
		for (;;) if ((await reader.read()).done) return;
	})();
	const connection = await next;
	await Bun.sleep(30);
	await reader.cancel();
	await connection.closed;
	await reading;
	const [settled] = await router.settledCalls(1);
	expect(settled?.status).toBe(499);
});

test("a call with one target keeps nothing of what it sends, and ends as it always did", async () => {
	first.run(breaksAfter(3));
	const { text, error } = await read({ ...call, model: "one/a" });
	expect(text).toBe(WORDS.slice(0, 3).join(""));
	expect(error).toContain("broke off");
	expect(first.received).toHaveLength(1);
});
