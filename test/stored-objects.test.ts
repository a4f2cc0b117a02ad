/** Files and batches at a provider: whole for the key that made them, and out of reach for every other one. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import OpenAI, { toFile } from "openai";
import { sqliteStore } from "../src/store/sqlite.ts";
import { serveApi } from "./kit/api-server.ts";
import { directory } from "./kit/cli.ts";
import { clientError } from "./kit/contract.ts";
import { startFileUpstream } from "./kit/file-upstream.ts";
import { pipeline } from "./kit/pipeline.ts";

const upstream = startFileUpstream();
const other = startFileUpstream();
const home = directory();
const store = sqliteStore(home.path, () => undefined);
const router = pipeline({
	config: {
		keys: [
			{ name: "alice", key: "alice-key-1" },
			{ name: "bob", key: "bob-key-1" },
			{ name: "narrow", key: "narrow-key-1", models: ["gpt-4o-mini", "gpt-4o", "box/*"] },
			{ name: "paid", key: "paid-key-1", budget: { usd: 5, per: "day" } },
		],
		providers: {
			openai: { base_url: upstream.origin, api_key: "k", model_routing: false },
			box: { type: "openai-compatible", base_url: other.origin },
			engine: { type: "vllm", base_url: other.origin },
		},
		models: [{ name: "gpt-4o", targets: ["engine/m"] }],
	},
});
Object.assign(router.context, { objects: store });
const server = serveApi(router);
afterAll(async () => {
	await Promise.all([server.stop(), upstream.stop(), other.stop()]);
	store.close();
	home[Symbol.dispose]();
});
beforeEach(() => {
	upstream.received.length = other.received.length = 0;
});

const clientOf = (name: string) => new OpenAI({ baseURL: `${server.url}/v1`, apiKey: `${name}-key-1`, maxRetries: 0 });
const alice = clientOf("alice");
const line = (model: unknown) =>
	`${JSON.stringify({ custom_id: "1", method: "POST", url: "/v1/chat/completions", body: { model } })}\n`;
const upload = async (client: OpenAI, text: string) =>
	client.files.create({ file: await toFile(Buffer.from(text), "in.jsonl"), purpose: "batch" });
const batchOf = (client: OpenAI, input_file_id: string) =>
	client.batches.create({ input_file_id, endpoint: "/v1/chat/completions", completion_window: "24h" });
const send = (name: string | undefined, method: string, path: string, body?: object) =>
	fetch(server.url + path, {
		method,
		headers: {
			...(name && { authorization: `Bearer ${name}-key-1` }),
			...(body && { "content-type": "application/json" }),
		},
		...(body && { body: JSON.stringify(body) }),
	});

test("a file comes back as it was sent, is listed, and is gone once it is deleted", async () => {
	const text = "x".repeat(3_000_000);
	const file = await upload(alice, text);
	expect(file).toMatchObject({ object: "file", bytes: text.length, purpose: "batch" });
	expect(await alice.files.retrieve(file.id)).toMatchObject({ id: file.id, filename: "in.jsonl" });
	expect(await (await alice.files.content(file.id)).text()).toBe(text);
	expect((await alice.files.list()).data.map(({ id }) => id)).toContain(file.id);
	expect(await alice.files.delete(file.id)).toMatchObject({ id: file.id, deleted: true });
	expect((await alice.files.list()).data.map(({ id }) => id)).not.toContain(file.id);
	expect((await send("alice", "GET", `/v1/files/${file.id}`)).status).toBe(404);
});

test("a batch is made, and its results belong to who made it", async () => {
	const file = await upload(alice, line("gpt-4o-mini"));
	const batch = await batchOf(alice, file.id);
	expect(batch).toMatchObject({ object: "batch", status: "validating", input_file_id: file.id });
	const done = await alice.batches.retrieve(batch.id);
	expect(done.status).toBe("completed");
	expect(await (await alice.files.content(done.output_file_id!)).text()).toBe("{}\n");
	expect((await alice.batches.list()).data.map(({ id }) => id)).toContain(batch.id);
	expect((await send("bob", "GET", `/v1/files/${done.output_file_id}/content`)).status).toBe(404);
});

test("a list of batches says what they are now", async () => {
	const batch = await batchOf(alice, (await upload(alice, line("gpt-4o-mini"))).id);
	const listed = (await alice.batches.list()).data.find(({ id }) => id === batch.id);
	expect(listed).toMatchObject({ status: "completed" });
	expect((await alice.files.retrieve(listed!.output_file_id!)).purpose).toBe("batch_output");
});

test("a batch is cancelled", async () => {
	const batch = await batchOf(alice, (await upload(alice, line("gpt-4o-mini"))).id);
	expect((await alice.batches.cancel(batch.id)).status).toBe("cancelled");
});

test("lists come page by page, the newest first", async () => {
	const ids: string[] = [];
	for (let at = 0; at < 5; at++) ids.push((await upload(clientOf("bob"), `${at}`)).id);
	const seen: string[] = [];
	for await (const { id } of clientOf("bob").files.list({ limit: 2 })) seen.push(id);
	expect(seen).toEqual(ids.reverse());
});

const ROUTES = [
	["GET", (file: string, _: string) => `/v1/files/${file}`, undefined],
	["GET", (file: string, _: string) => `/v1/files/${file}/content`, undefined],
	["DELETE", (file: string, _: string) => `/v1/files/${file}`, undefined],
	["GET", (_: string, batch: string) => `/v1/batches/${batch}`, undefined],
	["POST", (_: string, batch: string) => `/v1/batches/${batch}/cancel`, undefined],
	["POST", () => "/v1/batches", (input_file_id: string) => ({ input_file_id, endpoint: "/v1/chat/completions" })],
] as const;
const RULES = ["bob", "narrow", "paid", undefined] as const;
const MATRIX = ROUTES.flatMap((route) =>
	RULES.map((name) => [name ?? "no key", route[0], route[1]("F", "B"), name, route] as const),
);

test.each(MATRIX)("%s gets nothing of another key's by %s %s", async (_, __, ___, name, [method, path, body]) => {
	const file = await upload(alice, line("gpt-4o-mini"));
	const batch = await batchOf(alice, file.id);
	upstream.received.length = 0;
	const refused = await send(name, method, path(file.id, batch.id), body?.(file.id));
	expect(refused.status).toBe(name === undefined ? 401 : 404);
	const { code } = clientError(await refused.text());
	expect(code).toBe(name === undefined ? "invalid_api_key" : "object_not_found");
	expect(upstream.received).toEqual([]);
	expect(upstream.files.has(file.id)).toBe(true);
});

test.each(["files", "batches"])("the list of %s has no other key's", async (kind) => {
	const file = await upload(alice, line("gpt-4o-mini"));
	const batch = await batchOf(alice, file.id);
	const listed = await (await send("narrow", "GET", `/v1/${kind}`)).text();
	expect(listed).not.toContain(`"${file.id}"`);
	expect(listed).not.toContain(`"${batch.id}"`);
	expect((await send(undefined, "GET", `/v1/${kind}`)).status).toBe(401);
});

test("an id that the provider has and nobody made here is no one's", async () => {
	const { id } = (await (await fetch(`${upstream.origin}/v1/files`, { method: "POST", body: formOf("x") })).json()) as {
		id: string;
	};
	expect((await send("alice", "GET", `/v1/files/${id}`)).status).toBe(404);
});

function formOf(text: string): FormData {
	const form = new FormData();
	form.append("purpose", "batch");
	form.append("file", new File([text], "in.jsonl"));
	return form;
}

test.each([
	["its models", line("gpt-4o-mini") + line("gpt-4o-mini"), 200],
	["another model", line("gpt-4o-mini") + line("gpt-5-pro"), 403],
	["a name that is another model's here", line("gpt-4o"), 403],
	["a line without a model", line(undefined), 403],
	["a line that is no JSON", "{\n", 403],
])("a batch with %s of a key that may use some models only", async (_, text, status) => {
	const narrow = clientOf("narrow");
	const file = await upload(narrow, text);
	const made = await send("narrow", "POST", "/v1/batches", {
		input_file_id: file.id,
		endpoint: "/v1/chat/completions",
	});
	expect(made.status).toBe(status);
	if (status === 403)
		expect(clientError(await made.text())).toMatchObject({ code: "model_not_allowed", param: "input_file_id" });
});

test("such a key has no batch made where the provider may answer with another model", async () => {
	const form = formOf(line("m"));
	const answer = await fetch(`${server.url}/v1/files?provider=box`, {
		method: "POST",
		headers: { authorization: "Bearer narrow-key-1" },
		body: form,
	});
	const { id } = (await answer.json()) as { id: string };
	expect(other.received).toEqual(["POST /v1/files"]);
	expect((await send("narrow", "POST", "/v1/batches", { input_file_id: id })).status).toBe(403);
});

test("a key with a budget has no batch made: nobody knows what it will come to", async () => {
	const file = await upload(clientOf("paid"), line("gpt-4o-mini"));
	const refused = await send("paid", "POST", "/v1/batches", { input_file_id: file.id });
	expect(clientError(await refused.text()).code).toBe("price_unknown");
});

test.each([
	["a provider that nobody has", "/v1/files?provider=nobody", 404],
	["a provider that keeps none", "/v1/files?provider=engine", 404],
])("a file for %s is refused", async (_, path, status) => {
	const refused = await fetch(server.url + path, {
		method: "POST",
		headers: { authorization: "Bearer alice-key-1" },
		body: formOf("x"),
	});
	expect(refused.status).toBe(status);
	expect(clientError(await refused.text()).code).toBe("operation_not_served");
});

test.each([
	["a file that is no form", "/v1/files", { file: "x" }, 415],
	["a batch without a file", "/v1/batches", {}, 400],
	["a batch whose file is none", "/v1/batches", { input_file_id: 5 }, 400],
	["a page that is none", "/v1/files?limit=x", undefined, 400],
])("%s is refused", async (_, path, body, status) => {
	const refused = await send("alice", body ? "POST" : "GET", path, body);
	expect(refused.status).toBe(status);
	clientError(await refused.text());
});

test("who owns what outlives a restart", async () => {
	const file = await upload(alice, "x");
	const again = sqliteStore(home.path, () => undefined);
	expect(again.object("config:alice", "file", file.id)).toMatchObject({ provider: "openai", id: file.id });
	expect(again.object("config:bob", "file", file.id)).toBeUndefined();
	again.close();
});

test("each is one call of the ledger, and only a batch is of a price that nobody knows", async () => {
	const before = router.settled.length;
	const file = await upload(alice, line("gpt-4o-mini"));
	await batchOf(alice, file.id);
	await alice.files.list();
	const settled = (await router.settledCalls(before + 3)).slice(before);
	expect(settled.map(({ operation, status, bill }) => [operation, status, bill?.source])).toEqual([
		["files", 200, undefined],
		["batches", 200, "none"],
		["files", 200, undefined],
	]);
});

test("an agent has no files, which are its router's", async () => {
	const agent = serveApi({ context: { ...router.context, isBehindRouter: true } });
	expect((await fetch(`${agent.url}/v1/files`, { headers: { authorization: "Bearer alice-key-1" } })).status).toBe(404);
	await agent.stop();
});

test.each([
	[
		"a chat",
		"/v1/chat/completions",
		(file_id: string) => ({
			model: "openai/gpt-4o-mini",
			messages: [{ role: "user", content: [{ type: "file", file: { file_id } }] }],
		}),
	],
	[
		"a response",
		"/v1/responses",
		(file_id: string) => ({
			model: "openai/gpt-4o-mini",
			input: [{ role: "user", content: [{ type: "input_file", file_id }] }],
		}),
	],
	[
		"an edit of a picture",
		"/v1/images/edits",
		(file_id: string) => ({ model: "openai/gpt-image-1", prompt: "x", images: [{ file_id }] }),
	],
	[
		"a list of files",
		"/v1/images/edits",
		(file_id: string) => ({ model: "openai/gpt-image-1", prompt: "x", a: { b: [{ file_ids: [file_id] }] } }),
	],
])("%s can't name a file of another key's, however it is written", async (_, path, body) => {
	const { id } = await upload(alice, "x");
	upstream.received.length = 0;
	const plain = JSON.stringify(body(id));
	const escaped = plain.replace("file_id", "\\u0066ile_id");
	// A server may take the first of two fields of one name, and a parser here has the last.
	const twice = plain.replace(/("file_ids?"):(\[?"[^"]*"\]?)/, '$1:$2,$1:"of-nobody"');
	expect(twice).toContain("of-nobody");
	const spaced = plain.replace(/(file_ids?"):/, "$1\n :");
	for (const text of [plain, escaped, twice, spaced]) {
		const headers = { authorization: "Bearer bob-key-1", "content-type": "application/json" };
		const refused = await fetch(server.url + path, { method: "POST", headers, body: text });
		expect(refused.status).toBe(404);
		expect(JSON.parse(await refused.text()).error.code).toBe("object_not_found");
	}
	expect(upstream.received).toEqual([]);
	expect(await (await send("alice", "POST", path, body(id))).text()).not.toContain("object_not_found");
});
