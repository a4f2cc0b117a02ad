/** Model names → targets, in the order of the design. */
import { describe, expect, test } from "bun:test";
import { RouterError, StartError } from "../src/errors.ts";
import { createCatalog } from "../src/routing/catalog.ts";
import type { Json } from "./kit/exchange.ts";
import { configOf, entriesOf } from "./kit/pipeline.ts";

function catalog(settings: Json = {}, env: Record<string, string> = {}) {
	const config = configOf(settings, env);
	return createCatalog(config, entriesOf(config, env));
}
const plain = catalog();
const ids = (name: string, from = plain) => from.find(name)?.targets.map(({ id }) => id);

/** The error that a name makes. */
function refusal(name: string, from = plain): RouterError {
	try {
		from.resolve(name);
	} catch (thrown) {
		if (thrown instanceof RouterError) return thrown;
	}
	throw new Error(`${name} resolved`);
}

describe("a name that leads nowhere", () => {
	test.each(["", "/", "nothing", "nothing/at-all", "openai/", "/gpt-5", "GPT-5", " gpt-5", "Dummy", "dummy2"])(
		"is a 404: %p",
		(name) => {
			const { status, errorCode, body } = refusal(name);
			expect([status, errorCode, body.error.param]).toEqual([404, "model_not_found", "model"]);
		},
	);

	test.each(["__proto__", "constructor", "toString", "__proto__/x", "constructor/prototype", "hasOwnProperty/x"])(
		"is a 404 also where JavaScript has something of that name: %s",
		(name) => expect(refusal(name).status).toBe(404),
	);

	test("gets the close names, and an endless one is cut", () => {
		const mine = catalog({ models: [{ name: "fast", targets: ["dummy"] }] });
		expect(refusal("fsat", mine).message).toContain('Did you mean "fast"?');
		expect(refusal("dumy", mine).message).toContain('Did you mean "dummy"?');
		expect(refusal("x".repeat(500), mine).message.length).toBeLessThan(250);
	});
});

describe("a prefix", () => {
	test.each([
		["gpt-5-mini", "openai/gpt-5-mini"],
		["gpt-oss-20b", "openai/gpt-oss-20b"],
		["chatgpt-4o-latest", "openai/chatgpt-4o-latest"],
		["text-embedding-3-small", "openai/text-embedding-3-small"],
		["o3", "openai/o3"],
		["o4-mini", "openai/o4-mini"],
		["claude-sonnet-5", "anthropic/claude-sonnet-5"],
		["gemini-3-pro", "gemini/gemini-3-pro"],
		["grok-4-fast", "xai/grok-4-fast"],
		["venice-uncensored", "venice/venice-uncensored"],
		["llmd-Qwen/Qwen3-8B", "llm-d/Qwen/Qwen3-8B"],
		["llmd-qwen", "llm-d/qwen"],
		["local", "local/local"],
		["local-small", "local/local-small"],
	])("leads %s to %s", (name, id) => expect(ids(name)).toEqual([id]));

	test.each(["ollama", "olmo-2", "gpt4", "my-gpt-5", "x-claude"])("does not lead %s anywhere", (name) => {
		expect(ids(name)).toBeUndefined();
	});

	test("leads to a vendor's first account only", () => {
		const two = catalog({ providers: { second: { type: "openai" } } });
		expect(ids("gpt-5", two)).toEqual(["openai/gpt-5"]);
		expect(ids("second/gpt-5", two)).toEqual(["second/gpt-5"]);
	});
});

describe("provider/model", () => {
	test.each([
		["openai/anything", "openai/anything"],
		["openai/ft:gpt-4o:org/x", "openai/ft:gpt-4o:org/x"],
		["google/gemini-3-pro", "gemini/gemini-3-pro"],
		["claude/claude-sonnet-5", "anthropic/claude-sonnet-5"],
		["grok/grok-4", "xai/grok-4"],
		["llmd/Qwen/Qwen3-8B", "llm-d/Qwen/Qwen3-8B"],
		["local/qwen3-8b", "local/qwen3-8b"],
		["openrouter/qwen/qwen3-8b", "openrouter/qwen/qwen3-8b"],
		["openrouter/google/gemini-3-pro", "openrouter/google/gemini-3-pro"],
		["dummy/anything", "dummy/anything"],
	])("%s is %s", (name, id) => expect(ids(name)).toEqual([id]));

	test("keeps openrouter/auto whole: OpenRouter calls it so, too", () => {
		expect(plain.find("openrouter/auto")?.targets[0]?.model).toBe("openrouter/auto");
		expect(plain.find("openrouter/qwen/qwen3-8b")?.targets[0]?.model).toBe("qwen/qwen3-8b");
	});

	test("a configured provider takes its name from a vendor's alias", () => {
		const mine = catalog({ providers: { grok: { type: "openai-compatible", base_url: "http://box" } } });
		expect(ids("grok/x", mine)).toEqual(["grok/x"]);
		expect(ids("xai/x", mine)).toEqual(["xai/x"]);
	});

	test("says why in a phrase", () => {
		expect(plain.find("grok/grok-4")?.reason).toBe("provider xai");
		expect(plain.find("gpt-5")?.reason).toBe("prefix gpt-*");
		expect(plain.find("dummy")?.reason).toBe("built in");
	});
});

describe("models:", () => {
	const mine = catalog({
		models: [
			{ name: "gpt-5", targets: ["local/mine"] },
			{ name: "openai/gpt-5-mini", targets: ["local/mini"] },
			{ name: "dummy", targets: ["local/dummy"] },
			{
				name: "fast",
				targets: ["local/a", { provider: "openrouter", model: "qwen/qwen3-8b" }],
				fallback: ["gpt-5-mini", { provider: "grok", model: "grok-4" }],
			},
			{ name: "claude-x", targets: ["claude-x"] },
			{ name: "__proto__", targets: ["dummy"] },
		],
	});

	test("come before everything else, also before what is built in", () => {
		expect(ids("gpt-5", mine)).toEqual(["local/mine"]);
		expect(ids("openai/gpt-5-mini", mine)).toEqual(["local/mini"]);
		expect(ids("dummy", mine)).toEqual(["local/dummy"]);
		expect(ids("openai/gpt-5", mine)).toEqual(["openai/gpt-5"]);
	});

	test("try targets, then fallback, in the order written", () => {
		expect(ids("fast", mine)).toEqual(["local/a", "openrouter/qwen/qwen3-8b", "openai/gpt-5-mini", "xai/grok-4"]);
		expect(mine.find("fast")?.reason).toBe("models: fast");
	});

	test("may bear the name of their own target", () => expect(ids("claude-x", mine)).toEqual(["anthropic/claude-x"]));

	test("may bear a name that JavaScript has a use for", () => expect(ids("__proto__", mine)).toEqual(["local/dummy"]));

	test("are all listed, once", () => {
		expect([...mine.names].sort()).toEqual(
			["__proto__", "claude-x", "dummy", "fast", "gpt-5", "openai/gpt-5-mini"].sort(),
		);
	});

	test.each([
		[["nowhere-at-all"], undefined, 'models[0].targets[0]: there is no model "nowhere-at-all"'],
		[["dummy"], [{ provider: "nope", model: "x" }], 'models[0].fallback[0].provider: there is no provider "nope"'],
		[["dummy"], ["a"], `models[0].fallback[0]: "a" can't lead to itself`],
	])("that lead nowhere stop the start, naming the place: %j %j", (targets, fallback, words) => {
		const make = () => catalog({ models: [{ name: "a", targets, ...(fallback ? { fallback } : {}) }] });
		expect(make).toThrow(StartError);
		expect(make).toThrow(words);
	});

	test("that lead to one further down say so", () => {
		const models = [
			{ name: "a", targets: ["b"] },
			{ name: "b", targets: ["a"] },
		];
		expect(() => catalog({ models })).toThrow('models[0].targets[0]: "b" stands further down, as models[1]');
	});

	test("name each target once, where it stands first", () => {
		const twice = catalog({
			models: [
				{ name: "a", targets: ["openai/gpt-5", "xai/grok-4", "openai/gpt-5"], fallback: ["xai/grok-4", "dummy"] },
			],
		});
		expect(ids("a", twice)).toEqual(["openai/gpt-5", "xai/grok-4", "dummy/dummy"]);
		expect(twice.find("a")?.targets.map(({ tier }) => tier)).toEqual(["targets", "targets", "fallback"]);
	});
});
