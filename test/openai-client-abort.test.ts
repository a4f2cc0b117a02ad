/** A client that leaves ends the upstream's work: seen at the upstream's own socket. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import OpenAI from "openai";
import { DIALECTS, upstreamsAt } from "./kit/dialects.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { neverAnswers, stallsAfter } from "./kit/faults.ts";
import { fixture } from "./kit/fixtures.ts";
import { openAiClient, params, streamParams } from "./kit/openai-client.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const faults = startFaultUpstream();
let router: RunningRouter;
let client: OpenAI;
beforeAll(async () => {
	router = await startRouter(upstreamsAt(faults.origin));
	client = openAiClient(router.url);
});
afterAll(async () => {
	await router.stop();
	faults.stop();
});

/** The design says 100 ms; a shared machine gets 20 times that before the test calls it broken. */
const GONE_MS = 2000;

async function expectClosed(closed: Promise<void>): Promise<void> {
	const outcome = await Promise.race([closed.then(() => "closed"), Bun.sleep(GONE_MS).then(() => "still open")]);
	expect(outcome).toBe("closed");
}

describe.each(DIALECTS.map((row) => [row.name, row] as const))("%s", (_, upstream) => {
	test("abort inside a stream", async () => {
		faults.run(stallsAfter(2));
		const arrived = faults.next();
		const stream = await client.chat.completions.create(streamParams(fixture(upstream, "text", { stream: true })));
		const first = await stream[Symbol.asyncIterator]().next();
		expect(first.done).toBe(false);
		stream.controller.abort();
		await expectClosed((await arrived).closed);
	});

	test.each([true, false])("abort before the first byte (streamed: %p)", async (streamed) => {
		faults.run(neverAnswers);
		const arrived = faults.next();
		const leaving = new AbortController();
		const exchange = fixture(upstream, "text", { stream: streamed });
		const call = client.chat.completions.create(params(exchange), { signal: leaving.signal });
		const outcome = call.then(
			() => undefined,
			(error: unknown) => error,
		);
		const { closed } = await arrived;
		leaving.abort();
		await expectClosed(closed);
		expect(await outcome).toBeInstanceOf(OpenAI.APIUserAbortError);
	});
});

test("calls whose client left are counted as 499 and leave nothing in flight", async () => {
	await router.idle();
	const left = await router.metric("router_requests_total", { status: "499" });
	expect(left).toBe(DIALECTS.length * 3);
	const failures = await router.metric("router_upstream_failures_total");
	expect(failures).toBe(await router.metric("router_upstream_failures_total", { kind: "cancelled" }));
});
