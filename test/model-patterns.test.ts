/** Names with `*` in `models:`: what fits them, where that leads, and who may use it. */
import { describe, expect, test } from "bun:test";
import { createKeyAuth } from "../src/accounts/auth/keys.ts";
import { PriceBook } from "../src/accounts/usage/price-book.ts";
import { isAllowed, permittedRoute } from "../src/api/model-access.ts";
import { nameMatcher } from "../src/config/name-pattern.ts";
import { RouterError, StartError } from "../src/errors.ts";
import { type Fleet, type FleetTarget, NO_FLEET } from "../src/routing/agent-targets.ts";
import { createCatalog } from "../src/routing/catalog.ts";
import { limitedNames } from "../src/routing/limited-names.ts";
import type { Json } from "./kit/exchange.ts";
import { configOf, entriesOf } from "./kit/pipeline.ts";

const providers = {
	openai: { api_key: "k" },
	anthropic: { api_key: "k" },
	openrouter: { api_key: "k" },
	box: { type: "openai-compatible", base_url: "http://127.0.0.1:1/v1" },
	other: { type: "openai-compatible", base_url: "http://127.0.0.1:2/v1" },
};

function catalog(models: Json[], fleet: Fleet | readonly string[] = NO_FLEET, more: Json = {}) {
	const config = configOf({ providers, models, ...more });
	const entries = entriesOf(config);
	const { provider } = entries.find(({ upstream }) => upstream.name === "local")!;
	if ("isEmpty" in fleet) return createCatalog(config, entries, fleet);
	const target = (model: string): FleetTarget => ({
		id: `local/gpu-1/${model}`,
		name: `local/${model}`,
		provider,
		model,
		agent: "gpu-1",
	});
	return createCatalog(config, entries, {
		...NO_FLEET,
		isEmpty: false,
		names: fleet,
		first: fleet[0],
		targets: (model) => (fleet.includes(model) ? [target(model)] : []),
		served: new Set([...fleet, "gone"]),
	});
}
type Made = ReturnType<typeof catalog>;
const ids = (name: string, from: Made) => from.find(name)?.targets.map(({ id }) => id);
const refusal = (name: string, from: Made) => {
	try {
		from.resolve(name);
	} catch (thrown) {
		if (thrown instanceof RouterError) return thrown;
	}
	throw new Error(`${name} resolved`);
};

describe("a name with a star is refused at the start", () => {
	test.each([
		["fast", "box/*", '"box/*" has a *, which takes what one in `name` stands for, and the name has none'],
		["fast", { provider: "box", model: "*" }, '"*" has a *, which takes what one in `name`'],
		["a/*/b", "box/*/*/*", '"box/*/*/*" has 3 *, and the name 1: as many, or none.'],
		["a/*/*", "box/*", '"box/*" has 1 *, and the name 2'],
		["*", "*", '"*" names no provider before its *: write `provider/*`.'],
		["gpt-*", "gpt-*", '"gpt-*" names no provider before its *'],
		["a/*", "*/x", '"*/x" names no provider before its *'],
		["a/*", "b*/x", '"b*/x" names no provider before its *'],
		["a/*", "/*", '"/*" names no provider before its *'],
		["a/*", "bok/*", 'there is no provider "bok"; did you mean "box"?'],
		["a/*", "a/*", 'there is no provider "a"'],
		["a/*", { provider: "*", model: "x" }, 'there is no provider "*"'],
		["a/*", "a/x", 'there is no provider "a"'],
	])("%j with the target %j", (name, target, words) => {
		const make = () => catalog([{ name, targets: ["dummy"], fallback: [target] }]);
		expect(make).toThrow(StartError);
		expect(make).toThrow(`models[0].fallback[0]`);
		expect(make).toThrow(words);
	});

	test("twice", () => {
		const twice = [
			{ name: "a/*", targets: ["dummy"] },
			{ name: "a/*", targets: ["box/*"] },
		];
		expect(() => catalog(twice)).toThrow("another model has this name too");
	});
});

describe("a name that leads nowhere", () => {
	const made = catalog([
		{ name: "team/*", targets: ["box/*"] },
		{ name: "x-*-y", targets: ["box/*"] },
	]);

	test.each(["team", "Team/a", "x-y", "x--", "ax-b-y", "teams/a"])("%j fits no other", (name) => {
		expect(refusal(name, made).errorCode).toBe("model_not_found");
	});

	test.each(["team/*", "x-*-y"])("%s stands for others, and is none itself", (name) => {
		expect(refusal(name, made).errorCode).toBe("model_not_found");
		expect(refusal(name, made).message).toContain('A "*" stands for other text: ask for a model by its own name.');
		expect(made.names).not.toContain(name);
	});

	test.each(["team/", "x--y"])("%j would leave no model's name", (name) => {
		expect(refusal(name, made).errorCode).toBe("model_not_found");
	});

	test("a mistyped beginning is corrected as a provider's is", () => {
		expect(made.atNearProvider?.("taem/llama")).toBe("team/llama");
	});
});

describe("what the star stands for is put where the target has one", () => {
	const made = catalog([
		{ name: "anthropic/*", targets: ["box/*"] },
		{ name: "org-*", targets: [{ provider: "other", model: "v2/*-instruct", context: 1000, lacks: ["tools"] }] },
		{ name: "*/at/*", targets: ["box/*/from/*"] },
		{ name: "gpt-*", targets: ["openrouter/openai/gpt-*"], fallback: ["openai/gpt-*", "claude-x"] },
		{ name: "any*", targets: ["box/one"] },
		{ name: "or/*", targets: ["openrouter/*"] },
	]);

	test.each([
		["anthropic/claude-x", ["box/claude-x"]],
		["anthropic/a/b", ["box/a/b"]],
		["anthropic/é 🙂", ["box/é 🙂"]],
		["anthropic/__proto__", ["box/__proto__"]],
		["anthropic/$&", ["box/$&"]],
		["anthropic/../x", ["box/../x"]],
		["org-llama", ["other/v2/llama-instruct"]],
		["a/at/b", ["box/a/from/b"]],
		["a/at/b/at/c", ["box/a/from/b/at/c"]],
		["gpt-5", ["openrouter/openai/gpt-5", "openai/gpt-5", "anthropic/claude-x"]],
		["any", ["box/one"]],
		["anything", ["box/one"]],
		["or/auto", ["openrouter/openrouter/auto"]],
		["claude-y", ["anthropic/claude-y"]],
		["openai/gpt-5", ["openai/gpt-5"]],
	])("%s: %p", (name, targets) => expect(ids(name, made)).toEqual(targets));

	test("with what its owner says of the target, and the entry's own settings", () => {
		const { targets, alias, reason } = made.find("org-llama")!;
		expect(targets[0]).toMatchObject({ model: "v2/llama-instruct", context: 1000, lacks: ["tools"] });
		expect([alias?.name, reason]).toEqual(["org-*", "models: org-*"]);
	});

	test("and the name in metrics is the one asked for, but for an entry that answers any", () => {
		expect(made.find("anthropic/claude-x")?.label).toBe("anthropic/claude-x");
		expect(made.find("anything")?.label).toBe("any*");
		expect(made.find("gpt-5")?.label).toBe("gpt-*");
	});

	test("a client's text is never a provider, nor another name of `models:`", () => {
		const one = catalog([
			{ name: "box/secret", targets: ["openai/gpt-5"] },
			{ name: "team/*", targets: ["box/*"] },
		]);
		expect(ids("box/secret", one)).toEqual(["openai/gpt-5"]);
		expect(ids("team/secret", one)).toEqual(["box/secret"]);
		expect(ids("team/openai/gpt-5", one)).toEqual(["box/openai/gpt-5"]);
	});
});

describe("of several", () => {
	const made = catalog([
		{ name: "claude-*", targets: ["box/few/*"] },
		{ name: "*", targets: ["box/all/*"] },
		{ name: "claude-sonnet-*", targets: ["box/more/*"] },
		{ name: "claude-sonnet-5", targets: ["other/exact"] },
		{ name: "*-preview", targets: ["box/preview/*"] },
		{ name: "*-preview!", targets: ["box/never"] },
		{ name: "g-*", targets: ["box/first/*"] },
		{ name: "*-g", targets: ["box/second/*"] },
	]);

	test.each([
		["claude-sonnet-5", ["other/exact"], "a name without a star comes first"],
		["claude-sonnet-4", ["box/more/4"], "then the one with the longest text"],
		["claude-opus", ["box/few/opus"], "also where it stands further up"],
		["claude-sonnet-preview", ["box/more/preview"], "wherever its star is"],
		["x-preview", ["box/preview/x"], "before the star alone"],
		["g-x-g", ["box/first/x-g"], "of two that are equal the one further up"],
		["whatever", ["box/all/whatever"], "and the star alone takes the rest"],
		["gpt-5", ["box/all/gpt-5"], "also what a prefix would lead to a vendor"],
	])("%s goes to %p: %s", (name, targets) => expect(ids(name, made)).toEqual(targets));

	test.each([
		["box/x", ["box/x"]],
		["openai/gpt-5", ["openai/gpt-5"]],
		["openai/gpt-preview", ["openai/gpt-preview"]],
		["dummy", ["dummy/dummy"]],
		["local", ["local/local"]],
		["local-small", ["local/local-small"]],
		["local/x", ["local/x"]],
		["nobody/x", ["box/all/nobody/x"]],
	])("one that begins with a star leaves names that say where they run: %s is %p", (name, targets) => {
		expect(ids(name, made)).toEqual(targets);
	});

	test.each([
		["o*", "openai/gpt-5", ["openai/gpt-5"]],
		["o*", "o3", ["box/3"]],
		["openai/*", "openai/gpt-5", ["box/gpt-5"]],
		["openai*", "openai/gpt-5", ["openai/gpt-5"]],
		["l*", "local/x", ["local/x"]],
		["l*", "llama", ["box/lama"]],
		["local/*", "local/x", ["box/x"]],
		["d*", "dummy", ["dummy/dummy"]],
		["claude/*", "claude/x", ["box/x"]],
		["claude/*", "anthropic/x", ["anthropic/x"]],
	])("%s takes %s to %p: only its own text says that it means that place", (pattern, name, targets) => {
		expect(ids(name, catalog([{ name: pattern, targets: ["box/*"] }]))).toEqual(targets);
	});
});

describe("names that lead on", () => {
	test("a name further down may lead through one with a star, further up may not", () => {
		const models = [
			{ name: "anthropic/*", targets: ["box/*"], fallback: ["other/*"] },
			{ name: "fast", targets: ["anthropic/claude-x", "gpt-5"] },
			{ name: "faster", targets: ["fast"] },
		];
		const made = catalog(models);
		expect(ids("fast", made)).toEqual(["box/claude-x", "openai/gpt-5"]);
		expect(made.find("fast")?.targets[0]?.aliases).toEqual(["anthropic/claude-x"]);
		expect(ids("faster", made)).toEqual(["box/claude-x"]);
		expect(ids("fast", catalog([models[1]!, models[0]!]))).toEqual(["anthropic/claude-x", "openai/gpt-5"]);
	});

	test("one further up that has no place of its own stops the start, and is told of the one further down", () => {
		const models = [
			{ name: "fast", targets: ["team/x"] },
			{ name: "team/*", targets: ["box/*"] },
		];
		expect(() => catalog(models)).toThrow(
			'models[0].targets[0]: "team/x" fits "team/*", which stands further down, as models[1]; put it before this one.',
		);
	});

	test("one with a star may lead to a name further up, and fall back on the place that it stands for", () => {
		const made = catalog([
			{ name: "fast", targets: ["box/one"] },
			{ name: "fast-*", targets: ["fast"] },
			{ name: "anthropic/*", targets: ["box/*"], fallback: ["anthropic/*"] },
		]);
		expect(ids("fast-x", made)).toEqual(["box/one"]);
		expect(made.find("fast-x")?.targets[0]?.aliases).toEqual(["fast"]);
		expect(ids("anthropic/claude-x", made)).toEqual(["box/claude-x", "anthropic/claude-x"]);
	});
});

describe("with agents", () => {
	const toBox = { name: "*", targets: ["box/*"] };

	test("a name that an agent has served goes to no vendor by a star, however it is written", () => {
		for (const name of ["*", "qwen*", "g*"]) {
			const made = catalog([{ name, targets: ["openrouter/qwen/*"] }], ["qwen3-8b"]);
			expect(ids("qwen3-8b", made)).toEqual(["local/gpu-1/qwen3-8b"]);
			expect(refusal("gone", made).errorCode).toBe("model_unavailable");
		}
	});

	test("unless the entry names the user's own machines, too", () => {
		const made = catalog([{ name: "*", targets: ["local/*"], fallback: ["openrouter/qwen/*"] }], ["qwen3-8b"]);
		expect(ids("qwen3-8b", made)).toEqual(["local/gpu-1/qwen3-8b", "openrouter/qwen/qwen3-8b"]);
		expect(ids("gone", made)).toEqual(["openrouter/qwen/gone"]);
		expect(ids("other", made)).toEqual(["openrouter/qwen/other"]);
	});

	test("a name that is served from some time on is an agent's from then on", () => {
		const served = new Set<string>();
		const made = catalog([toBox], { ...NO_FLEET, served });
		expect(ids("qwen", made)).toEqual(["box/qwen"]);
		served.add("qwen");
		expect(made.find("qwen")).toBeUndefined();
	});

	test("one that leads to agents alone says why none serves it", () => {
		const made = catalog([{ name: "mine/*", targets: ["local/*"] }], ["qwen3-8b"]);
		expect(ids("mine/qwen3-8b", made)).toEqual(["local/gpu-1/qwen3-8b"]);
		expect(refusal("mine/gone", made).message).toContain('No agent serves "mine/gone" now');
		expect(refusal("mine/unknown", made).errorCode).toBe("model_not_found");
	});

	test("an adapter has its parent by those names, too", () => {
		const parentOf = (name: string) => (name === "sql" ? "qwen3-8b" : undefined);
		const target = { id: "local/gpu-1/sql", name: "local/sql", provider: {} as never, model: "sql", agent: "gpu-1" };
		const fleet = { ...NO_FLEET, isEmpty: false, names: ["sql"], targets: () => [target], parentOf };
		const made = catalog([{ name: "mine/*", targets: ["local/*"] }], fleet);
		expect([made.parentOf?.("mine/sql"), made.parentOf?.("local/sql"), made.parentOf?.("gpt-5")]).toEqual([
			"local/qwen3-8b",
			"local/qwen3-8b",
			undefined,
		]);
	});

	test("lists what agents serve by those names, too", () => {
		const made = catalog([{ name: "mine/*", targets: ["local/*"] }, toBox], ["qwen3-8b"]);
		expect(made.agentModels?.()).toEqual(["local/qwen3-8b", "mine/qwen3-8b"]);
	});
});

describe("permissions, limits and prices", () => {
	const models = [
		{ name: "anthropic/*", targets: ["box/*"], fallback: ["openai/*"] },
		{ name: "open/*", targets: ["openrouter/*"] },
		{ name: "fast", targets: ["anthropic/claude-x"] },
	];
	const made = catalog(models);
	const callerOf = (pattern: string) =>
		createKeyAuth([{ name: "a", key: "key-of-the-test", models: [pattern] }] as never).authenticate(
			new Headers({ authorization: "Bearer key-of-the-test" }),
		)!;
	const reaches = (pattern: string, name: string) => {
		const route = made.find(name)!;
		if (!isAllowed(callerOf(pattern), name, route)) return [];
		return permittedRoute(callerOf(pattern), name, route).targets.map(({ id }) => id);
	};

	test.each([
		["anthropic/*", "anthropic/x", ["box/x", "openai/x"]],
		["anthropic/x", "anthropic/x", ["box/x", "openai/x"]],
		["anthropic/x", "anthropic/y", []],
		["anthropic/*", "open/x", []],
		["anthropic/*", "box/x", []],
		["anthropic/*", "openai/x", []],
		["anthropic/*", "gpt-5", []],
		["anthropic/*", "fast", []],
		["anthropic/*", "anthropic/openrouter/x", ["box/openrouter/x", "openai/openrouter/x"]],
		["box/*", "anthropic/x", ["box/x"]],
		["box/x", "anthropic/y", []],
		["box/claude-x", "fast", ["box/claude-x"]],
		["fast", "anthropic/claude-x", []],
	])("a key for %s reaches by %s: %p", (pattern, name, targets) => expect(reaches(pattern, name)).toEqual(targets));

	test.each([
		["anthropic/*", "anthropic/x", true],
		["anthropic/x", "anthropic/x", true],
		["box/*", "anthropic/x", true],
		["openai/x", "anthropic/x", true],
		["x", "anthropic/x", true],
		["anthropic/*", "fast", true],
		["box/claude-x", "fast", true],
		["anthropic/y", "anthropic/x", false],
		["anthropic/*", "open/x", false],
	])("a limit on %s counts calls for %s: %p", (pattern, name, counts) => {
		expect(limitedNames(name, made.find(name)!, []).some(nameMatcher([pattern]))).toBe(counts);
	});

	test("the price is that of where it runs", () => {
		const prices = { "box/*": { input: 1, output: 2 }, "anthropic/*": { input: 9, output: 9 } };
		const config = configOf({ providers, models, prices });
		const [box] = createCatalog(config, entriesOf(config)).find("anthropic/x")!.targets;
		expect(new PriceBook(config.prices).of(box!).rates).toMatchObject({ input: 1, output: 2 });
		expect(box?.price).toEqual({ input: 1, output: 2 });
	});
});

test("a name that was asked for lately is not looked up again, and of endlessly many only some are remembered", () => {
	const made = catalog([{ name: "a/*", targets: ["box/*"] }]);
	const first = made.find("a/first");
	expect(made.find("a/first")).toBe(first!);
	for (let at = 0; at < 600; at++) made.find(`a/${at}`);
	expect(made.find("a/first")).not.toBe(first!);
	expect(made.find("a/first")).toEqual(first!);
});
