/**
 * What a key has made is out of every other key's reach: each route that names a file, a batch, a stored response or a part of one, or a call behind
 * which its model's thoughts are held, by each kind of key. What such a key is told is what it is told of an id that nobody has.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { ROUTES } from "../src/api/routes.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { startFileUpstream } from "./kit/file-upstream.ts";
import { connectSocket } from "./kit/responses-socket.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { startStrictClaude } from "./kit/strict-claude.ts";

const ADMIN = "admin-key-of-the-test";
const AGENT = "agent-token-of-the-test";
/** What is in everything that a key makes here. */
const SECRET = "the owner's own words";
const files = startFileUpstream();
const claude = startStrictClaude();
let router: RunningRouter;
/** By who presents them; undefined presents none. */
const secrets = new Map<string, string | undefined>();

const at = (path: string, secret: string | undefined, method = "GET", body?: Json | FormData) =>
	fetch(router.url + path, {
		method,
		headers: {
			...(secret === undefined ? {} : { authorization: `Bearer ${secret}` }),
			...(body && !(body instanceof FormData) ? { "content-type": "application/json" } : {}),
		},
		...(body ? { body: body instanceof FormData ? body : JSON.stringify(body) } : {}),
	});
const sent = async (path: string, who: string, method?: string, body?: Json | FormData): Promise<Loose> => {
	const answer = await at(path, secrets.get(who), method, body);
	const text = await answer.text();
	if (answer.status !== 200) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
	return JSON.parse(text) as Loose;
};

/** What a key has made. */
interface Made {
	readonly file: string;
	readonly batch: string;
	readonly response: string;
	/** A part of the response. */
	readonly item: string;
}
const NOBODYS: Made = {
	...{ file: "file-of-nobody", batch: "batch_of_nobody" },
	...{ response: "resp_01a22a83033f77009963b4c4ef0fe29d", item: "msg_01a22a83033f77009963b4c4ef0fe29d_0" },
};

async function made(who: string): Promise<Made> {
	const form = new FormData();
	form.set("purpose", "batch");
	const line = { custom_id: SECRET, method: "POST", url: "/v1/chat/completions", body: { model: "gpt-4o-mini" } };
	form.set("file", new File([`${JSON.stringify(line)}\n`], "in.jsonl"));
	const { id: file } = await sent("/v1/files", who, "POST", form);
	const { id: batch } = await sent("/v1/batches", who, "POST", batchOf(file));
	const { id: response, output } = await sent("/v1/responses", who, "POST", { model: "dummy", input: SECRET });
	return { file, batch, response, item: output[0].id };
}

const batchOf = (input_file_id: string) => ({
	...{ input_file_id, endpoint: "/v1/chat/completions", completion_window: "24h" },
});
const user = (content: unknown) => ({ role: "user", content });
const picture = (file_id: string) => ({ type: "input_file", file_id });
const reference = (id: string) => ({ type: "item_reference", id });

/** How an object may be named: in the path where that has a place for it, else in the body. */
interface Row {
	readonly name: string;
	readonly method: string;
	/** As the table of routes has it. */
	readonly path: string;
	readonly id?: keyof Made;
	readonly body?: (of: Made) => Json;
	/** Of an id that nobody has the router knows nothing: it goes to its provider. */
	readonly isProviders?: true;
}
const row = (method: string, path: string, name: string, more: Partial<Row>): Row => ({ method, path, name, ...more });
const chat = (file_id: string) => ({ model: "gpt-4o-mini", messages: [user([{ type: "file", file: { file_id } }])] });
const TABLE: readonly Row[] = [
	row("GET", "/v1/files/:id", "a file", { id: "file" }),
	row("GET", "/v1/files/:id/content", "a file's content", { id: "file" }),
	row("DELETE", "/v1/files/:id", "a file", { id: "file" }),
	row("GET", "/v1/batches/:id", "a batch", { id: "batch" }),
	row("POST", "/v1/batches/:id/cancel", "a batch", { id: "batch" }),
	row("POST", "/v1/batches", "a batch of a file", { body: ({ file }) => batchOf(file) }),
	row("GET", "/v1/responses/:id", "a response", { id: "response" }),
	row("GET", "/v1/responses/:id/input_items", "a response's input", { id: "response" }),
	row("POST", "/v1/responses/:id/cancel", "a response", { id: "response" }),
	row("DELETE", "/v1/responses/:id", "a response", { id: "response" }),
	...["/v1/responses", "/v1/responses/compact", "/v1/responses/input_tokens"].flatMap((path) => [
		row("POST", path, "what goes on from a response", {
			body: ({ response }) => ({ model: "dummy", input: "And?", previous_response_id: response }),
		}),
		row("POST", path, "an item of a response", {
			body: ({ item }) => ({ model: "dummy", input: [reference(item), user("And?")] }),
		}),
	]),
	row("POST", "/v1/responses", "a file in a response", {
		body: ({ file }) => ({ model: "gpt-4o-mini", input: [user([picture(file)])] }),
		isProviders: true,
	}),
	row("POST", "/v1/responses/compact", "a file in what is compacted", {
		body: ({ file }) => ({ model: "gpt-4o-mini", input: [user([picture(file)])] }),
		isProviders: true,
	}),
	row("POST", "/v1/chat/completions", "a file in a chat", { body: ({ file }) => chat(file), isProviders: true }),
	row("POST", "/v1/messages", "a file in a message", {
		body: ({ file }) => ({
			...{ model: "gpt-4o-mini", max_tokens: 9 },
			messages: [user([{ type: "document", source: { type: "file", file_id: file } }])],
		}),
		isProviders: true,
	}),
	row("POST", "/v1/images/edits", "a file in an edit of a picture", {
		body: ({ file }) => ({ model: "openai/gpt-image-1", prompt: "x", images: [{ file_id: file }] }),
		isProviders: true,
	}),
];

/** Whoever is let in, and has not made it. */
const OTHERS = ["another key", "a key of the same team", "a key for some models", "a key with a budget"];
/** Whoever is not. */
const STRANGERS = ["no key", "a key that is none", "an admin's key", "an agent's token"];

beforeAll(async () => {
	router = await startRouter({
		config: {
			keys: [
				{ name: "owner", key: "owner-key-1", team: "red" },
				{ name: "another", key: "another-key-1", team: "blue" },
				{ name: "mate", key: "mate-key-1", team: "red" },
				{ name: "some", key: "some-key-1", models: ["dummy", "gpt-*", "openai/*", "claude-*"] },
				{ name: "paid", key: "paid-key-1", budget: { usd: 5, per: "day" } },
			],
			admin: { keys: [{ name: "ops", key: ADMIN }] },
			providers: {
				openai: { base_url: files.origin, api_key: "k", model_routing: false },
				anthropic: { base_url: claude.origin, api_key: "sk-ant-strict" },
			},
		},
		env: { ROUTER_AGENT_TOKEN: AGENT },
	});
	for (const [who, secret] of [
		["the owner", "owner-key-1"],
		[OTHERS[0]!, "another-key-1"],
		[OTHERS[1]!, "mate-key-1"],
		[OTHERS[2]!, "some-key-1"],
		[OTHERS[3]!, "paid-key-1"],
		[STRANGERS[0]!, undefined],
		[STRANGERS[1]!, "owner-key-12"],
		[STRANGERS[2]!, ADMIN],
		[STRANGERS[3]!, AGENT],
	] as const)
		secrets.set(who, secret);
});
afterAll(() => Promise.all([router.stop(), files.stop(), claude.stop()]));

/** A name that no key has had. */
const newName = () => `passing-${++names}`;
let names = 0;
/** A key that is made while the router runs. */
async function created(name: string): Promise<string> {
	const answer = await at("/admin/keys", ADMIN, "POST", { name });
	expect(answer.status).toBe(201);
	return ((await answer.json()) as Loose)["secret"];
}
const revoke = async (name: string) => expect((await at(`/admin/keys/${name}/revoke`, ADMIN, "POST")).status).toBe(200);

const asked = async ({ method, path, id, body }: Row, of: Made, secret: string | undefined) => {
	const answer = await at(path.replace(":id", id ? of[id] : ""), secret, method, body?.(of));
	return { status: answer.status, text: await answer.text() };
};
const withoutIds = (text: string, of: Made) =>
	Object.values(of)
		.reduce((left, id) => left.replaceAll(id, "ID"), text)
		.replace(/req_[\w-]+/g, "REQ");

/** How the router says that there is none, in the words of either API. */
const MISSING = /(?:object|response)_not_found|This key has no|no item of this id is stored here for this key/;

/** Says what it says of what nobody has, and nothing that is the owner's. */
async function expectRefused(each: Row, of: Made, secret: string | undefined): Promise<void> {
	files.received.length = 0;
	const { status, text } = await asked(each, of, secret);
	expect(text).not.toContain(SECRET);
	expect([400, 404]).toContain(status);
	expect(text).toMatch(MISSING);
	expect(files.received).toEqual([]);
	if (each.isProviders) return;
	const nobodys = await asked(each, NOBODYS, secret);
	expect([nobodys.status, withoutIds(nobodys.text, NOBODYS)]).toEqual([status, withoutIds(text, of)]);
}

test("each route that names an object is in this table", () => {
	const named = ROUTES.filter(({ path }) => path.includes(":id")).map(({ method, path }) => `${method} ${path}`);
	expect(named.length).toBeGreaterThan(8);
	expect(TABLE.map(({ method, path }) => `${method} ${path}`)).toEqual(expect.arrayContaining(named));
});

describe.each(TABLE.map((each) => [`${each.method} ${each.path}`, each.name, each] as const))(
	"%s, %s",
	(_, __, each) => {
		test.each(OTHERS)("is out of reach: %s", async (who) => {
			const of = await made("the owner");
			await expectRefused(each, of, secrets.get(who));
			// It is there.
			const own = await asked(each, of, secrets.get("the owner"));
			expect(own.text).not.toMatch(MISSING);
		});

		test.each(STRANGERS)("is for nobody without a key of the API: %s", async (who) => {
			const of = await made("the owner");
			const { status, text } = await asked(each, of, secrets.get(who));
			expect(status).toBe(401);
			expect(text).not.toContain(SECRET);
		});

		test("is nobody's any more once its key is revoked, not even a key's that is given the same name", async () => {
			const name = newName();
			const secret = await created(name);
			secrets.set(name, secret);
			const of = await made(name);
			await revoke(name);
			expect((await asked(each, of, secret)).status).toBe(401);
			await expectRefused(each, of, await created(name));
		});
	},
);

test("a key whose secret is replaced reaches what it has made", async () => {
	const name = newName();
	secrets.set(name, await created(name));
	const of = await made(name);
	const answer = await at(`/admin/keys/${name}/rotate`, ADMIN, "POST", {});
	const { secret } = (await answer.json()) as Loose;
	for (const path of [`/v1/files/${of.file}/content`, `/v1/responses/${of.response}/input_items`]) {
		expect(await (await at(path, secret)).text()).toContain(SECRET);
	}
});

const FRAMES: readonly (readonly [string, (of: Made) => Json])[] = [
	[
		"what goes on from a response",
		({ response }) => ({ model: "dummy", input: "And?", previous_response_id: response }),
	],
	["an item of a response", ({ item }) => ({ model: "dummy", input: [reference(item), user("And?")] })],
	["a file", ({ file }) => ({ model: "gpt-4o-mini", input: [user([picture(file)])] })],
];
const bearer = (secret: string | undefined): Record<string, string> =>
	secret === undefined ? {} : { authorization: `Bearer ${secret}` };

describe.each(FRAMES)("a WebSocket, %s", (_, body) => {
	test.each(OTHERS)("is out of reach: %s", async (who) => {
		const of = await made("the owner");
		files.received.length = 0;
		const client = await connectSocket(router.url, bearer(secrets.get(who)));
		const text = JSON.stringify(await client.create(body(of)));
		expect(text).toMatch(MISSING);
		expect(text).not.toContain(SECRET);
		expect(files.received).toEqual([]);
		client.socket.close();
	});

	test("is its key's", async () => {
		const client = await connectSocket(router.url, bearer(secrets.get("the owner")));
		const text = JSON.stringify(await client.create(body(await made("the owner"))));
		expect(text).not.toMatch(MISSING);
		client.socket.close();
	});

	test("is nobody's any more once its key is revoked, though the connection is open", async () => {
		const name = newName();
		const secret = await created(name);
		secrets.set(name, secret);
		const client = await connectSocket(router.url, bearer(secret));
		const of = await made(name);
		await revoke(name);
		const [event] = await client.create(body(of));
		expect(event).toMatchObject({ type: "error", status: 401 });
		client.socket.close();
	});
});

test.each(STRANGERS)("a WebSocket is for nobody without a key of the API: %s", async (who) => {
	await expect(connectSocket(router.url, bearer(secrets.get(who)))).rejects.toThrow();
	const { status } = await asked(row("GET", "/v1/responses", "", {}), NOBODYS, secrets.get(who));
	expect(status).toBe(401);
});

/** A turn of a plain client's, which sends the call of a tool back and what that gave, but no thoughts. */
const look = { name: "look", description: "Looks.", parameters: { type: "object", properties: {} } };
const CLAUDE = "claude-opus-4-1";
const TURNS: readonly (readonly [string, (id: string) => Json])[] = [
	[
		"/v1/chat/completions",
		(id) => ({
			...{ model: CLAUDE, reasoning_effort: "low", tools: [{ type: "function", function: look }] },
			messages: [
				user("Where?"),
				{ role: "assistant", tool_calls: [{ id, type: "function", function: { name: "look", arguments: "{}" } }] },
				{ role: "tool", tool_call_id: id, content: "Here." },
			],
		}),
	],
	[
		"/v1/responses",
		(id) => ({
			...{ model: CLAUDE, reasoning: { effort: "low" }, tools: [{ type: "function", ...look }] },
			input: [
				user("Where?"),
				{ type: "function_call", call_id: id, name: "look", arguments: "{}" },
				{ type: "function_call_output", call_id: id, output: "Here." },
			],
		}),
	],
	[
		"/v1/messages",
		(id) => ({
			...{ model: CLAUDE, max_tokens: 2000, tools: [{ name: "look", input_schema: look.parameters }] },
			messages: [
				user("Where?"),
				{ role: "assistant", content: [{ type: "tool_use", id, name: "look", input: {} }] },
				user([{ type: "tool_result", tool_use_id: id, content: "Here." }]),
			],
		}),
	],
];

describe.each(TURNS)("what a model has thought before it called a tool, %s", (path, turn) => {
	/** Has it think for a key, and goes on with another one. @returns what Claude was told then */
	async function toldAfter(who: string, next: () => Promise<string | undefined>): Promise<string> {
		claude.play([
			[
				{ type: "thinking", thinking: SECRET },
				{ type: "tool_use", id: "toolu_1", name: "look", input: {} },
			],
			[{ type: "text", text: "Here it is." }],
		]);
		const first = turn("toolu_1");
		const asking = { ...first, messages: [user("Where?")], input: undefined };
		await sent("/v1/chat/completions", who, "POST", { ...TURNS[0]![1]("toolu_1"), messages: asking.messages });
		const answer = await at(path, await next(), "POST", first);
		expect([answer.status, claude.bodies.length]).toEqual([200, 2]);
		expect(await answer.text()).not.toContain(SECRET);
		return JSON.stringify(claude.bodies[1]);
	}

	test.each(OTHERS)("is out of reach: %s", async (who) => {
		expect(await toldAfter("the owner", async () => secrets.get(who))).not.toContain(SECRET);
	});

	test("is out of reach of a key that is given the name of a revoked one", async () => {
		const name = newName();
		secrets.set(name, await created(name));
		const told = await toldAfter(name, async () => {
			await revoke(name);
			return created(name);
		});
		expect(told).not.toContain(SECRET);
	});

	// Claude gets its own clients' bytes: whoever speaks its API keeps its thoughts.
	if (path === "/v1/messages") return;
	test("goes back to the model with its own key's calls", async () => {
		expect(await toldAfter("the owner", async () => secrets.get("the owner"))).toContain(SECRET);
	});
});
