/** One attempt that is told of others beside it while it is not sent yet. */
import { afterEach, expect, spyOn, test } from "bun:test";
import type { Call } from "../src/openai/call.ts";
import type { Target } from "../src/providers/provider.ts";
import { Attempt } from "../src/proxy/attempt.ts";
import { CallRecord } from "../src/proxy/call-record.ts";
import { limitsOf } from "../src/proxy/timeouts.ts";
import { LocalRoutingState } from "../src/routing/local-routing-state.ts";

// As of a router that has run for an hour.
const now = performance.now.bind(performance);
const clock = spyOn(performance, "now").mockImplementation(() => now() + 3_600_000);
afterEach(() => clock.mockRestore());

test("what it needs may take its time though the others get the whole of theirs", async () => {
	const supplied = Promise.withResolvers<Map<string, unknown>>();
	const answer = { status: 200, headers: new Headers({ "content-length": "2" }), whole: { text: async () => "{}" } };
	const provider = {
		name: "box",
		needs: () => ["a picture"],
		inputStore: { get: () => supplied.promise },
		encode: () => ({}),
		decode: () => ({ text: "whole" }),
		transport: {
			async send(_: unknown, signal: AbortSignal) {
				// Longer than the shortest timer.
				await Bun.sleep(20);
				signal.throwIfAborted();
				return answer;
			},
		},
	};
	const timeouts = { total: 60_000, first_token: 60_000, stall: 60_000, connect: 5_000 };
	const attempt = new Attempt({
		call: { stream: false, client: new AbortController(), startedAt: performance.now() } as unknown as Call,
		target: { provider, id: "box/m", model: "m" } as unknown as Target,
		limits: limitsOf({
			timeouts,
			set: [],
			hasOthers: false,
			isResumable: false,
			learned: undefined,
			isReasoning: () => false,
		}),
		client: { hasSent: false, comments: () => undefined },
		index: 0,
		record: new CallRecord("req_1", "chat", performance.now(), []),
		targets: new LocalRoutingState(),
		owner: { failed: (_, { kind }) => ({ failure: kind }), keyAccepted: () => undefined, late: () => undefined },
	});
	const opened = attempt.open();
	attempt.extend(10_000);
	await Bun.sleep(20);
	supplied.resolve(new Map());
	expect(await opened).toMatchObject({ answer: { text: "whole" } });
});
