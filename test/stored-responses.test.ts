/** Stored responses: what is another key's, what was deleted or never stored is not there, on any route; and what is there is gone on from. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import OpenAI from "openai";
import type { Json, Loose } from "./kit/exchange.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const KEYS = ["a", "b"].map((name) => ({ name, key: `key-of-${name}-1234` }));
let router: RunningRouter;
let unstored: RunningRouter;
beforeAll(async () => {
	[router, unstored] = await Promise.all([
		startRouter({ config: { keys: KEYS } }),
		startRouter({ config: { keys: KEYS, responses: { keep: "0s" } } }),
	]);
});
afterAll(() => Promise.all([router.stop(), unstored.stop()]));

interface AskOptions {
	readonly of?: string;
	readonly at?: RunningRouter;
}
async function ask(method: string, path: string, body?: Json, { of = "a", at = router }: AskOptions = {}) {
	const answer = await fetch(`${at.url}${path}`, {
		method,
		headers: { authorization: `Bearer key-of-${of}-1234`, "content-type": "application/json" },
		...(body ? { body: JSON.stringify(body) } : {}),
	});
	return { status: answer.status, json: (await answer.json()) as Loose };
}
const create = async (body: Json = {}, asked?: AskOptions): Promise<Loose> => {
	const { status, json } = await ask("POST", "/v1/responses", { model: "dummy", input: "hi", ...body }, asked);
	expect([status, json["error"]]).toEqual([200, null]);
	return json;
};
const clientOf = (of = "a") => new OpenAI({ baseURL: `${router.url}/v1`, apiKey: `key-of-${of}-1234`, maxRetries: 0 });

const ROUTES: readonly [name: string, method: string, path: (id: string) => string][] = [
	["GET", "GET", (id) => `/v1/responses/${id}`],
	["DELETE", "DELETE", (id) => `/v1/responses/${id}`],
	["cancel", "POST", (id) => `/v1/responses/${id}/cancel`],
	["input_items", "GET", (id) => `/v1/responses/${id}/input_items`],
];
const missing = (id: string) => ({
	error: {
		message: `Response with id '${id}' not found.`,
		type: "invalid_request_error",
		param: null,
		code: "response_not_found",
	},
});

describe.each(ROUTES)("%s", (_, method, path) => {
	test("says of another key's response what it says of one that nobody has", async () => {
		const { id } = await create();
		for (const asked of [id, "resp_0000", "nonsense", "a%20b"]) {
			const { status, json } = await ask(method, path(asked), undefined, { of: "b" });
			expect([status, json]).toEqual([404, missing(decodeURIComponent(asked))]);
		}
		expect((await ask("GET", `/v1/responses/${id}`)).status).toBe(200);
	});

	test("takes a key", async () => {
		const { id } = await create();
		expect((await ask(method, path(id), undefined, { of: "nobody" })).status).toBe(401);
	});

	test("does not know what was deleted, nor what was not to be stored", async () => {
		const { id } = await create();
		const { id: unstoredId } = await create({ store: false });
		expect((await ask("DELETE", `/v1/responses/${id}`)).json).toEqual({ id, object: "response", deleted: true });
		for (const gone of [id, unstoredId]) expect((await ask(method, path(gone))).status).toBe(404);
	});

	test("knows nothing where nothing is stored", async () => {
		const { id, store } = await create({ store: true }, { at: unstored });
		expect(store).toBe(false);
		expect((await ask(method, path(id), undefined, { at: unstored })).status).toBe(404);
	});
});

describe("a call that goes on from a response is refused", () => {
	const refused = {
		status: 400,
		json: {
			error: { type: "invalid_request_error", param: "previous_response_id", code: "previous_response_not_found" },
		},
	};
	test("where that is another key's, was deleted, was not stored, or never was", async () => {
		const { id } = await create();
		const { id: next } = await create({ previous_response_id: id });
		const { id: unstoredId } = await create({ store: false });
		const body = (previous_response_id: string) => ({ model: "dummy", input: "and now?", previous_response_id });
		expect(await ask("POST", "/v1/responses", body(id), { of: "b" })).toMatchObject(refused);
		expect(await ask("POST", "/v1/responses", body(unstoredId))).toMatchObject(refused);
		expect(await ask("POST", "/v1/responses", body("resp_x"))).toMatchObject(refused);
		await ask("DELETE", `/v1/responses/${id}`);
		expect(await ask("POST", "/v1/responses", body(id))).toMatchObject(refused);
		// What went on from it has lost its beginning.
		expect(await ask("POST", "/v1/responses", body(next))).toMatchObject(refused);
		const { id: theirs } = await create();
		for (const path of ["compact", "input_tokens"]) {
			expect(await ask("POST", `/v1/responses/${path}`, body(theirs), { of: "b" })).toMatchObject(refused);
			expect(await ask("POST", `/v1/responses/${path}`, body("resp_x"))).toMatchObject(refused);
		}
	});

	test("where an item that it refers to is another key's", async () => {
		const { output } = await create();
		const input = [
			{ role: "user", content: "hi" },
			{ type: "item_reference", id: output[0].id },
		];
		const { status, json } = await ask("POST", "/v1/responses", { model: "dummy", input }, { of: "b" });
		expect([status, json["error"].param]).toEqual([400, "input[1]"]);
		expect((await ask("POST", "/v1/responses", { model: "dummy", input })).status).toBe(200);
	});
});

test("the same bytes of another key don't reach what the first one's reached", async () => {
	const { id } = await create({ temperature: 0 });
	const body = { model: "dummy", input: "again", temperature: 0, previous_response_id: id };
	for (let times = 0; times < 3; times++) expect((await ask("POST", "/v1/responses", body)).status).toBe(200);
	expect((await ask("POST", "/v1/responses", body, { of: "b" })).status).toBe(400);
});

test("the official client retrieves a response, lists what it answers page by page, and deletes it", async () => {
	const client = clientOf();
	const first = await client.responses.create({ model: "dummy", input: "one", instructions: "Be brief." });
	expect([(first as Loose)["store"], first.previous_response_id]).toEqual([true, null]);
	const second = await client.responses.create({ model: "dummy", input: "two", previous_response_id: first.id });
	expect([(second as Loose)["store"], second.previous_response_id]).toEqual([true, first.id]);
	const { output_text: _, ...sent } = second;
	const { output_text: __, ...retrieved } = await client.responses.retrieve(second.id);
	expect(retrieved).toEqual(sent);
	const texts: string[] = [];
	for await (const item of client.responses.inputItems.list(second.id, { limit: 1, order: "asc" })) {
		texts.push((item as Loose).content[0].text);
	}
	expect(texts).toEqual(["one", first.output_text, "two"]);
	const [latest] = (await client.responses.inputItems.list(second.id)).data as Loose[];
	expect(latest).toMatchObject({ type: "message", role: "user", content: [{ type: "input_text", text: "two" }] });
	await client.responses.delete(second.id);
	const failure = (call: Promise<unknown>) => call.then(() => undefined).catch((error: unknown) => error);
	expect(await failure(client.responses.retrieve(second.id))).toMatchObject({
		status: 404,
		code: "response_not_found",
	});
	expect(await failure(client.responses.cancel(first.id))).toMatchObject({ status: 400 });
});

test("a streamed response is stored as its last event says it", async () => {
	const client = clientOf();
	const stream = client.responses.stream({ model: "dummy", input: "hi" });
	const { output_text: _, output_parsed: __, output, ...final } = (await stream.finalResponse()) as Loose;
	const { output_text: ___, output: stored, ...rest } = (await client.responses.retrieve(final.id)) as Loose;
	expect(rest).toEqual(final);
	expect(stored).toMatchObject(output.map(({ id, type }: Loose) => ({ id, type })));
});

test.each([
	["limit=0", "limit"],
	["limit=101", "limit"],
	["limit=x", "limit"],
	["order=up", "order"],
	["after=msg_0", "after"],
])("a page of %s is none", async (query, param) => {
	const { id } = await create();
	const { status, json } = await ask("GET", `/v1/responses/${id}/input_items?${query}`);
	expect([status, json["error"].code, json["error"].param]).toEqual([400, "invalid_value", param]);
});

test("counts what a call has to read, the conversation before it, too", async () => {
	const { id } = await create({ input: "many words ".repeat(200) });
	const count = async (body: Json) => {
		const { status, json } = await ask("POST", "/v1/responses/input_tokens", { model: "dummy", ...body });
		expect([status, json["object"]]).toEqual([200, "response.input_tokens"]);
		return json["input_tokens"] as number;
	};
	const alone = await count({ input: "hi" });
	expect(alone).toBeGreaterThan(0);
	expect(await count({ input: "hi", previous_response_id: id })).toBeGreaterThan(alone + 200);
});

test("compacts a conversation into an item that the next call goes on from", async () => {
	const { id } = await create({ input: "Remember 17." });
	const { status, json } = await ask("POST", "/v1/responses/compact", { model: "dummy", previous_response_id: id });
	expect([status, json["object"], json["output"].map(({ type }: Loose) => type)]).toEqual([
		200,
		"response.compaction",
		["compaction"],
	]);
	expect((await ask("GET", `/v1/responses/${json["id"]}`)).status).toBe(404);
	await create({ input: [...json["output"], { role: "user", content: "What?" }] });
});

test("pages come to an end where a client has sent one id for several items", async () => {
	const said = ["x", "y", "z"].map((content) => ({ id: "msg_same", role: "user", content }));
	const { id } = await create({ input: [...said, { id: "msg_same_2", role: "user", content: "w" }] });
	const seen: string[] = [];
	for await (const item of clientOf().responses.inputItems.list(id, { limit: 1, order: "asc" })) {
		seen.push((item as unknown as Loose)["content"][0].text);
		if (seen.length > 9) break;
	}
	expect(seen).toEqual(["x", "y", "z", "w"]);
});
