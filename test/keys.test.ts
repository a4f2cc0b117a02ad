/** Who may call, and what: keys, the key made on a first start, and what a router without keys demands. */
import { afterAll, beforeAll, describe, expect, mock, test } from "bun:test";
import * as crypto from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generatedKey } from "../src/accounts/auth/generated-key.ts";
import { createKeyAuth, hashKey } from "../src/accounts/auth/keys.ts";
import { listenProblem } from "../src/accounts/auth/listen-policy.ts";
import { RouterError } from "../src/errors.ts";
import { clientError } from "./kit/contract.ts";
import { postBytes, rawClient } from "./kit/raw-client.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const auth = createKeyAuth([
	{ name: "one", key: "key-of-one", models: ["*"] },
	{ name: "two", key: "key-of-two", models: ["fast", "local/*", "gpt-*-mini", "a.b"] },
]);
const admit = (headers: Record<string, string>) => auth.authenticate(new Headers(headers));

/** What authentication says to these headers; never the key. */
function refusal(headers: Record<string, string>): string {
	try {
		admit(headers);
	} catch (thrown) {
		if (thrown instanceof RouterError && thrown.status === 401) return thrown.message;
		throw thrown;
	}
	throw new Error("it was admitted");
}

describe("no key, no call", () => {
	test.each([
		{},
		{ authorization: "" },
		{ authorization: "Bearer" },
		{ authorization: "Bearer " },
		{ authorization: "Basic key-of-one" },
		{ authorization: "key-of-one" },
		{ "x-api-key": "" },
		{ cookie: "key=key-of-one" },
	])("without one the header is named: %j", (headers) => {
		expect(refusal(headers)).toContain("Authorization: Bearer");
	});

	test.each([
		{ authorization: "Bearer key-of-on" },
		{ authorization: "Bearer key-of-one2" },
		{ authorization: "Bearer KEY-OF-ONE" },
		{ authorization: "Bearer wrong", "x-api-key": "key-of-one" },
		{ "x-api-key": "wrong" },
		{ "api-key": "wrong" },
		{ "x-api-key": "wrong", "api-key": "key-of-one" },
		{ "api-key": "wrong", "x-goog-api-key": "key-of-one" },
		{ "x-goog-api-key": "wrong" },
	])("a wrong one is refused and not repeated: %j", (headers) => {
		const message = refusal(headers);
		expect(message).toContain("not known here");
		expect(message).not.toContain("wrong");
	});
});

describe("a refused key that was pasted with something around it, or is none, is told so without being repeated", () => {
	test.each([
		[{ authorization: 'Bearer "key-of-one"' }, "This API key is not known here: it has quotes around it."],
		[
			{ "api-key": "Bearer key-of-one" },
			"This API key is not known here: it is a header (`Bearer …` or the like): leave all but the key out.",
		],
		[
			{ authorization: "Bearer ${ROUTER_KEY}" },
			"This API key is not known here: it is a reference (${…}) that nothing has resolved: put the value itself there.",
		],
		[
			{ authorization: "Bearer nope", "api-key": "key-of-one" },
			"This API key is not known here (of authorization, api-key the first counts).",
		],
		[{ "x-api-key": `"${"k".repeat(600)}"` }, "This API key is not known here."],
	] as [Record<string, string>, string][])("%j", (headers, message) => expect(refusal(headers)).toBe(message));
});

test.each([
	{ authorization: "Bearer key-of-one" },
	{ authorization: "bearer   key-of-one " },
	{ "x-api-key": "key-of-one" },
	{ "api-key": "key-of-one" },
	{ "x-goog-api-key": "key-of-one" },
	{ "x-api-key": "", "api-key": "key-of-one" },
	{ authorization: "Bearer key-of-one", "api-key": "key-of-two" },
	{ authorization: "Bearer", "api-key": "key-of-one" },
	{ authorization: "Basic abc", "x-api-key": "key-of-one" },
])("a key is taken from any header that clients use: %j", (headers) => {
	expect(admit(headers)?.name).toBe("one");
});

test.each(["key-of-a", "key-of-c", "neither"])(
	"every key is compared in constant time, whichever matches: %s",
	async (key) => {
		const { timingSafeEqual } = crypto;
		const compared = mock((a: NodeJS.ArrayBufferView, b: NodeJS.ArrayBufferView) => timingSafeEqual(a, b));
		await mock.module("node:crypto", () => ({ ...crypto, timingSafeEqual: compared }));
		try {
			const three = createKeyAuth(["a", "b", "c"].map((name) => ({ name, key: `key-of-${name}`, models: ["*"] })));
			const admitted = () => three.authenticate(new Headers({ authorization: `Bearer ${key}` }))?.name;
			if (key === "neither") expect(admitted).toThrow(RouterError);
			else expect(admitted()).toBe(key.slice(-1));
			expect(compared.mock.calls.map(([a, b]) => [a.byteLength, b.byteLength])).toEqual([
				[32, 32],
				[32, 32],
				[32, 32],
			]);
		} finally {
			await mock.module("node:crypto", () => ({ ...crypto, timingSafeEqual }));
		}
	},
);

test("without any key everyone may call, and nobody has a name", () => {
	const open = createKeyAuth([]);
	expect([open.isKeyless, open.authenticate(new Headers())]).toEqual([true, undefined]);
});

describe("patterns", () => {
	test.each([
		["fast", true],
		["faster", false],
		["local/", true],
		["local/Qwen/Qwen3-8B", true],
		["xlocal/a", false],
		["gpt-5-mini", true],
		["gpt-5", false],
		["gpt-5\n-mini", true],
		["a.b", true],
		["axb", false],
		["", false],
		["FAST", false],
	])("%j: %p", (model, may) => expect(admit({ "x-api-key": "key-of-two" })?.mayUse(model)).toBe(may));

	test("many stars cost no time", () => {
		const starry = createKeyAuth([{ name: "s", key: "key-of-s", models: [`${"a*".repeat(12)}b`] }]);
		expect(starry.authenticate(new Headers({ "x-api-key": "key-of-s" }))?.mayUse("a".repeat(512))).toBe(false);
	});
});

describe("the key made on the first start", () => {
	const directory = mkdtempSync(join(tmpdir(), "key-"));
	afterAll(() => rmSync(directory, { recursive: true, force: true }));

	test("is shown once, is valid ever after, and only its hash is stored, for the owner alone", () => {
		const first = generatedKey(join(directory, "new", "data"));
		expect(first.secret).toMatch(/^rk-[\w-]{43}$/);
		expect(first.keep()).toBeUndefined();
		const again = generatedKey(join(directory, "new", "data"));
		expect([again.hash, again.secret]).toEqual([hashKey(first.secret!), undefined]);
		const file = join(directory, "new", "data", "generated-key.sha256");
		expect(readdirSync(join(directory, "new", "data"))).toEqual(["generated-key.sha256"]);
		expect(readFileSync(file, "utf8")).not.toContain(first.secret!);
		expect(statSync(file).mode & 0o777).toBe(0o600);
		const opened = createKeyAuth([], again.hash);
		expect(opened.isKeyless).toBe(false);
		expect(opened.authenticate(new Headers({ "x-api-key": first.secret! }))?.mayUse("anything")).toBe(true);
	});

	test("is not used up by a start that failed before it could be shown", () => {
		const unshown = generatedKey(join(directory, "failed"));
		expect(generatedKey(join(directory, "failed")).secret).not.toBe(unshown.secret!);
	});

	test("is made anew where the file holds none", () => {
		writeFileSync(join(directory, "generated-key.sha256"), "not a hash\n");
		const { secret, keep } = generatedKey(directory);
		expect([typeof secret, keep()]).toEqual(["string", undefined]);
		expect(generatedKey(directory).secret).toBeUndefined();
	});

	test("is made and told to be lost where nothing can be written", () => {
		writeFileSync(join(directory, "a-file"), "");
		const { secret, hash, keep } = generatedKey(join(directory, "a-file", "data"));
		const problem = keep();
		expect(hash).toEqual(hashKey(secret!));
		expect(problem).toBeString();
		expect(problem).not.toContain(secret!);
	});
});

test.each([
	["127.0.0.1", false, false, true],
	["::1", false, false, true],
	["localhost", false, false, true],
	["0.0.0.0", false, false, false],
	["::", false, false, false],
	["192.168.1.5", false, false, false],
	["127.0.0.1.example", false, false, false],
	["0.0.0.0", true, false, true],
	["0.0.0.0", false, true, true],
])("listening on %s, keys %p, insecure %p: %p", (host, hasKeys, isInsecure, may) => {
	const problem = listenProblem({ host, hasKeys, isInsecure, hint: "set KEYS" });
	expect(problem === undefined).toBe(may);
	if (!may) expect(problem).toMatch(/set KEYS.*--insecure/);
});

const CHAT = "/v1/chat/completions";
const BODY = JSON.stringify({ model: "dummy", messages: [{ role: "user", content: "hi" }] });

describe("over HTTP, with keys", () => {
	let router: RunningRouter;
	beforeAll(async () => {
		router = await startRouter({
			env: { OPENAI_API_KEY: "sk-of-the-router", OPENAI_BASE_URL: "http://127.0.0.1:9" },
			config: {
				keys: [
					{ name: "all", key: "key-of-all" },
					{ name: "some", key: "key-of-some", models: ["fast", "openai/*"] },
				],
				models: [{ name: "fast", targets: ["dummy"] }],
			},
		});
	});
	afterAll(() => router.stop());
	const ask = async (model: string, headers: Record<string, string>, path = CHAT) => {
		const body = JSON.stringify({ model, messages: [{ role: "user", content: "hi" }] });
		const answer = await fetch(router.url + path, {
			method: "POST",
			headers: { "content-type": "application/json", ...headers },
			body,
		});
		return { status: answer.status, text: await answer.text() };
	};

	test.each([CHAT, "/v1/completions", "/v1/embeddings"])(
		"no body is read before the key is known: %s",
		async (path) => {
			const { status, text } = await ask("dummy", {}, path);
			expect([status, clientError(text).code]).toEqual([401, "invalid_api_key"]);
		},
	);

	test.each(["/v1/models", "/v1/models/dummy"])("%s needs one, too", async (path) => {
		expect((await fetch(router.url + path)).status).toBe(401);
	});

	test.each(["/health/live", "/health/ready"])("%s needs none", async (path) => {
		expect((await fetch(router.url + path)).status).toBe(200);
	});

	test("a restricted key may use what its patterns name, asked for or resolved, and nothing else", async () => {
		const some = { "x-api-key": "key-of-some" };
		expect((await ask("fast", some)).status).toBe(200);
		const refused = await ask("dummy", some);
		expect([refused.status, clientError(refused.text).code]).toEqual([403, "model_not_allowed"]);
		expect((await ask("claude-sonnet-5", some)).status).toBe(403);
		// Allowed as openai/gpt-5: it fails further on, since nothing listens there.
		expect((await ask("gpt-5", some)).status).toBe(502);
		expect((await ask("dummy", { "x-api-key": "key-of-all" })).status).toBe(200);
	});

	test("a page of another origin, and any Host, are no matter where there are keys", async () => {
		const headers = { authorization: "Bearer key-of-all", origin: "https://evil.example", host: "router.example" };
		expect((await ask("dummy", headers)).status).toBe(200);
	});

	test("the key is in no log and no metric", async () => {
		// Lines are written in batches.
		for (let look = 0; look < 100 && !router.output().includes('"key":"some"'); look++) await Bun.sleep(50);
		expect(router.output()).toContain('"key":"some"');
		expect(router.output()).not.toContain("key-of-");
		expect(await (await fetch(`${router.url}/metrics`)).text()).not.toContain("key-of-");
	});
});

describe("over HTTP, without keys", () => {
	let router: RunningRouter;
	beforeAll(async () => {
		router = await startRouter({ env: { CORS_ORIGINS: "https://chat.example" } });
	});
	afterAll(() => router.stop());
	/** The status line and body for these headers, sent as they are. */
	const ask = async (headers: Record<string, string>) => {
		const client = await rawClient(router.url, postBytes(CHAT, BODY, headers));
		const text = await client.until(/\r\n\r\n.*\}/s);
		client.leave();
		return { status: Number(text.slice(9, 12)), code: /"code":"(\w+)"/.exec(text)?.[1] };
	};

	test.each([
		[{ host: "evil.example" }, 403, "foreign_host"],
		[{ host: "192.168.1.5:8000" }, 403, "foreign_host"],
		[{ host: "127.0.0.1.evil.example" }, 403, "foreign_host"],
		[{ host: "localhost.evil.example" }, 403, "foreign_host"],
		[{ origin: "https://evil.example" }, 403, "foreign_origin"],
		[{ origin: "null" }, 403, "foreign_origin"],
		[{ origin: "http://localhost.evil.example" }, 403, "foreign_origin"],
		[{ "sec-fetch-site": "cross-site" }, 403, "foreign_origin"],
		[{ "content-type": "text/plain" }, 415, "unsupported_media_type"],
		[{ "content-type": "" }, 415, "unsupported_media_type"],
		[{ "content-type": "multipart/form-data; boundary=x" }, 415, "unsupported_media_type"],
	] as [Record<string, string>, number, string][])(
		"no web page may use it by stealth: %j",
		async (headers, status, code) => {
			expect(await ask(headers)).toEqual({ status, code });
		},
	);

	test.each([
		{ host: "localhost:8000" },
		{ host: "LOCALHOST" },
		{ host: "[::1]:8000" },
		{ host: "127.0.0.1" },
		{ origin: "http://localhost:3000" },
		{ origin: "https://chat.example" },
		{ "sec-fetch-site": "same-origin" },
	] as Record<string, string>[])("this machine's own programs and pages may: %j", async (headers) => {
		expect((await ask(headers)).status).toBe(200);
	});
});

test("standalone with a generated key: the router asks for it, its own agent beside it does not", async () => {
	const vllm = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		fetch: () => Response.json({ object: "list", data: [{ id: "qwen", object: "model" }] }),
	});
	const router = await startRouter({
		args: ["--standalone"],
		env: { ROUTER_GENERATE_KEY: "true", AGENT_PORT: "0", VLLM_BASE_URL: `http://127.0.0.1:${vllm.port}` },
	});
	try {
		const url = /router \S+ listening on (\S+)/.exec(router.output())?.[1];
		const secret = /API key +(rk-[\w-]{43})/.exec(router.output())?.[1];
		expect(secret).toBeString();
		expect((await fetch(`${url}/v1/models`)).status).toBe(401);
		// The agent registers once both listen.
		const listed = async () => (await fetch(`${url}/v1/models`, { headers: { "x-api-key": secret! } })).text();
		await until(async () => (await listed()).includes('"local/qwen"'), "the agent's model in the router's list");
	} finally {
		await router.stop();
		await vllm.stop(true);
	}
});
