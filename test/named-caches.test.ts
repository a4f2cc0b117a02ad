/** A cache that a call names is one account's alone: its calls find the key that has it, and the others are no worse for not having it. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import { gemini } from "../src/dialects/gemini/gemini-dialect.ts";
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

test("one that no key has is refused, and all keys stay in use", async () => {
	google.run(refused);
	expect(await ask(named)).toBe(502);
	expect(used()).toEqual(KEYS);
	google.run(good);
	expect(await ask({})).toBe(200);
	expect([...router.context.state.keysOut(router.snapshot.catalog.entries)]).toEqual([]);
});

test("a call in Google's own words names it, too", () => {
	const contents = [{ role: "user", parts: [{ text: "hi" }] }];
	const sent = Buffer.from(JSON.stringify({ contents, cachedContent: "cachedContents/x" }));
	const url = "http://x/v1beta/models/gemini-3-flash:generateContent";
	const { facts } = gemini.parse("chat", gemini.withUrl!(url, sent));
	expect([facts.namedCache?.(), facts.history?.()]).toEqual(["cachedContents/x", [JSON.stringify(contents)]]);
});
