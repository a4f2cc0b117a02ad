/** Streams that break behind their finish reason: the answer is complete, whatever its upstream does then. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { choiceEvent, DONE, event, finishEvent, goodStream, textEvent, usageEvent } from "./kit/events.ts";
import { eventData, type Json } from "./kit/exchange.ts";
import { type Connection, startFaultUpstream } from "./kit/fault-upstream.ts";
import { begins, streams } from "./kit/faults.ts";
import { framed, head } from "./kit/http-request.ts";
import { pipeline } from "./kit/pipeline.ts";

const upstream = startFaultUpstream();
const other = startFaultUpstream();
afterAll(() => {
	upstream.stop();
	other.stop();
});
const timeouts = { stall: "400ms", first_token: "20s" };
const router = pipeline({
	config: {
		timeouts,
		providers: {
			box: { type: "vllm", base_url: upstream.origin },
			other: { type: "vllm", base_url: other.origin },
			anthropic: { api_key: "k", base_url: upstream.origin },
			gemini: { api_key: "k", base_url: upstream.origin },
		},
		models: [
			{ name: "fast", policy: "order", targets: ["box/m", "other/m"] },
			{ name: "off", policy: "order", targets: ["box/m", "other/m"], resume: "off" },
		],
	},
});
beforeEach(() => {
	other.run(streams(goodStream(1)));
	router.settled.length = 0;
	router.attempts.length = 0;
});

const FINISHED = [...goodStream(2).slice(0, 3), finishEvent()];
const settle = () => Bun.sleep(20); // else a reset overtakes the bytes
const then =
	(end: (connection: Connection) => unknown, pieces: readonly string[] = FINISHED) =>
	async (connection: Connection) => {
		await connection.write(
			head("200 OK", { "content-type": "text/event-stream", "transfer-encoding": "chunked" }) +
				pieces.map(framed).join(""),
		);
		await settle();
		await end(connection);
	};
const more = (text: string) => (connection: Connection) => connection.write(framed(text));
const forEver = (text: string) => async (connection: Connection) => {
	while (await connection.write(framed(text))) await Bun.sleep(20);
};
const BREAKS: [string, (connection: Connection) => unknown][] = [
	["a reset", (connection) => connection.destroy()],
	["a close without the last chunk", (connection) => connection.end()],
	["silence", (connection) => connection.closed],
	["comments for ever", forEver(": still here\n\n")],
	["garbage for ever", forEver("data: {nothing\n\n")],
	[
		"half an event, then the end",
		async (connection) => {
			await more('data: {"id"')(connection);
			connection.destroy();
		},
	],
	["an error event", more('data: {"error":{"message":"busy","code":503}}\n\n')],
	["an error named so", more('event: error\ndata: {"message":"failed"}\n\n')],
	["no HTTP", (connection) => connection.write("zz\r\n")],
	[
		"a second finish reason, then a reset",
		async (connection) => {
			await more(finishEvent("length"))(connection);
			await settle();
			connection.destroy();
		},
	],
];
const ask = async (model: string, body: Json = {}) => {
	const answer = await router.send({ model, stream: true, messages: [{ role: "user", content: "hi" }], ...body });
	const text = await answer.text();
	const [settled] = await router.settledCalls(1);
	return { status: answer.status, events: eventData(text), settled: settled! };
};

describe.each(BREAKS)("%s behind the finish reason", (_, end) => {
	test.each(["box/m", "fast", "off"])("of %s: [DONE], 200, paid for by what can be told", async (model) => {
		upstream.run(then(end));
		const { events, settled } = await ask(model);
		expect(events.slice(0, 4)).toEqual(eventData(FINISHED.join("")));
		expect(events.at(-1)).toBe("[DONE]");
		expect(settled).toMatchObject({ status: 200, attempts: 1, tokens: { output: 2 }, bill: { isEstimated: true } });
		expect(settled.error).toBeUndefined();
		expect(router.attempts.map(({ failure }) => failure)).toEqual([undefined]);
		expect(other.received).toBeEmpty();
	});

	test("and behind its usage: paid for by that", async () => {
		upstream.run(then(end, [...FINISHED, usageEvent()]));
		const { events, settled } = await ask("box/m");
		expect(events.at(-1)).toBe("[DONE]");
		expect(settled).toMatchObject({ status: 200, tokens: { input: 5, output: 3 }, bill: { isEstimated: false } });
	});
});

test("an answer that finishes with its first event, and then breaks, is one", async () => {
	upstream.run(then((connection) => connection.destroy(), [finishEvent()]));
	const { status, events, settled } = await ask("box/m");
	expect([status, events.at(-1), settled.status]).toEqual([200, "[DONE]", 200]);
});

test("of two choices one may have finished: a break is a break", async () => {
	const second = event({ choices: [{ index: 1, delta: { content: "two" }, finish_reason: null }] });
	upstream.run(then((connection) => connection.destroy(), [textEvent("one"), second, finishEvent()]));
	const { events, settled } = await ask("box/m", { n: 2 });
	expect(events).not.toContain("[DONE]");
	expect(settled.status).toBe(502);
});

test("text behind the finish reason goes on to the client, however slowly it comes", async () => {
	upstream.run(async (connection) => {
		await begins(FINISHED)(connection);
		for (let piece = 0; piece < 4; piece++) {
			await Bun.sleep(150);
			await connection.write(textEvent(`late${piece}`));
		}
		await connection.write(DONE);
		connection.end();
	});
	const { events } = await ask("box/m");
	expect(events.join("")).toContain("late3");
	expect(events.at(-1)).toBe("[DONE]");
});

describe("a stream that says a finish reason with every piece", () => {
	const piece = (content: string, usage?: Json) =>
		event({ choices: [{ index: 0, delta: { content }, finish_reason: "stop" }], ...(usage ? { usage } : {}) });

	test("goes on however slowly it comes", async () => {
		upstream.run(async (connection) => {
			await begins([choiceEvent({ role: "assistant", content: "" }), piece("0 ")])(connection);
			for (let nth = 1; nth < 5; nth++) {
				await Bun.sleep(150);
				await connection.write(piece(`${nth} `));
			}
			await connection.write(DONE);
			connection.end();
		});
		const { events, settled } = await ask("box/m");
		expect(events.join("")).toContain("4 ");
		expect(events.at(-1)).toBe("[DONE]");
		expect(settled).toMatchObject({ status: 200, attempts: 1 });
	});

	test.each([
		["without counts", undefined],
		["with counts", { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 }],
	])("has finished with none of them: a break is one (%s)", async (_, usage) => {
		upstream.run(then((connection) => connection.destroy(), [piece("half ", usage), piece("of it", usage)]));
		const { events, settled } = await ask("box/m");
		expect(events).not.toContain("[DONE]");
		expect(settled.status).toBe(502);
	});

	test("and closes is complete", async () => {
		upstream.run(async (connection) => {
			await begins([piece("all "), piece("of it"), DONE])(connection);
			connection.end();
		});
		const { events, settled } = await ask("box/m");
		expect([events.at(-1), settled.status]).toEqual(["[DONE]", 200]);
	});

	test("unless it is the only piece: then a break behind it is no loss", async () => {
		upstream.run(then((connection) => connection.destroy(), [piece("all of it")]));
		const { events, settled } = await ask("box/m");
		expect([events.at(-1), settled.status]).toEqual(["[DONE]", 200]);
	});
});

describe("vendors", () => {
	const named = (type: string, fields: Json) => `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`;
	const claude = [
		named("message_start", {
			message: { id: "msg_1", model: "claude-x", usage: { input_tokens: 5, output_tokens: 1 } },
		}),
		named("content_block_start", { index: 0, content_block: { type: "text", text: "" } }),
		named("content_block_delta", { index: 0, delta: { type: "text_delta", text: "all of it" } }),
		named("content_block_stop", { index: 0 }),
		named("message_delta", { delta: { stop_reason: "end_turn" }, usage: { output_tokens: 7 } }),
	];
	const piece = (fields: Json, text = "all of it") =>
		event({
			candidates: [{ content: { parts: [{ text }] }, index: 0, ...fields }],
			responseId: "r",
			modelVersion: "m",
			usageMetadata: { promptTokenCount: 5, candidatesTokenCount: 7, totalTokenCount: 12 },
		});
	const gemini = [piece({}), piece({ finishReason: "STOP" })];

	test.each(BREAKS)("%s", async (_, end) => {
		for (const [model, pieces] of [
			["claude-x", claude],
			["gemini-x", gemini],
		] as const) {
			router.settled.length = 0;
			upstream.run(then(end, pieces));
			const { events, settled } = await ask(model);
			expect(events.at(-1)).toBe("[DONE]");
			expect(events.at(-2)).toContain('"finish_reason":"stop"');
			expect(settled).toMatchObject({ status: 200, tokens: { input: 5, output: 7 }, bill: { isEstimated: false } });
		}
	});

	test("Gemini models that say STOP with every piece have finished with none of them", async () => {
		upstream.run(
			then(
				(connection) => connection.destroy(),
				[piece({ finishReason: "STOP" }, "half "), piece({ finishReason: "STOP" }, "of it")],
			),
		);
		const { events } = await ask("gemini-x");
		expect(events).not.toContain("[DONE]");
	});
});
