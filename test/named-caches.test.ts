/** A cache that a call names is one account's alone: its calls find the key that has it, and the others are no worse for not having it. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import { errorObject as anthropicError } from "../src/dialects/anthropic-messages/messages-error.ts";
import { askedMethod } from "../src/dialects/gemini/asked-method.ts";
import { errorObject as googleError } from "../src/dialects/gemini/error.ts";
import { geminiFor } from "../src/dialects/gemini/gemini-dialect.ts";
import type { Call } from "../src/openai/call.ts";
import type { Failure } from "../src/providers/failure.ts";
import { PROMPT_CACHES, type PromptCacheRules } from "../src/providers/prompt-cache.ts";
import type { Target } from "../src/providers/provider.ts";
import { errorOfAttempt } from "../src/proxy/cached-calls.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";

const google = startFaultUpstream();
afterAll(() => google.stop());
const KEYS = ["key-1", "key-2", "key-3"];
const used = () => google.received.map(({ headers }) => headers.get("x-goog-api-key"));
const good = answers(
	"200 OK",
	JSON.stringify({
		candidates: [{ content: { role: "model", parts: [{ text: "hi" }] }, finishReason: "STOP", index: 0 }],
		usageMetadata: { promptTokenCount: 9, candidatesTokenCount: 1, totalTokenCount: 10, cachedContentTokenCount: 5 },
	}),
);
const NOT_FOUND = { code: 403, message: "CachedContent not found (or permission denied)", status: "PERMISSION_DENIED" };
const refused = answers("403 Forbidden", JSON.stringify({ error: NOT_FOUND }));

let router: Pipeline;
beforeEach(() => {
	router = pipeline({ config: { providers: { gemini: { type: "gemini", base_url: google.origin, api_keys: KEYS } } } });
	// The second project alone has it.
	google.run((connection) => {
		const { headers, body } = connection.request;
		return (body.includes("cachedContents/x") && headers.get("x-goog-api-key") !== KEYS[1] ? refused : good)(
			connection,
		);
	});
});
const ask = async (more: object) => {
	const messages = [{ role: "user", content: "hi" }];
	const answer = await router.send({ model: "gemini/gemini-3-flash", messages, ...more });
	await answer.text();
	return answer.status;
};
const named = { gemini: { cachedContent: "cachedContents/x" } };

test("calls that name it are asked of the key that has it, once that is known", async () => {
	for (let call = 0; call < 4; call++) expect(await ask(named)).toBe(200);
	expect(used()).toEqual([KEYS[0], KEYS[1], KEYS[1], KEYS[1], KEYS[1]] as string[]);
});

test("a key that has it not is in use for all other calls", async () => {
	await ask(named);
	google.run(good);
	for (let call = 0; call < 3; call++) expect(await ask({})).toBe(200);
	expect(used().sort()).toEqual(KEYS);
	expect([...router.context.state.keysOut(router.snapshot.catalog.entries)]).toEqual([]);
});

/** The first key's limit is used up; the others have not the cache. */
const usedUp = (key: string | undefined) =>
	google.run((connection) =>
		(connection.request.headers.get("x-goog-api-key") === key ? exhausted : refused)(connection),
	);
const EXHAUSTED = {
	...{ code: 429, message: "Quota exceeded", status: "RESOURCE_EXHAUSTED" },
	details: [{ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "40s" }],
};
const exhausted = answers("429 Too Many Requests", JSON.stringify({ error: EXHAUSTED }));
const sent = async () => {
	const messages = [{ role: "user", content: "hi" }];
	return router.send({ model: "gemini/gemini-3-flash", messages, ...named });
};

test("a call whose key has used up its limit is told when to come again, and is asked of no key that can't answer", async () => {
	await ask(named);
	usedUp(KEYS[1]);
	for (const calls of [1, 2]) {
		const answer = await sent();
		expect([answer.status, answer.headers.get("retry-after")]).toEqual([429, "40"]);
		// The second call finds the key cooling down.
		expect(used()).toEqual(Array(calls).fill(KEYS[1]!));
	}
	google.run(good);
	expect(await ask({})).toBe(200);
	expect(used().at(-1)).not.toBe(KEYS[1]!);
});

test("a call is not told that there is none while the limit of a key is used up that may have it", async () => {
	usedUp(KEYS[0]);
	const answer = await sent();
	expect([answer.status, answer.headers.get("retry-after")]).toEqual([429, "40"]);
	expect(used()).toEqual(KEYS);
});

test("one that no key has is not found, and all keys stay in use", async () => {
	google.run(refused);
	const answer = await sent();
	const { error } = (await answer.json()) as { error: { type: string; param: string; message: string } };
	expect([answer.status, error.type, error.param]).toEqual([404, "invalid_request_error", "cachedContent"]);
	expect(error.message).toStartWith("gemini has no cache of that name for the router's keys");
	expect(used()).toEqual(KEYS);
	google.run(good);
	expect(await ask({})).toBe(200);
	expect([...router.context.state.keysOut(router.snapshot.catalog.entries)]).toEqual([]);
});

test("a call in Google's own words names it, too", () => {
	const contents = [{ role: "user", parts: [{ text: "hi" }] }];
	const sent = Buffer.from(JSON.stringify({ contents, cachedContent: "cachedContents/x" }));
	const url = "http://x/v1beta/models/gemini-3-flash:generateContent";
	const { facts } = geminiFor(askedMethod(url)).parse("chat", sent);
	expect([facts.namedCache?.(), facts.history?.()]).toEqual(["cachedContents/x", [JSON.stringify(contents)]]);
});

test("that no key has it is said in the words of each wire, and of no other vendor", () => {
	const call = { facts: { namedCache: () => "cachedContents/x" } } as unknown as Call;
	const failure: Failure = { kind: "auth", status: 403, message: "it is not there" };
	const at = (rules: PromptCacheRules) =>
		({ provider: { name: "p", keySetting: "KEY", promptCache: { rules, scope: "" } } }) as unknown as Target;
	const error = errorOfAttempt(call, failure, at(PROMPT_CACHES.gemini!), { usedUp: undefined });
	expect([googleError(error).status, anthropicError(error).type]).toEqual(["NOT_FOUND", "not_found_error"]);
	expect(errorOfAttempt(call, failure, at(PROMPT_CACHES.openai!), { usedUp: undefined }).errorCode).toBe(
		"upstream_auth",
	);
});
