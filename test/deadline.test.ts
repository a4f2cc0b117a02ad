/** Deadlines: what counts as too late, what does not, and what is left behind. Small limits, no assertion by a clock. */
import { afterAll, beforeEach, describe, expect, jest, test } from "bun:test";
import { Deadline } from "../src/proxy/deadline.ts";
import { clientError } from "./kit/contract.ts";
import { goodStream, textEvent } from "./kit/events.ts";
import { eventData } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, neverAnswers, stallsAfter, stopsInHeaders, streams, trickles } from "./kit/faults.ts";
import { head } from "./kit/http-request.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());

const ANSWER =
	'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}';
const call = { model: "box/m", messages: [{ role: "user", content: "hi" }] };
/** Limits that do not matter to a test are far away. */
const withLimits = (timeouts: Record<string, string>): Pipeline =>
	pipeline({
		config: {
			providers: {
				box: {
					type: "vllm",
					base_url: upstream.origin,
					timeouts: { total: "20s", first_token: "20s", stall: "20s", ...timeouts },
				},
			},
		},
	});
beforeEach(() => upstream.run(answers("200 OK", ANSWER)));

/** Sends the head of a JSON answer and a piece of its body, then nothing. */
const stallsInBody = async (connection: Parameters<typeof neverAnswers>[0]) => {
	await connection.write(`${head("200 OK", { "content-type": "application/json", "content-length": "100" })}{"id"`);
	await connection.closed;
};

describe("too late", () => {
	test.each([
		["total", "no head", false, neverAnswers, "no answer within 0.1 s"],
		["total", "half a head", false, stopsInHeaders, "no answer within 0.1 s"],
		["total", "half a body", false, stallsInBody, "no answer within 0.1 s"],
		["first_token", "no head", true, neverAnswers, "no first token within 0.1 s"],
		["first_token", "a head without an event", true, begins([]), "no first token within 0.1 s"],
		["first_token", "half an event", true, begins(['data: {"choices":[']), "no first token within 0.1 s"],
	] as const)(
		"%s: %s is a 504 the second time, and the upstream is let go",
		async (limit, _, stream, script, words) => {
			upstream.run(script);
			const arrived = upstream.next();
			const router = withLimits({ [limit]: "100ms" });
			const answer = await router.send({ ...call, stream });
			const { code, message } = clientError(await answer.text());
			expect([answer.status, code]).toEqual([504, "upstream_timeout"]);
			expect(message).toContain(words);
			expect(upstream.received.length).toBe(2);
			expect(router.attempts.map(({ failure }) => failure)).toEqual(["timeout", "timeout"]);
			await (await arrived).closed;
		},
	);

	test("stall: a stream that falls silent ends with an error event, and the upstream is let go", async () => {
		upstream.run(stallsAfter(2));
		const arrived = upstream.next();
		const router = withLimits({ stall: "100ms" });
		const answer = await router.send({ ...call, stream: true });
		expect(answer.status).toBe(200);
		const seen = eventData(await answer.text());
		expect(clientError(seen.at(-1)!).message).toContain("no byte for 0.1 s");
		expect(seen).not.toContain("[DONE]");
		await (await arrived).closed;
		expect(router.settled.map(({ status, error }) => [status, error])).toEqual([[504, "upstream_timeout"]]);
	});
});

describe("not too late", () => {
	test("a stream may last longer than total and first_token, as long as it goes on", async () => {
		upstream.run(trickles(goodStream(6), 200));
		const answer = await withLimits({ total: "1s", first_token: "1s", stall: "5s" }).send({
			...call,
			stream: true,
		});
		expect(eventData(await answer.text()).at(-1)).toBe("[DONE]");
	});

	test("the limit of a stream's silence is no limit for its first token", async () => {
		upstream.run(trickles(goodStream(1), 60));
		const answer = await withLimits({ stall: "5s", first_token: "5s" }).send({ ...call, stream: true });
		expect(answer.status).toBe(200);
		await answer.text();
	});

	test("a slow reader is no stalled upstream", async () => {
		const piece = textEvent("y".repeat(60_000));
		upstream.run(streams([...Array.from({ length: 40 }, () => piece), ...goodStream(1)]));
		const router = withLimits({ stall: "500ms" });
		const answer = await router.send({ ...call, stream: true });
		const reader = answer.body!.getReader();
		const decoder = new TextDecoder();
		let text = decoder.decode((await reader.read()).value, { stream: true });
		await Bun.sleep(1_500);
		for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
			text += decoder.decode(value, { stream: true });
		}
		expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
		expect((await router.settledCalls(1))[0]).toMatchObject({ status: 200 });
	});

	test("a limit beyond what a timer can hold is no limit of 1 ms", async () => {
		upstream.run(trickles([ANSWER], 0));
		upstream.run(async (connection) => {
			await Bun.sleep(50);
			await answers("200 OK", ANSWER)(connection);
		});
		const answer = await withLimits({ total: "60d" }).send(call);
		expect([answer.status, await answer.text()]).toEqual([200, ANSWER]);
	});
});

describe("x-router-timeout-ms", () => {
	test.each(["0", "-1", "1.5", "soon", "", "1e400", "86400001", "0x10", "10s", "1, 2", "NaN"])(
		"that is no whole number of ms is a 400: %p",
		async (value) => {
			const answer = await withLimits({}).send(call, { headers: { "x-router-timeout-ms": value } });
			expect(answer.status).toBe(400);
			expect(clientError(await answer.text())).toMatchObject({ code: "invalid_value", param: "x-router-timeout-ms" });
			expect(upstream.received).toBeEmpty();
		},
	);

	test.each([false, true])("lowers the limit (streamed: %p)", async (stream) => {
		upstream.run(neverAnswers);
		const answer = await withLimits({}).send({ ...call, stream }, { headers: { "x-router-timeout-ms": "80" } });
		expect(answer.status).toBe(504);
	});

	test("does not raise it", async () => {
		upstream.run(neverAnswers);
		const answer = await withLimits({ total: "80ms" }).send(call, { headers: { "x-router-timeout-ms": "86400000" } });
		expect(answer.status).toBe(504);
	});

	test("of a stream ends with its first token", async () => {
		upstream.run(trickles(goodStream(5), 200));
		const headers = { "x-router-timeout-ms": "1000" };
		const answer = await withLimits({}).send({ ...call, stream: true }, { headers });
		expect(eventData(await answer.text()).at(-1)).toBe("[DONE]");
	});
});

describe("a deadline", () => {
	const never = new AbortController().signal;

	test("once cleared sets no timer again: a watch that nobody ends would last for ever", () => {
		jest.useFakeTimers();
		try {
			const deadline = new Deadline({ signal: never });
			deadline.within(100, "answer");
			expect(jest.getTimerCount()).toBe(1);
			deadline.clear();
			deadline.silence(100);
			deadline.within(100, "end");
			expect(jest.getTimerCount()).toBe(0);
			expect(deadline.failure).toBeUndefined();
		} finally {
			jest.useRealTimers();
		}
	});

	test("hears of its client's leaving, and of being late, also while it is young", async () => {
		const client = new AbortController();
		const [leaves, isLate] = [new Deadline(client), new Deadline({ signal: never })];
		leaves.within(60_000, "answer");
		isLate.within(60, "answer");
		client.abort();
		const over = ({ signal }: Deadline) => new Promise((resolve) => signal.addEventListener("abort", resolve));
		await Promise.all([over(leaves), over(isLate)]);
		expect([leaves.failure?.kind, isLate.failure?.kind]).toEqual(["cancelled", "timeout"]);
		for (const each of [leaves, isLate]) each.clear();
	});

	test("that is over while it is young has set no timer of its own, and asked for no signal", () => {
		jest.useFakeTimers();
		try {
			const client = {
				get signal(): AbortSignal {
					throw new Error("asked for");
				},
			};
			const both = [new Deadline(client), new Deadline(client)];
			for (const each of both) each.within(60_000, "answer");
			expect(jest.getTimerCount()).toBe(1);
			for (const each of both) each.clear();
			expect(jest.getTimerCount()).toBe(0);
		} finally {
			jest.useRealTimers();
		}
	});

	test("that is given more time while it is young has that", () => {
		jest.useFakeTimers();
		try {
			const deadline = new Deadline({ signal: never });
			deadline.within(20, "answer");
			deadline.within(60_000, "end");
			jest.advanceTimersByTime(1000);
			expect(deadline.failure).toBeUndefined();
			deadline.clear();
		} finally {
			jest.useRealTimers();
		}
	});

	test("lets go of its client's signal", () => {
		const client = new AbortController();
		const deadline = new Deadline(client);
		deadline.arm();
		deadline.clear();
		client.abort();
		expect(deadline.signal.aborted).toBe(false);
	});

	test("of a client that had left before is over as soon as it has grown up", () => {
		const deadline = new Deadline({ signal: AbortSignal.abort() });
		expect(deadline.failure?.kind).toBe("cancelled");
		deadline.arm();
		expect([deadline.signal.aborted, deadline.failure?.kind]).toEqual([true, "cancelled"]);
	});

	test("that ran out and whose client then left was its client's leaving", async () => {
		const client = new AbortController();
		const deadline = new Deadline(client);
		deadline.within(1, "answer");
		await new Promise((resolve) => deadline.signal.addEventListener("abort", resolve));
		expect(deadline.failure).toEqual({ kind: "timeout", isOurs: true, message: "gave no answer within 0 s" });
		client.abort();
		expect(deadline.failure?.kind).toBe("cancelled");
		deadline.clear();
	});
});

test("a stream that is over leaves no timer behind, however short it was", async () => {
	const router = withLimits({});
	jest.useFakeTimers();
	try {
		for (const script of [streams([goodStream(1).join("")]), streams(goodStream(3)), answers("200 OK", ANSWER)]) {
			upstream.run(script);
			await (await router.send({ ...call, stream: true })).text();
			await (await router.send({ ...call, model: "dummy", stream: true })).text();
		}
		expect(router.settled.length).toBe(6);
		// The last byte of an upstream's connection may still be on its way.
		for (let turn = 0; turn < 1000 && jest.getTimerCount() > 0; turn++) await turnOfLoop();
		expect(jest.getTimerCount()).toBe(0);
	} finally {
		jest.useRealTimers();
	}
});

/** A round trip through the kernel: timers are not to be had here. */
async function turnOfLoop(): Promise<void> {
	await fetch(`http://127.0.0.1:${new URL(upstream.origin).port}/`, { method: "POST", body: "{}" }).then((answer) =>
		answer.text(),
	);
}

describe("advice on a limit that ran out can work: it names", () => {
	const within = async (headers: Record<string, string>, stream: boolean) => {
		upstream.run(neverAnswers);
		const router = withLimits({ total: "100ms", first_token: "100ms" });
		return (await router.send({ ...call, stream }, { headers })).text();
	};

	test("the call's own header, where that set it", async () => {
		expect(await within({ "x-router-timeout-ms": "50" }, false)).toContain("as the call's x-router-timeout-ms says");
		expect(await within({ "x-router-timeout-ms": "50" }, true)).toContain("as the call's x-router-timeout-ms says");
		expect(await within({ "x-router-first-token-ms": "50" }, true)).toContain(
			"as the call's x-router-first-token-ms says",
		);
	});

	test("no header, where a setting is lower", async () => {
		expect(await within({ "x-router-timeout-ms": "30000" }, false)).not.toContain("x-router");
		expect(await within({}, true)).not.toContain("x-router");
	});
});
