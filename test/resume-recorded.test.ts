/** Recorded answers, cut behind every event on their way through the whole pipeline, go on from a second upstream as if uncut. */
import { afterAll, describe, expect, test } from "bun:test";
import { SseSplitter } from "../src/openai/sse.ts";
import { chunksOf, type Json, type Loose } from "./kit/exchange.ts";
import { type FaultUpstream, startFaultUpstream } from "./kit/fault-upstream.ts";
import { begins, streams } from "./kit/faults.ts";
import { needing } from "./kit/needing.ts";
import { pipeline } from "./kit/pipeline.ts";
import { type Recording, recordings } from "./kit/recordings.ts";

/** A cut each, and a router each: longer recordings show nothing more. */
const MOST_EVENTS = 90;
const all = ["openai", "openrouter", "xai", "vllm"].flatMap(recordings).filter(isWholeStream);
const KINDS = {
	"text, after a space": ({ sse }: { sse: string }) => /"content":"[^"]* "/.test(sse),
	"tool arguments": ({ sse }: { sse: string }) => sse.includes('"tool_calls"'),
	thinking: ({ sse }: { sse: string }) => /"reasoning(_content)?":"[^"]/.test(sse),
};
const chosen = Object.entries(KINDS).flatMap(([kind, is]) =>
	all
		.filter(({ response }) => is({ sse: response.sse! }))
		.slice(0, 3)
		.map((recording) => [kind, recording.id, recording] as const),
);
const upstreams: FaultUpstream[] = [];
afterAll(() => {
	for (const upstream of upstreams) upstream.stop();
});

function isWholeStream({ request, response: { sse } }: Recording): boolean {
	if (!sse?.includes("[DONE]") || sse.includes('"error"') || !request.path.endsWith("/chat/completions")) return false;
	return events(sse).length <= MOST_EVENTS;
}

function events(sse: string): string[] {
	const splitter = new SseSplitter();
	return [...splitter.push(Buffer.from(sse)), ...splitter.end()].map(({ raw }) => raw);
}

function start(script: Parameters<typeof startFaultUpstream>[0]): string {
	const upstream = startFaultUpstream(script);
	upstreams.push(upstream);
	return upstream.origin;
}

/** What a client makes of it. A call's id is the first told. */
function answerOf(sse: string) {
	const calls: { name: string; arguments: string; ids: Set<unknown> }[] = [];
	const answer = { content: "", reasoning: "", finish: "", calls };
	for (const { choices } of chunksOf(sse) as { choices?: Loose[] }[]) {
		for (const { delta, finish_reason: finish } of choices ?? []) {
			answer.content += delta?.content ?? "";
			answer.reasoning += delta?.reasoning_content ?? delta?.reasoning ?? "";
			answer.finish += finish ?? "";
			for (const { index = 0, id, function: called } of delta?.tool_calls ?? []) {
				calls[index] ??= { name: "", arguments: "", ids: new Set() };
				calls[index].name += called?.name ?? "";
				calls[index].arguments += called?.arguments ?? "";
				if (id) calls[index].ids.add(id);
			}
		}
	}
	return { ...answer, calls: calls.map(({ ids, ...call }) => ({ ...call, ids: ids.size })) };
}

needing("recordings").test("there are recordings of each kind", () => {
	expect(new Set(chosen.map(([kind]) => kind))).toEqual(new Set(Object.keys(KINDS)));
});

describe.each(chosen)("%s: %s", (_, __, { request, response }) => {
	test("goes on behind every event", async () => {
		const pieces = events(response.sse!);
		// Who is asked again has ids of its own.
		const again = response.sse!.replaceAll(/"id":"(?=chatcmpl|gen|call|[0-9a-f]{8})/g, '"id":"again-');
		const two = start(streams([again]));
		const whole = answerOf(response.sse!);
		// The last cut is before the finish reason: behind it nothing is missing.
		const finish = pieces.findIndex((raw) => /"finish_reason":\s*"/.test(raw));
		const read = async (cut: number) => {
			const one = start(async (connection) => {
				await begins(pieces.slice(0, cut))(connection);
				connection.end();
			});
			const { send } = pipeline({
				config: {
					providers: {
						one: { type: "openai-compatible", base_url: one },
						two: { type: "openai-compatible", base_url: two },
					},
					models: [{ name: "m", policy: "order", targets: ["one/a", "two/b"] }],
				},
			});
			const { n: _, ...body } = (request.body ?? {}) as Json;
			const messages = [{ role: "user", content: "hi" }];
			return (await send({ messages, ...body, model: "m", stream: true })).text();
		};
		for (let cut = 1; cut <= finish; cut++) {
			const sse = await read(cut);
			expect({ cut, ...answerOf(sse) }).toEqual({ cut, ...whole });
			expect(new Set(chunksOf(sse).map(({ id }) => id)).size).toBe(1);
			expect(sse.endsWith("data: [DONE]\n\n")).toBe(true);
		}
		expect(finish).toBeGreaterThan(1);
	});
});
