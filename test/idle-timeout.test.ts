/** The idle timeout of a connection whose call runs. */
import { expect, jest, test } from "bun:test";
import { IDLE_SECONDS, IdleTimeoutLift } from "../src/http/idle-timeout.ts";

const request = new Request("http://localhost/");

function server() {
	const said: number[] = [];
	return { said, timeout: (_: Request, seconds: number) => said.push(seconds) };
}

test("is lifted from a call that takes its time, and restored when that is over", async () => {
	const bun = server();
	const lift = new IdleTimeoutLift(bun, request);
	while (bun.said.length === 0) await Bun.sleep(5);
	lift.over();
	expect(bun.said).toEqual([0, IDLE_SECONDS]);
});

test("is left alone by a call that is over at once, which leaves no timer behind", () => {
	jest.useFakeTimers();
	try {
		const bun = server();
		const calls = [new IdleTimeoutLift(bun, request), new IdleTimeoutLift(bun, request)];
		for (const each of calls) each.over();
		expect([bun.said, jest.getTimerCount()]).toEqual([[], 0]);
		calls[0]!.arm();
		expect(bun.said).toEqual([]);
	} finally {
		jest.useRealTimers();
	}
});
