/** Requests of hundreds of kilobytes: every byte reaches the upstream, and each call its own answer. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import type { Json } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());

const answer = (content: string) =>
	`{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"${content}"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}`;
const TEXTS = ['Then the old man said "so".\n', 'é\t"→"日本\\', "🙂\u2028\u0001"];
/** 300 KB in a text of its own for each number. */
const body = (number: number, more: Json = {}): Json => ({
	messages: [
		{ role: "user", content: `${number}` },
		{ role: "user", content: `${number} ${TEXTS[number % 3]}`.repeat(10_000) },
	],
	model: "alias",
	...more,
});

let router: Pipeline;
beforeEach(() => {
	const providers = { box: { type: "vllm", base_url: upstream.origin } };
	router = pipeline({ config: { providers, models: [{ name: "alias", targets: ["box/m"] }] }, cached: true });
	upstream.run(answers("200 OK", answer("hi")));
});
const sent = () => upstream.received.map((each) => JSON.parse(each.body) as Json);
const numbers = (count: number) => Array.from({ length: count }, (_, at) => at);

test("many at once reach the upstream as they came, but for the model's name", async () => {
	for (let round = 0; round < 3; round++) {
		upstream.run(answers("200 OK", answer("hi")));
		const statuses = await Promise.all(numbers(9).map(async (at) => (await router.send(body(at))).status));
		expect(new Set(statuses)).toEqual(new Set([200]));
		const first = (request: Json) => Number((request["messages"] as Json[])[0]!["content"]);
		expect(sent().sort((a, b) => first(a) - first(b))).toEqual(numbers(9).map((at) => ({ ...body(at), model: "m" })));
	}
});

test("after a failure the same bytes are sent again", async () => {
	upstream.run((connection) =>
		connection.nth === 0 ? connection.destroy() : answers("200 OK", answer("hi"))(connection),
	);
	expect((await router.send(body(1))).status).toBe(200);
	expect(sent()).toEqual([body(1), body(1)].map((each) => ({ ...each, model: "m" })));
});

test("a stream's prompt is whole, with the edits in it", async () => {
	upstream.run(answers("500 Internal Server Error", "{}"));
	await (await router.send(body(2, { stream: true }))).text();
	const [first] = sent();
	expect(first).toMatchObject({ ...body(2), model: "m", stream: true, stream_options: { include_usage: true } });
});

test("the cache tells them apart by their last character, and knows one that is written in another way", async () => {
	const ask = async (request: Json) => {
		const response = await router.send(request);
		const { choices } = (await response.json()) as { choices: { message: { content: string } }[] };
		return [response.headers.get("x-router-cache"), choices[0]!.message.content];
	};
	upstream.run((connection) => answers("200 OK", answer(`answer ${connection.nth}`))(connection));
	const [one, other] = [body(3, { temperature: 0, stop: "a" }), body(3, { temperature: 0, stop: "b" })];
	const { model, messages, ...rest } = one;
	const turned = { ...rest, messages: (messages as Json[]).map(({ role, content }) => ({ content, role })), model };
	for (let round = 0; round < 4; round++) {
		const how = round === 0 ? "miss" : "hit";
		expect([await ask(one), await ask(other)]).toEqual([
			[how, "answer 0"],
			[how, "answer 1"],
		]);
		expect(await ask(turned)).toEqual(["hit", "answer 0"]);
	}
});
