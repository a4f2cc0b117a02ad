/** What one router alone knows, asked of all: the first answer counts, and whoever asks hears who had nothing to say, or said nothing. */
import { expect } from "bun:test";
import { PastCalls } from "../src/server/admin/past-calls.ts";
import { RedisBus } from "../src/store/redis-bus.ts";
import { type AnswerQuestion, RedisQuestions } from "../src/store/redis-questions.ts";
import { needing } from "./kit/needing.ts";
import { type RedisServer, startRedis } from "./kit/redis.ts";
import { connectRedis } from "./kit/shared-redis.ts";
import { until } from "./kit/until.ts";

const { afterAll, afterEach, beforeAll, describe, test } = needing("redis");

let server: RedisServer;
const closing: (() => void)[] = [];
beforeAll(async () => {
	server = await startRedis();
});
afterAll(() => server.stop());
afterEach(() => {
	for (const close of closing.splice(0)) close();
});

/** A router that answers so, connected. */
async function router<Made>(
	name: string,
	make: (questions: (answer: AnswerQuestion) => RedisQuestions) => Made,
	answerMs = 10_000,
): Promise<Made> {
	const connected = connectRedis(server.url, { timeoutMs: 5_000 });
	const bus = new RedisBus(connected.redis);
	const made = make((answer) => new RedisQuestions(connected.redis, bus, name, "calls", answer, answerMs));
	let isListening = false;
	bus.onResumed(() => {
		isListening = true;
	});
	closing.push(connected.close, bus.open());
	await connected.up();
	await until(() => isListening, "the subscription");
	return made;
}
const answering = (name: string, answer: AnswerQuestion, answerMs?: number) =>
	router(name, (questions) => questions(answer), answerMs);
const nothing: AnswerQuestion = async () => undefined;
/** Never has an answer. */
const silent: AnswerQuestion = () => new Promise(() => {});

test("a question that nobody can answer is over when all have said so, and its asker is not one of them", async () => {
	const asker = await answering("a", async () => "its own");
	expect(await asker.ask("x")).toEqual({ found: undefined, without: 0, silent: 0, isAsked: true });
	await answering("b", nothing);
	await answering("c", nothing);
	expect(await asker.ask("x")).toEqual({ found: undefined, without: 2, silent: 0, isAsked: true });
});

test("whoever does not answer, or fails at it, is told from who has nothing to say", async () => {
	const asker = await answering("a", nothing, 300);
	await answering("b", silent);
	await answering("c", async () => {
		throw new Error("a disk that can't be read");
	});
	await answering("d", nothing);
	expect(await asker.ask("x")).toEqual({ found: undefined, without: 1, silent: 2, isAsked: true });
});

test("the first answer is enough, also where others say nothing; each question gets its own", async () => {
	const asker = await answering("a", nothing);
	await answering("b", silent);
	await answering("c", async (text) => (text === "none" ? undefined : `${text} of c`));
	const found = await Promise.all(["x", "y"].map((text) => asker.ask(text)));
	expect(found.map((each) => each.found)).toEqual(["x of c", "y of c"]);
});

test("messages that are none harm nobody, and a question that is too long is not asked", async () => {
	const asker = await answering("a", nothing);
	let asked = 0;
	await answering("b", async () => {
		asked++;
		return undefined;
	});
	for (const text of ["{", "null", "7", '{"from":"a"}', '{"from":7,"id":"1","text":"x"}']) {
		await server.client.publish("t:calls", text);
		await server.client.publish("t:calls:a", text);
	}
	expect(await asker.ask("x".repeat(2_000))).toMatchObject({ isAsked: false });
	expect(await asker.ask("x")).toMatchObject({ without: 1, silent: 0 });
	expect(asked).toBe(1);
});

describe("a past call that is in no router's ledger is refused in words that say", () => {
	const calls = (name: string, answerMs?: number) =>
		router(name, (questions) => new PastCalls({ call: async () => undefined }, name, questions), answerMs);
	const refusal = (asked: PastCalls) => asked.find("req_1").then(String, (error: Error) => error.message);

	test("that this one was asked alone, where there is no Redis", async () => {
		expect(await refusal(new PastCalls({ call: async () => undefined }))).toBe(
			'There is no call "req_1" in this router\'s ledger; a call is in it about a second after its end.',
		);
	});

	test("how many others were asked, and how many did not answer", async () => {
		const asked = await calls("a", 300);
		await calls("b");
		expect(await refusal(asked)).toContain("in this router's ledger, nor in that of another one; a call");
		await calls("c");
		await answering("d", silent);
		expect(await refusal(asked)).toContain("nor in those of 2 others (1 more did not answer in time); a call");
	});

	test("that Redis can't be used", async () => {
		const connected = connectRedis("redis://127.0.0.1:1/0");
		closing.push(connected.close);
		const bus = new RedisBus(connected.redis);
		const asked = new PastCalls({ call: async () => undefined }, "a", (answer) => {
			return new RedisQuestions(connected.redis, bus, "a", "calls", answer);
		});
		expect(await refusal(asked)).toContain("the other routers could not be asked, since Redis can't be used; a call");
	});

	test("nothing of what another one says that is no such call", async () => {
		const asked = await calls("a");
		await answering("b", async () => '{"id":"another","attempts":[]}');
		expect(await refusal(asked)).toContain('There is no call "req_1" in this router');
	});
});
