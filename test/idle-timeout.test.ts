/** The idle timeout of a connection whose call runs. */
import { expect, jest, test } from "bun:test";
import { IDLE_SECONDS } from "../src/http/listen.ts";
import { CallRecord } from "../src/proxy/call-record.ts";
import { Deadline } from "../src/proxy/deadline.ts";

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
