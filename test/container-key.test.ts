/** The key of each container's vLLM. */
import { expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { containerKey, newKeyWord } from "../src/agent/models/container-key.ts";

const AGENT = "0123456789abcdef0123456789abcdef";

test("is another one with each start, and the same for who finds its word again", () => {
	const words = Array.from({ length: 100 }, newKeyWord);
	const keys = words.map((word) => containerKey(AGENT, word));
	expect(new Set(keys).size).toBe(100);
	expect(words.map((word) => containerKey(AGENT, word))).toEqual(keys);
	expect(keys.every((key) => /^[\w-]{43}$/.test(key))).toBe(true);
});

test("is known to nobody who has only the word, or another container's key", () => {
	const word = newKeyWord();
	const key = containerKey(AGENT, word);
	expect(containerKey("another agent's own key", word)).not.toBe(key);
	expect(containerKey("", word)).not.toBe(key);
	expect(key).not.toContain(word);
	// HMAC (RFC 2104), as Node makes it.
	expect(key).toBe(createHmac("sha256", AGENT).update(word).digest("base64url"));
});

test("of a container that an older version started without a word is the agent's own", () => {
	expect(containerKey(AGENT, undefined)).toBe(AGENT);
});
