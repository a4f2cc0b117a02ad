/** The idle timeout of a connection whose call runs. */
import { afterAll, expect, jest, test } from "bun:test";
import { callHandler } from "../src/api/handler.ts";
import { openAiChat } from "../src/dialects/openai-chat.ts";
import { IDLE_SECONDS } from "../src/http/listen.ts";
import { CallRecord } from "../src/proxy/call-record.ts";
import { Deadline } from "../src/proxy/deadline.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { pipeline } from "./kit/pipeline.ts";

const request = new Request("http://localhost/");
const client = { signal: new AbortController().signal };

function server() {
	const said: number[] = [];
	return { said, timeout: (_: Request, seconds: number) => said.push(seconds) };
}

/** A call that waits for an upstream. */
function waitingCall(bun: ReturnType<typeof server>) {
	const record = new CallRecord("req_1", "chat", performance.now(), []);
	record.connection = { server: bun, request, idleSeconds: IDLE_SECONDS };
	const deadline = new Deadline(client, record);
	const over = () => {
		deadline.clear();
		record.settle(200);
	};
	return { record, deadline, over };
}

test("is lifted from a call that takes its time, and restored when that is over", async () => {
	const bun = server();
	const call = waitingCall(bun);
	while (bun.said.length === 0) await Bun.sleep(5);
	call.over();
	expect(bun.said).toEqual([0, IDLE_SECONDS]);
});

test("is lifted once, however many attempts the call makes", () => {
	const bun = server();
	const call = waitingCall(bun);
	const second = new Deadline(client, call.record);
	for (const each of [call.deadline, second]) each.arm();
	second.clear();
	call.over();
	expect(bun.said).toEqual([0, IDLE_SECONDS]);
});

test("is left alone by a call that is over at once, which leaves no timer behind", () => {
	jest.useFakeTimers();
	try {
		const bun = server();
		const calls = [waitingCall(bun), waitingCall(bun)];
		for (const each of calls) each.over();
		expect([bun.said, jest.getTimerCount()]).toEqual([[], 0]);
		calls[0]!.deadline.arm();
		expect(bun.said).toEqual([]);
	} finally {
		jest.useRealTimers();
	}
});

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());

test("is lifted and restored for a call that waits for the same call of another caller", async () => {
	const asked = Promise.withResolvers<void>();
	const waits = Promise.withResolvers<void>();
	const message = { role: "assistant", content: "hi" };
	const choices = [{ index: 0, message, finish_reason: "stop" }];
	upstream.run(async (connection) => {
		asked.resolve();
		await waits.promise;
		await answers(
			"200 OK",
			JSON.stringify({ id: "x", object: "chat.completion", created: 1, model: "m", choices }),
		)(connection);
	});
	const { context } = pipeline({
		cached: true,
		config: { providers: { box: { type: "vllm", base_url: upstream.origin } } },
	});
	const handle = callHandler(
		{ operation: "chat", dialect: openAiChat, steps: ["auth", "limits", "cache", "relay"] },
		context,
	);
	const body = JSON.stringify({ model: "box/m", temperature: 0, messages: [{ role: "user", content: "hi" }] });
	const send = () => {
		const seen: number[] = [];
		const bun = { timeout: (_: Request, seconds: number) => void seen.push(seconds), requestIP: () => null };
		const headers = { "content-type": "application/json", host: "localhost" };
		const call = new Request("http://localhost/v1/chat/completions", { method: "POST", headers, body });
		return { seen, answer: handle(call, bun) };
	};
	const leader = send();
	await asked.promise;
	const follower = send();
	while (leader.seen.length === 0 || follower.seen.length === 0) await Bun.sleep(5);
	waits.resolve();
	const [first, second] = await Promise.all([leader.answer, follower.answer]);
	expect([first, second].map(({ headers }) => headers.get("x-router-cache"))).toEqual(["miss", "hit"]);
	expect([leader.seen, follower.seen]).toEqual([
		[0, IDLE_SECONDS],
		[0, IDLE_SECONDS],
	]);
});
