/** Where an upstream's address and key come from, and which addresses can't be right. */
import { describe, expect, test } from "bun:test";
import { hostname, networkInterfaces } from "node:os";
import { StartError } from "../src/errors.ts";
import { configureUpstreams, describeProviders, loopProblem, versioned } from "../src/providers/registry.ts";
import { VENDORS } from "../src/vendors.ts";
import type { Json } from "./kit/exchange.ts";
import { configOf } from "./kit/pipeline.ts";

/** The upstream of that name. Throws when there is none. */
function upstream(name: string, settings: Json = {}, env: Record<string, string> = {}) {
	const found = configureUpstreams(configOf(settings, env), env).find((each) => each.name === name);
	if (!found) throw new Error(`there is no upstream ${name}`);
	return found;
}

describe("an address", () => {
	const own = "http://host";
	test.each([
		["http://host", "http://host/v1"],
		["http://host/", "http://host/v1"],
		["http://host///", "http://host/v1"],
		["http://host/v1", "http://host/v1"],
		["http://host/v1/", "http://host/v1"],
		["http://host/api/v1", "http://host/api/v1"],
		["http://host/api/v1/", "http://host/api/v1"],
		["http://host/v2", "http://host/v2"],
		["http://host/v1beta", "http://host/v1beta"],
		["http://host/prefix", "http://host/prefix/v1"],
		["http://v1.host/", "http://v1.host/v1"],
		["http://host:8000", "http://host:8000/v1"],
		["http://[::1]:8000", "http://[::1]:8000/v1"],
	])("%s is the base %s", (address, base) => {
		expect(upstream("openai", {}, { OPENAI_BASE_URL: address }).baseUrl).toBe(base);
	});

	test.each([
		["https://g", "https://g/v1beta"],
		["https://g/v1beta", "https://g/v1beta"],
		["https://g/v1beta/", "https://g/v1beta"],
		["https://g/v1", "https://g/v1"],
		["https://g/v1beta/openai", "https://g/v1beta"],
		["https://g/v1beta/openai/", "https://g/v1beta"],
	])("of Gemini leads to its own API, not to its OpenAI half: %s", (address, base) => {
		expect(upstream("gemini", {}, { GEMINI_BASE_URL: address }).baseUrl).toBe(base);
	});

	test.each(["host:8000", "ftp://host", "http://", "", "http://user:secret@", "https://ho st?key=secret"])(
		"that is none stops the start and is not repeated, since it may hold a secret: %p",
		(address) => {
			const make = () => versioned(address, VENDORS.openai, "OPENAI_BASE_URL");
			expect(make).toThrow(StartError);
			expect(make).toThrow(/^OPENAI_BASE_URL is no http\(s\) address/);
		},
	);

	test.each(["http://host/v1?api-version=1", "http://host/v1#here"])(
		"with more behind its path stops the start: paths are put behind it: %s",
		(address) => expect(() => versioned(address, VENDORS.openai, "X")).toThrow(/^X .*without/),
	);

	test("comes from the configuration over the environment over the table", () => {
		const config = { providers: { openai: { base_url: "http://config" } } };
		const env = { OPENAI_BASE_URL: "http://env" };
		expect(upstream("openai").baseUrl).toBe("https://api.openai.com/v1");
		expect(upstream("openai", {}, env).baseUrl).toBe("http://env/v1");
		expect(upstream("openai", config, env).baseUrl).toBe("http://config/v1");
		expect(upstream("openai", {}, { OPENAI_BASE_URL: "" }).baseUrl).toBe("https://api.openai.com/v1");
	});

	test("that nobody gave leaves the provider out of use, and its variable named", () => {
		expect(upstream("llm-d")).toMatchObject({ state: "no-url", variable: "LLMD_BASE_URL" });
		expect(upstream("llm-d", {}, { LLMD_BASE_URL: own })).toMatchObject({ state: "ready", baseUrl: `${own}/v1` });
	});
});

describe("a key", () => {
	test("comes from the configuration over the environment, first variable first", () => {
		const both = { GEMINI_API_KEY: "first", GOOGLE_API_KEY: "second" };
		expect(upstream("gemini", {}, both).apiKey).toBe("first");
		expect(upstream("gemini", {}, { GEMINI_API_KEY: "", GOOGLE_API_KEY: "second" }).apiKey).toBe("second");
		expect(upstream("gemini", { providers: { gemini: { api_key: "mine" } } }, both).apiKey).toBe("mine");
	});

	test.each([
		["openai", "OPENAI_API_KEY"],
		["anthropic", "ANTHROPIC_API_KEY"],
		["gemini", "GEMINI_API_KEY"],
		["openrouter", "OPENROUTER_API_KEY"],
		["xai", "XAI_API_KEY"],
		["venice", "VENICE_API_KEY"],
	])("that %s lacks is named: %s", (name, variable) => {
		expect(upstream(name)).toMatchObject({ state: "no-key", variable });
		expect(upstream(name, {}, { [variable]: "k" })).toMatchObject({ state: "ready", apiKey: "k" });
	});

	test("of a vendor never goes to a second account of the vendor's type, nor does its address", () => {
		const config = { providers: { second: { type: "openai" } } };
		const env = { OPENAI_API_KEY: "of-the-first", OPENAI_BASE_URL: "http://first" };
		expect(upstream("second", config, env)).toMatchObject({
			apiKey: undefined,
			baseUrl: "https://api.openai.com/v1",
			state: "no-key",
			variable: "providers.second.api_key",
		});
		expect(upstream("openai", config, env).apiKey).toBe("of-the-first");
	});

	test("is not needed inside one's own network", () => {
		const config = {
			providers: { box: { type: "vllm", base_url: own() }, other: { type: "openai-compatible", base_url: own() } },
		};
		expect(upstream("box", config).state).toBe("ready");
		expect(upstream("other", config).state).toBe("ready");
		expect(upstream("local").state).toBe("ready");
	});
	const own = () => "http://10.0.0.7:8000";
});

test("headers are the configuration's over the table's, in lower case", () => {
	const config = { providers: { openrouter: { headers: { "X-Title": "chat", "HTTP-Referer": "https://a" } } } };
	expect(upstream("openrouter").headers).toEqual({ "x-title": "router" });
	expect(upstream("openrouter", config).headers).toEqual({ "x-title": "chat", "http-referer": "https://a" });
});

test("deadlines of a provider replace those of all, one by one", () => {
	const config = { timeouts: { stall: "1m" }, providers: { openai: { timeouts: { total: "5s" } } } };
	const { timeouts, ownTimeouts } = upstream("openai", config);
	expect(timeouts).toMatchObject({ total: 5000, first_token: 600_000, stall: 60_000, connect: 5000 });
	expect(ownTimeouts).toEqual({ total: 5000 });
});

describe("an address that leads back here", () => {
	const loop = (address: string, host = "127.0.0.1", port = 8000) =>
		loopProblem(configureUpstreams(configOf(), { ANTHROPIC_BASE_URL: address }), host, port);
	const addressesNow = () =>
		Object.values(networkInterfaces())
			.flatMap((each) => each ?? [])
			.map(({ family, address }) => (family === "IPv6" ? `[${address}]` : address))
			.filter((address) => !address.includes("%"));

	test.each([
		"localhost",
		"127.0.0.1",
		"127.1.2.3",
		"[::1]",
		"0.0.0.0",
		"[::]",
		"router.localhost",
		"LOCALHOST",
		"localhost.",
	])("is told: http://%s:8000", (host) => expect(loop(`http://${host}:8000/v1`)).toContain("ANTHROPIC_BASE_URL"));

	test("is told by this machine's own name and addresses", () => {
		expect(loop(`http://${hostname()}:8000`)).toContain("leads back");
		expect(loop(`http://${hostname().toUpperCase()}:8000`)).toContain("leads back");
		// Those of a Docker Engine that another test starts or ends come and go meanwhile.
		const before = addressesNow();
		const unseen = before.filter((address) => loop(`http://${address}:8000`) === undefined);
		const after = addressesNow();
		expect(before.length).toBeGreaterThan(0);
		expect(unseen.filter((address) => after.includes(address))).toEqual([]);
	});

	test("is told by the very name it listens on", () => {
		expect(loop("http://router.example:8000", "router.example")).toContain("leads back");
	});

	test("counts the port that a URL leaves out", () => {
		expect(loop("http://localhost", "127.0.0.1", 80)).toContain("leads back");
		expect(loop("https://localhost", "127.0.0.1", 443)).toContain("leads back");
		expect(loop("https://localhost", "127.0.0.1", 80)).toBeUndefined();
	});

	test.each(["http://localhost:8001", "http://127.0.0.1", "http://other.example:8000", "http://192.0.2.1:8000"])(
		"is another matter than %s",
		(address) => expect(loop(address)).toBeUndefined(),
	);

	test("can't be known where the port is yet to be chosen", () => {
		expect(loop("http://localhost:8000", "127.0.0.1", 0)).toBeUndefined();
	});

	test("gets a line for each, and no user or password is in it", () => {
		const env = { OPENAI_BASE_URL: "http://user:secret@localhost:8000", XAI_BASE_URL: "http://localhost:8000" };
		const problem = loopProblem(configureUpstreams(configOf(), env), "127.0.0.1", 8000)!;
		expect(problem.split("\n").length).toBe(2);
		expect(problem).not.toContain("secret");
	});
});

test("what check and banner print holds no secret", () => {
	const env = { OPENAI_API_KEY: "sk-secret-1", OPENAI_BASE_URL: "https://user:sk-secret-2@host/v1" };
	const config = configOf({
		providers: {
			box: { type: "vllm", base_url: "http://box", api_key: "sk-secret-3", headers: { "x-key": "sk-secret-4" } },
		},
	});
	const described = describeProviders(config, env);
	expect(JSON.stringify(described)).not.toContain("sk-secret");
	expect(described.find(({ name }) => name === "openai")).toEqual({
		name: "openai",
		state: "ready",
		variable: "OPENAI_API_KEY",
		baseUrl: "https://host/v1",
	});
});
