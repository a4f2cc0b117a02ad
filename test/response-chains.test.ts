/** What a request refers to of stored responses: what is too long together is refused, and no more of them are read than are needed. */
import { beforeEach, describe, expect, test } from "bun:test";
import { ResponseWriter } from "../src/api/response-writer.ts";
import { ConnectionResponses, StoredResponses } from "../src/api/stored-responses.ts";
import { storedText } from "../src/dialects/openai-responses/stored-response.ts";
import { RouterError } from "../src/errors.ts";
import type { Json } from "./kit/exchange.ts";

const request = () => new Request("http://localhost/v1/responses");
const said = (id: string, text: string) => ({
	type: "message",
	role: "user",
	id,
	content: [{ type: "input_text", text }],
});
const thrown = async (work: Promise<unknown>) => {
	const error = await work.then(
		() => undefined,
		(reason: unknown) => reason,
	);
	return error instanceof RouterError ? [error.status, error.errorCode] : error;
};
const TOO_LARGE = [413, "body_too_large"];

let read: string[];
let writer: ResponseWriter;
let longest: number;
let responses: StoredResponses;
beforeEach(() => {
	read = [];
	// It is never written: all of it is read where it waits.
	const table = {
		get: () => undefined,
		write: async () => false,
		remove: () => false,
		revokedKeys: () => [],
		trim: async () => {},
	};
	writer = new ResponseWriter({ table, settings: () => ({ keep: 1e9, size: 1e9 }) });
	const { get } = writer;
	writer.get = (name, waits) => {
		read.push(name.id);
		return get.call(writer, name, waits);
	};
	longest = 1e6;
	responses = new StoredResponses(() => longest, writer);
});
function store(id: string, previous: string | undefined, input: readonly Json[], output: readonly Json[] = []): void {
	writer.put({ key: "", id, text: storedText(previous, JSON.stringify(input), JSON.stringify({ id, output })) });
}
const earlier = (previous: string | undefined, items: readonly string[] = []) =>
	responses.earlier({ previous, items }, request(), undefined);

describe("what is longer together than a request may be is refused", () => {
	beforeEach(() => {
		for (let at = 0; at < 10; at++) {
			store(`resp_${at}`, at === 0 ? undefined : `resp_${at - 1}`, [said(`msg_${at}_in0`, "x".repeat(1000))]);
		}
		longest = 5000;
	});

	test("a conversation, of which no more is read than that", async () => {
		expect((await earlier("resp_2")).conversation?.length).toBe(3);
		expect(await thrown(earlier("resp_9"))).toEqual(TOO_LARGE);
		expect(read.length).toBeLessThan(10);
	});

	test("items of many responses", async () => {
		const ids = Array.from({ length: 10 }, (_, at) => `msg_${at}_in0`);
		expect((await earlier(undefined, ids.slice(0, 3))).items?.size).toBe(3);
		expect(await thrown(earlier(undefined, ids))).toEqual(TOO_LARGE);
	});

	test("what a connection was answered, which is not held then", async () => {
		const latest = new ConnectionResponses();
		const of = (id: string) => ({ id, isStored: false });
		latest.save("a", of("resp_a"), [said("msg_a", "x".repeat(100))], 5000);
		latest.save("b", of("resp_b"), [said("msg_b", "x".repeat(6000))], 5000);
		expect(latest.find("resp_a")?.conversation?.length).toBe(1);
		expect(() => latest.find("resp_b")).toThrow(RouterError);
		const connected = request();
		responses.connect(connected, latest, "b");
		expect(await thrown(responses.earlier({ previous: "resp_b", items: [] }, connected, undefined))).toEqual(TOO_LARGE);
	});

	test("but its items are listed: those that were sent for it", async () => {
		const stored = (await responses.find(undefined, "resp_9"))!;
		expect(await responses.items(undefined, stored)).toEqual(stored.input);
	});
});

test("a client that names each item of its conversation has the last response read, which holds them all", async () => {
	const items = Array.from({ length: 20 }, (_, at) => said(`msg_${at}_in0`, `${at}`));
	for (const [at] of items.entries()) store(`resp_${at}`, undefined, items.slice(0, at + 1));
	const { items: found } = await earlier(
		undefined,
		items.map(({ id }) => id),
	);
	expect([...(found?.values() ?? [])].length).toBe(items.length);
	expect(read).toEqual(["resp_19"]);
});

test("of a conversation that was put in short nothing is read that was said before, nor needed", async () => {
	store("resp_0", undefined, [said("msg_0", "long")]);
	store("resp_1", "resp_0", [said("msg_1", "long")], [{ type: "compaction", id: "cmp_1", encrypted_content: "x" }]);
	store("resp_2", "resp_1", [said("msg_2", "go on")]);
	await responses.remove(undefined, "resp_0");
	const { conversation } = await earlier("resp_2");
	expect(conversation?.map((item) => (item as Json)["id"])).toEqual(["cmp_1", "msg_2"]);
	expect(read).toEqual(["resp_2", "resp_1"]);
});
