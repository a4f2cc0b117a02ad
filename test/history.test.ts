/** By what the next call of a conversation is known: its history, whatever clients change in it from one call to the next. */
import { describe, expect, test } from "bun:test";
import { anthropicMessages } from "../src/dialects/anthropic-messages/messages-dialect.ts";
import type { Dialect } from "../src/dialects/dialect.ts";
import { askedMethod } from "../src/dialects/gemini/asked-method.ts";
import { geminiFor } from "../src/dialects/gemini/gemini-dialect.ts";
import { openAiResponses } from "../src/dialects/openai-responses/index.ts";
import { type History, historyIn } from "../src/routing/history.ts";
import { historyOf } from "../src/routing/requirements.ts";
import { clientRequests } from "./kit/client-recordings.ts";
import type { Json } from "./kit/exchange.ts";

const user = (content: unknown) => ({ role: "user", content });
const assistant = (content: unknown) => ({ role: "assistant", content });
const MARK = { cache_control: { type: "ephemeral", ttl: "1h" } };
const block = (text: string, more: Json = {}) => ({ type: "text", text, ...more });

const of = (messages: readonly unknown[]) => historyIn([JSON.stringify(messages)]);
const spaced = (messages: readonly unknown[]) =>
	historyIn([
		JSON.stringify(messages, null, 1)
			.replace(/\n */g, " ")
			.replace(/([[{]) /g, "$1")
			.replace(/ ([\]}])/g, "$1"),
	]);
/** Whether a call is known as the next one of the conversation that had this prompt. */
const goesOn = (next: History, { whole }: History) => next.earlier.some((each) => Bun.deepEquals(each, whole));

describe("a call is not taken for the next one", () => {
	test.each([
		["where it says the same once more", [user("a")]],
		["where an earlier message is another one", [user("b"), assistant("b"), user("c")]],
		["where another came before", [user("0"), assistant("0"), user("a"), assistant("b"), user("c")]],
		["where only its beginning is the same", [user("a longer one"), assistant("b"), user("c")]],
	])("%s", (_, messages) => {
		expect(goesOn(of(messages), of([user("a")]))).toBe(false);
	});
});

describe("a call is known as the next one", () => {
	const next = (first: unknown) => [first, assistant("b"), user("c")];

	test.each([
		["a text", user("a"), user("a")],
		["a text that was a block as long as it was marked", user([block("a", MARK)]), user("a")],
		["a block that was marked", user([block("x"), block("a", MARK)]), user([block("x"), block("a")])],
		["a mark that stood first", user([{ ...MARK, ...block("a") }]), user([block("a")])],
		[
			"a result that was marked",
			user([{ type: "tool_result", content: "a", ...MARK }]),
			user([{ type: "tool_result", content: "a" }]),
		],
		["OpenAI's mark", user([block("a", { prompt_cache_breakpoint: { mode: "explicit" } })]), user("a")],
		[
			"a text with quotes, brackets and marks in it",
			user([block('"}]\\ "cache_control":{}', MARK)]),
			user('"}]\\ "cache_control":{}'),
		],
	])("%s", (_, before, after) => {
		expect(goesOn(of(next(after)), of([before]))).toBe(true);
		expect(goesOn(spaced(next(after)), spaced([before]))).toBe(true);
	});

	test("by its first prompt where the history was written anew, and by the last ones of a long one", () => {
		const turns = Array.from({ length: 50 }, (_, at) => [user(`u${at}`), assistant(`a${at}`)]).flat();
		const long = of([...turns, user("last")]);
		expect(goesOn(long, of([user("u0")]))).toBe(true);
		expect(goesOn(long, of(turns.slice(0, 99)))).toBe(true);
		expect(long.earlier.length).toBe(9);
		expect(goesOn(of([user("u0"), assistant("a summary"), user("last")]), of([user("u0")]))).toBe(true);
	});

	test("whatever stands before the messages", () => {
		const before = historyIn(['[{"name":"tool"}]', '"x-billing: 1"', JSON.stringify([user("a")])]);
		const after = historyIn(['"x-billing: 22"', JSON.stringify(next(user("a")))]);
		expect([goesOn(after, before), before.before, after.before]).toEqual([true, 31, 15]);
	});

	test("of Google's words, where the role stands last", () => {
		const contents = [{ parts: [{ text: "a" }], role: "user" }];
		const later = [...contents, { parts: [{ text: "b" }], role: "model" }, { parts: [{ text: "c" }], role: "user" }];
		expect(goesOn(of(later), of(contents))).toBe(true);
	});
});

test.each([['"a text to go on with"'], ["[1,22,333]"], ['["one","two"]'], ["[]"]])(
	"what is no list of messages is one: %s",
	(prompt) => {
		const { earlier, whole, first } = historyIn([prompt]);
		expect([earlier, first, whole.characters]).toEqual([[], whole, prompt.length]);
	},
);

test("a name that two callers give their conversations is two names", () => {
	const sessionOf = (keyId: string | undefined, session: string) => {
		const sent = Buffer.from(JSON.stringify({ model: "m", max_tokens: 9, messages: [user("a")] }));
		const { facts } = anthropicMessages.parse("chat", sent);
		const headers = new Headers({ "x-session-id": session });
		return historyOf({ operation: "chat", facts, stream: false, headers, keyId }).session!.hash;
	};
	const hashes = [sessionOf("a", "s"), sessionOf("b", "s"), sessionOf(undefined, "s"), sessionOf("a", "t")];
	expect(new Set(hashes).size).toBe(4);
	expect(sessionOf("a", "s")).toBe(hashes[0]!);
});

const RECORDED: [file: string, path: string, dialectOf: (path: string) => Dialect][] = [
	["claude-code-turns", "/v1/messages", () => anthropicMessages],
	["codex-http-turns", "/responses", () => openAiResponses],
	["gemini-cli-turns", "GenerateContent", (path) => geminiFor(askedMethod(path))],
];
test.each(RECORDED)("each turn of %s is known by the one before", (file, path, dialectOf) => {
	const turns = clientRequests(file)
		.filter((request) => request.path.includes(path))
		.map((request) => {
			const sent = Buffer.from(JSON.stringify(request.body));
			const { facts } = dialectOf(request.path).parse("chat", sent);
			return historyIn(facts.history?.() ?? facts.promptContent().texts);
		});
	for (let at = 1; at < turns.length; at++) expect([at, goesOn(turns[at]!, turns[at - 1]!)]).toEqual([at, true]);
});
