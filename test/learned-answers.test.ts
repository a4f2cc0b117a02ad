/** What a router learns of how long answers are: from those that were whole. */
import { afterAll, expect, test } from "bun:test";
import { Admission, type AdmissionRequest } from "../src/accounts/limits/admission.ts";
import { DONE, event, finishEvent } from "./kit/events.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { begins, streams } from "./kit/faults.ts";
import { readTo } from "./kit/lines.ts";
import { account, NO_LIMITS, pipeline } from "./kit/pipeline.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());
const counting = (content: string, tokens: number) =>
	event({
		choices: [{ index: 0, delta: { content }, finish_reason: null }],
		usage: { prompt_tokens: 5, completion_tokens: tokens, total_tokens: 5 + tokens },
	});
const pieces = [counting("one ", 1), counting("two ", 2)];

test("a stream that its client leaves teaches nothing, also where its tokens were counted on the way", async () => {
	const router = pipeline({
		config: {
			providers: {
				box: { type: "vllm", base_url: upstream.origin },
				other: { type: "vllm", base_url: upstream.origin },
			},
			models: [{ name: "fast", policy: "order", targets: ["box/m", "other/m"] }],
		},
	});
	const learned: unknown[] = [];
	const ofKey = { learn: (what: unknown) => learned.push(what), surplus: 0, answerTokens: 7 };
	const usage = { prices: { of: () => ({}) }, learned: { isAsked: true, of: () => ofKey } };
	const enter = ({ cost }: AdmissionRequest) =>
		new Admission({ counters: {}, time: () => 0 } as never, undefined, cost);
	account(router, usage, { ...NO_LIMITS, limitsModels: true, enter });
	const call = { model: "fast", stream: true, messages: [{ role: "user", content: "hi" }] };

	upstream.run(begins(pieces));
	const client = new AbortController();
	const answer = await router.send(call, { signal: client.signal });
	const reader = answer.body!.getReader();
	await readTo(reader, "two");
	await reader.cancel();
	client.abort();
	const [left] = await router.settledCalls(1);
	expect(left).toMatchObject({ error: "cancelled", tokens: { input: 5, output: 2 } });
	expect(learned).toBeEmpty();

	upstream.run(streams([...pieces, finishEvent(), DONE]));
	await (await router.send(call)).text();
	await router.settledCalls(2);
	expect(learned).toEqual([{ answer: 2, surplus: undefined }]);
});
