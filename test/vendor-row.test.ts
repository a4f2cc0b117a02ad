/** A vendor is one row of the table: everything else that knows of it follows from the row. */
import { afterAll, describe, expect, test } from "bun:test";
import { findProvider } from "@pydantic/genai-prices";
import { PriceBook } from "../src/accounts/usage/price-book.ts";
import { report } from "../src/cli/check.ts";
import { helpText } from "../src/cli/help.ts";
import { handedOnVariables, upstreamVariables } from "../src/cli/upstream-variables.ts";
import { jsonSchema } from "../src/config/json-schema.ts";
import { load } from "../src/config/load.ts";
import { configureUpstreams, describeProviders } from "../src/providers/registry.ts";
import { routerPlan } from "../src/server/router-plan.ts";
import { PROVIDER_TYPES, VENDORS, type VendorRow, type Vendors } from "../src/vendors.ts";
import { cli, directory } from "./kit/cli.ts";
import type { Json } from "./kit/exchange.ts";
import { configOf, pipeline } from "./kit/pipeline.ts";

const ROW: VendorRow = {
	title: "Acme",
	wire: "openai",
	site: "vendor",
	baseUrl: "https://api.acme.test/v1",
	baseUrlVariable: "ACME_BASE_URL",
	keyVariables: ["ACME_API_KEY", "ACME_TOKEN"],
	needsKey: true,
	version: "/v1",
	aliases: ["ac"],
	prefixes: [{ pattern: /^acme-/, label: "acme-*", strip: "acme-" }],
	priceId: "mistral",
	keyHeader: "x-acme-key",
	headers: { "x-acme-version": "3" },
	forwardedHeaders: ["x-acme-app"],
	callerHeaders: ["x-acme-caller"],
	defaults: { chat: { acme_options: { system: false } } },
};
const vendors: Vendors = { ...VENDORS, acme: ROW };
const { priceId: _, ...UNPRICED } = ROW;
const unpriced: Vendors = { ...VENDORS, acme: UNPRICED };

describe("no two rows share", () => {
	const rows = Object.entries(VENDORS);
	const shared = (valuesOf: (row: VendorRow, type: string) => readonly (string | undefined)[]) => {
		const owners = new Map<string, string[]>();
		for (const [type, row] of rows) {
			for (const value of valuesOf(row, type)) {
				if (value !== undefined) owners.set(value, [...(owners.get(value) ?? []), type]);
			}
		}
		expect(owners.size).toBeGreaterThan(2);
		return [...owners].filter(([, types]) => types.length > 1);
	};

	test("a variable", () => {
		expect(shared(({ baseUrlVariable, keyVariables }) => [baseUrlVariable, ...keyVariables])).toEqual([]);
	});

	test("a name in front of a slash", () => {
		expect(shared(({ aliases }, type) => [type, ...aliases])).toEqual([]);
	});

	test("a price id", () => {
		expect(shared(({ priceId }) => [priceId])).toEqual([]);
	});

	test("a prefix: what one row's names begin with leads to no other", () => {
		const examples = rows.flatMap(([type, { prefixes }]) =>
			prefixes.map(({ label }) => ({ type, name: example(label) })),
		);
		expect(examples.length).toBeGreaterThan(5);
		for (const { type, name } of examples) {
			const owners = rows.filter(([, { prefixes }]) => prefixes.some(({ pattern }) => pattern.test(name)));
			expect([name, owners.map(([owner]) => owner)]).toEqual([name, [type]]);
		}
	});

	/** `o<digit>*` → `o1-mini`. */
	function example(label: string): string {
		return label.replace("<digit>", "1").replace("*", "-mini").replace("--", "-");
	}
});

const seen: { path: string; headers: Record<string, string>; body: Json }[] = [];
const upstream = Bun.serve({
	hostname: "127.0.0.1",
	port: 0,
	async fetch(request) {
		const { pathname } = new URL(request.url);
		seen.push({ path: pathname, headers: request.headers.toJSON(), body: (await request.json()) as Json });
		return Response.json({
			id: "a",
			object: "chat.completion",
			choices: [{ index: 0, message: { role: "assistant", content: "hi" }, finish_reason: "stop" }],
			usage: { prompt_tokens: 1_000_000, completion_tokens: 0, total_tokens: 1_000_000 },
		});
	},
});
afterAll(() => upstream.stop(true));

/** A call of that model to a router that knows the row: the answer's status, what reached the vendor, and what is known of the price. */
async function called(model: string, table = vendors) {
	const env = { ACME_API_KEY: "acme-secret", ACME_BASE_URL: `http://127.0.0.1:${upstream.port}` };
	const config = { keys: [{ name: "team-a", key: "a-secret-of-team-a" }] };
	const { send, snapshot } = pipeline({ config, env, vendors: table });
	const headers = {
		authorization: "Bearer a-secret-of-team-a",
		"x-acme-app": "chat",
		"x-title": "no header of Acme's",
	};
	const { status } = await send({ model, messages: [{ role: "user", content: "hi" }] }, { headers });
	const [target] = snapshot.catalog.find(model)!.targets;
	return { status, listed: new PriceBook(snapshot.config.prices).of(target!), request: seen.at(-1)! };
}

describe("of a row that was added", () => {
	test("the variables are read, and named where a user looks for them", () => {
		const read = upstreamVariables(vendors).map(({ name, kind }) => [name, kind]);
		expect(read).toContainEqual(["ACME_API_KEY", "secret"]);
		expect(read).toContainEqual(["ACME_TOKEN", "secret"]);
		expect(read).toContainEqual(["ACME_BASE_URL", "address"]);
		expect(handedOnVariables(vendors)).toContain("ACME_TOKEN");
		expect(helpText(vendors)).toMatch(/Providers need only their variable:[^.]*\sACME_API_KEY[,.]/);
		expect(helpText()).not.toContain("ACME");
	});

	test("the variables give address and key", () => {
		const env = { ACME_TOKEN: "acme-secret" };
		const found = configureUpstreams(configOf(), env, vendors).find(({ name }) => name === "acme");
		expect(found).toMatchObject({
			state: "ready",
			baseUrl: "https://api.acme.test/v1",
			apiKey: "acme-secret",
			keySetting: "ACME_TOKEN",
		});
	});

	test("router check says whether it is ready, and what is missing", () => {
		expect(checked({}, vendors)).toEqual(["acme", "no key", "set ACME_API_KEY"]);
		expect(checked({ ACME_API_KEY: "acme-secret" }, vendors)).toEqual(["acme", "ready", "https://api.acme.test/v1"]);
	});

	test.each(["acme-mistral-small-latest", "acme/mistral-small-latest", "ac/mistral-small-latest"])(
		"%s leads there, with its headers, its defaults and its prices",
		async (model) => {
			const { status, listed, request } = await called(model);
			expect(status).toBe(200);
			expect(request.path).toBe("/v1/chat/completions");
			expect(request.body).toMatchObject({ model: "mistral-small-latest", acme_options: { system: false } });
			expect(request.headers).toMatchObject({
				"x-acme-key": "acme-secret",
				"x-acme-version": "3",
				"x-acme-app": "chat",
				"x-acme-caller": "team-a",
			});
			expect(Object.keys(request.headers)).not.toContain("authorization");
			expect(Object.keys(request.headers)).not.toContain("x-title");
			expect(listed).toMatchObject({ source: "list", price: { input: expect.any(Number) } });
		},
	);

	test("without a price id its prices are not known, which is not zero", async () => {
		expect(await called("acme-mistral-small-latest", unpriced)).toMatchObject({ status: 200, listed: {} });
		expect((await called("acme-mistral-small-latest", unpriced)).listed.price).toBeUndefined();
	});
});

/** The provider's line of `router check`, in cells. */
function checked(env: Record<string, string>, table: Vendors, settings: Json = {}): string[] | undefined {
	using home = directory({ "router.yaml": JSON.stringify(settings) });
	const loaded = load({ flags: {}, env, cwd: home.path, role: "router" });
	const lines = report(loaded, describeProviders(loaded.config, env, table)).split("\n");
	return lines
		.find((line) => line.startsWith("  acme "))
		?.trim()
		.split(/\s{2,}/);
}

describe("a provider whose prices nobody knows", () => {
	const env = { ACME_API_KEY: "acme-secret" };
	const said = "no prices known: set its models' under `prices:`, or keys with a budget can't use it";

	test("is said by router check, once it is ready", () => {
		expect(checked(env, unpriced)).toEqual(["acme", "ready", "https://api.acme.test/v1", said]);
		expect(checked({}, unpriced)).toEqual(["acme", "no key", "set ACME_API_KEY"]);
	});

	test("is not said where its answers tell what they cost", () => {
		const table = { ...unpriced, acme: { ...UNPRICED, reportsCost: true } };
		expect(checked(env, table)).not.toContain(said);
	});

	test.each(["acme/*", "ACME/m", "*", "ac*"])("is not said where prices: names %s", (name) => {
		expect(checked(env, unpriced, { prices: { [name]: { input: 1, output: 1 } } })).not.toContain(said);
	});

	test.each(["openai/*", "acme-two/*"])("is said where prices: names %s alone", (name) => {
		expect(checked(env, unpriced, { prices: { [name]: { input: 1, output: 1 } } })).toContain(said);
	});

	const banner = (settings: Json, variables: Record<string, string> = {}) =>
		routerPlan(configOf(settings, variables), variables).lines.filter((line) => line.startsWith("unpriced"));

	test("is said at start in one line, with all of them", () => {
		const providers = { far: { type: "openai-compatible", base_url: "https://models.example.com/v1" } };
		expect(banner({ providers }, { VENICE_API_KEY: "venice-secret" })).toEqual([
			"unpriced venice, far: set their models' prices under `prices:`, or keys with a budget can't use them",
		]);
	});

	test("no line is said of vendors with prices, of the user's own machines, and of what is not set up", () => {
		const providers = {
			near: { type: "openai-compatible", base_url: "http://10.0.0.7:8000/v1" },
			box: { type: "vllm", base_url: "https://vllm.example.com/v1" },
		};
		const keys = Object.values(VENDORS).flatMap(({ keyVariables, title }) => (title === "Venice" ? [] : keyVariables));
		const variables = Object.fromEntries(keys.map((name) => [name, "some-secret"]));
		expect(banner({ providers }, { ...variables, LLMD_BASE_URL: "http://llm-d.internal/v1" })).toEqual([]);
	});

	test("is said by the real command", async () => {
		using home = directory({});
		const { stdout } = await cli(["check"], { cwd: home.path, env: { VENICE_API_KEY: "venice-secret" } });
		expect(stdout).toMatch(/ {2}venice +ready +https:\/\/api\.venice\.ai\/api\/v1 {2}no prices known/);
		expect(stdout).not.toMatch(/ {2}(?:xai|openai) .*no prices known/);
	});
});

describe("of each row", () => {
	test.each(PROVIDER_TYPES)("%s: the configuration takes its type", (type) => {
		const { config } = { config: configOf({ providers: { x: { type, base_url: "https://x.test", api_key: "k" } } }) };
		expect(config.providers["x"]?.type).toBe(type);
		expect(JSON.stringify(jsonSchema())).toContain(`"const":"${type}"`);
	});

	const priced = Object.entries(VENDORS).flatMap(([type, { priceId }]) => (priceId ? [[type, priceId] as const] : []));
	test.each(priced)("%s: the list prices know the price id %s", (_type, priceId) => {
		expect(findProvider({ providerId: priceId })?.id).toBe(priceId);
	});

	const others = Object.entries(VENDORS).filter(([, { site, priceId }]) => site === "vendor" && !priceId);
	test.each(others)("%s: the list prices have none, or it would have an id", (type) => {
		expect(findProvider({ providerId: type })).toBeUndefined();
	});
});
