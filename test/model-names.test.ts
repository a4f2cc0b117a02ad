/** Names of models × what matches them: permissions, limits and prices see the same model, whatever it is called. */
import { describe, expect, test } from "bun:test";
import type { Caller } from "../src/accounts/auth/keys.ts";
import { createKeyAuth } from "../src/accounts/auth/keys.ts";
import { PriceBook } from "../src/accounts/usage/price-book.ts";
import { isAllowed } from "../src/api/model-access.ts";
import { nameMatcher } from "../src/config/name-pattern.ts";
import { type FleetTarget, NO_FLEET } from "../src/routing/agent-targets.ts";
import { createCatalog } from "../src/routing/catalog.ts";
import { furtherTargets, limitedNames } from "../src/routing/limited-names.ts";
import { factsOf } from "./kit/facts.ts";
import { configOf, entriesOf } from "./kit/pipeline.ts";

const settings = {
	providers: {
		openai: { api_key: "k" },
		gemini: { api_key: "k" },
		xai: { api_key: "k" },
		openrouter: { api_key: "k" },
		"llm-d": { base_url: "http://127.0.0.1:1/v1" },
		mybox: { type: "openai-compatible", base_url: "http://127.0.0.1:1/v1" },
	},
	models: [
		{ name: "fast", targets: ["gpt-4o"] },
		{ name: "safe", targets: ["mybox/qwen"], fallback: [{ provider: "openai", model: "gpt-4o" }] },
		{ name: "house", targets: ["local/qwen3-8b"] },
		{ name: "second", targets: ["fast"] },
		{ name: "third", targets: ["second"], fallback: ["house"] },
	],
};
const config = configOf(settings);
const entries = entriesOf(config);
const local = entries.find(({ upstream }) => upstream.name === "local")!;
const agent: FleetTarget = {
	id: "local/gpu-1/qwen3-8b",
	name: "local/qwen3-8b",
	provider: local.provider,
	model: "qwen3-8b",
	agent: "gpu-1",
};
const replicas = [0, 1].map((replica): FleetTarget => {
	const deployment = "local/gpu-1/llama";
	return { ...agent, id: `${deployment}#${replica}`, deployment, replica, name: "local/llama", model: "llama" };
});
const fleet = {
	...NO_FLEET,
	isEmpty: false,
	names: ["qwen3-8b", "llama"],
	first: "qwen3-8b",
	targets(model: string) {
		if (["llama", "gpu-1/llama"].includes(model)) return replicas;
		return ["qwen3-8b", "gpu-1/qwen3-8b"].includes(model) ? [agent] : [];
	},
	served: new Set(["qwen3-8b", "llama"]),
};
const catalog = createCatalog(config, entries, fleet);
const routeOf = (name: string) => catalog.find(name)!;
const callerOf = (pattern: string): Caller =>
	createKeyAuth([{ name: "a", key: "key-of-the-test", models: [pattern] }] as never).authenticate(
		new Headers({ authorization: "Bearer key-of-the-test" }),
	)!;
const limits = (pattern: string, name: string, body = {}) => {
	const route = routeOf(name);
	return limitedNames(name, route, furtherTargets(factsOf(body).fallbackModels, route)).some(
		nameMatcher([pattern.toLowerCase()]),
	);
};
const permits = (pattern: string, name: string) => isAllowed(callerOf(pattern), name, routeOf(name));

/** Every name that leads to a model, and every pattern that a limit on it may be written with. */
const MODELS: readonly { readonly names: readonly string[]; readonly patterns: readonly string[] }[] = [
	{
		names: ["gpt-4o", "openai/gpt-4o", "fast", "safe", "openai/GPT-4o"],
		patterns: ["gpt-4o", "openai/gpt-4o", "gpt-*", "openai/*", "GPT-4o", "OpenAI/GPT-4O", "*4o", "*"],
	},
	{
		names: ["qwen3-8b", "local/qwen3-8b", "local/gpu-1/qwen3-8b", "local", "house"],
		patterns: ["qwen3-8b", "local/qwen3-8b", "local/gpu-1/*", "local/*", "qwen*", "*"],
	},
	{
		names: ["llama", "local/llama", "local/gpu-1/llama"],
		patterns: ["llama", "local/llama", "local/gpu-1/llama", "local/gpu-1/*", "local/*"],
	},
	{
		names: ["gemini-2.5-pro", "gemini/gemini-2.5-pro", "google/gemini-2.5-pro"],
		patterns: ["gemini-2.5-pro", "gemini/gemini-2.5-pro", "gemini/*"],
	},
	{ names: ["grok-4", "xai/grok-4", "grok/grok-4"], patterns: ["grok-4", "xai/grok-4", "xai/*"] },
	{ names: ["llmd-qwen", "llm-d/qwen", "llmd/qwen"], patterns: ["qwen", "llm-d/qwen", "llm-d/*"] },
	{
		names: [
			"openrouter/qwen/qwen3-8b",
			"openrouter/qwen/qwen3-8b:nitro",
			"openrouter/qwen/qwen3-8b:online",
			"openrouter/qwen/qwen3-8b:free",
			"openrouter/Qwen/Qwen3-8B",
			"openrouter/qwen/qwen3-8b@preset/mine",
		],
		patterns: ["openrouter/qwen/qwen3-8b", "qwen/qwen3-8b", "openrouter/qwen/*"],
	},
	{ names: ["fast", "second", "third"], patterns: ["fast", "FAST", "gpt-4o"] },
	{ names: ["house", "third"], patterns: ["house", "qwen3-8b"] },
	{ names: ["openrouter/auto"], patterns: ["openrouter/auto", "openrouter/*"] },
	{ names: ["mybox/qwen", "safe"], patterns: ["mybox/qwen", "qwen", "mybox/*"] },
];

describe("a limit on a model", () => {
	test.each(
		MODELS.flatMap(({ names, patterns }) => patterns.flatMap((pattern) => names.map((name) => [pattern, name]))),
	)("%s counts calls for %s", (pattern, name) => expect(limits(pattern, name)).toBe(true));

	test.each([
		["gpt-4o-mini", "gpt-4o"],
		["gpt-4o", "gpt-4o-mini"],
		["openai/gpt-4o", "gpt-4o-mini"],
		["fast", "gpt-4o"],
		["safe", "fast"],
		["mybox/*", "openai/gpt-4o"],
		["local/gpu-2/*", "qwen3-8b"],
		["openrouter/qwen/qwen3-8b", "openrouter/qwen/qwen3-14b"],
		["openrouter/qwen/qwen3-8b:nitro", "openrouter/qwen/qwen3-8b"],
	])("%s does not count calls for %s", (pattern, name) => expect(limits(pattern, name)).toBe(false));

	test("counts, of a name and of where it leads, both", () => {
		expect([limits("fast", "fast"), limits("openai/gpt-4o", "fast")]).toEqual([true, true]);
	});

	test.each([
		{ models: ["openai/gpt-4o"] },
		{ models: ["x/y", "OpenAI/GPT-4o:nitro"] },
		{ fallbacks: ["openai/gpt-4o"] },
		{ fallbacks: [{ model: "openai/gpt-4o", messages: [] }] },
	])("counts models that a call names to go on with: %j", (body) => {
		expect(limits("openrouter/openai/gpt-4o", "openrouter/qwen/qwen3-8b", body)).toBe(true);
		// OpenAI itself heeds no such field.
		expect(limits("openai/openai/gpt-4o", "openai/gpt-4o-mini", body)).toBe(false);
	});
});

describe("whatever a key's models let pass", () => {
	const names = [...new Set(MODELS.flatMap((model) => model.names))];
	const patterns = [...new Set([...MODELS.flatMap((model) => model.patterns), ...names])];
	test.each(patterns)("%s is counted by a limit of that name, too", (pattern) => {
		for (const name of names)
			if (permits(pattern, name)) expect([pattern, name, limits(pattern, name)]).toEqual([pattern, name, true]);
	});

	test("is what it names and no other spelling: a permission is read narrowly", () => {
		expect(permits("openai/gpt-4o", "gpt-4o")).toBe(true);
		expect(permits("openai/gpt-4o", "fast")).toBe(true);
		expect(permits("gpt-4o", "openai/GPT-4o")).toBe(false);
		expect(permits("openai/gpt-4o", "openai/GPT-4o")).toBe(false);
		expect(permits("qwen", "mybox/qwen")).toBe(false);
	});
});

describe("a price", () => {
	const priced = (pattern: string, name: string) => {
		const own = configOf({ ...settings, prices: { [pattern]: { input: 123, output: 456 } } });
		const found = createCatalog(own, entriesOf(own), fleet).find(name)!;
		return new PriceBook(own.prices).of(found.targets[0]!).rates?.input === 123;
	};
	test.each([
		["openai/gpt-4o", "gpt-4o", true],
		["openai/gpt-4o", "openai/GPT-4o", true],
		["OpenAI/gpt-*", "gpt-4o", true],
		["openai/gpt-4o", "fast", true],
		["local/qwen3-8b", "house", true],
		["openrouter/qwen/qwen3-8b", "openrouter/qwen/qwen3-8b:nitro", true],
		["openrouter/qwen/qwen3-8b", "openrouter/qwen/qwen3-8b:free", false],
		["openai/gpt-4o", "openrouter/openai/gpt-4o", false],
	])("of %s is that of %s: %p", (pattern, name, expected) => expect(priced(pattern, name)).toBe(expected));

	test("as it is written comes before any other spelling, and a name before a star", () => {
		const one = (input: number) => ({ input, output: input });
		const own = configOf({
			...settings,
			prices: { "openai/*": one(1), "openai/gpt-4o": one(2), "openai/GPT-4o": one(3) },
		});
		const made = createCatalog(own, entriesOf(own));
		const book = new PriceBook(own.prices);
		const inputOf = (name: string) => book.of(made.find(name)!.targets[0]!).rates?.input;
		expect(["openai/gpt-4o", "openai/GPT-4o", "openai/gpt-4O", "gpt-5"].map(inputOf)).toEqual([2, 3, 2, 1]);
	});
});

test("a pattern of many stars and a long name take no time", () => {
	const fits = nameMatcher([`${"*a".repeat(40)}*b`]);
	expect(fits("a".repeat(500))).toBe(false);
	expect(fits(`${"a".repeat(500)}b`)).toBe(true);
});
