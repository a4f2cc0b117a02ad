import { describe, expect, test } from "bun:test";
import { configure, refusal } from "./kit/configure.ts";

/** The lines a person sees for this `router.yaml`. */
function mistakes(yaml: string, env: Record<string, string> = {}): string[] {
	return refusal({ yaml, env }).split("\n");
}

describe("a mistake in router.yaml", () => {
	test("that is an unknown setting names line, column and the nearest right one", () => {
		expect(mistakes("server:\n  prt: 8000\n")).toEqual([
			'router.yaml:2:3 server.prt: unknown setting; did you mean "port"?',
		]);
	});

	test("that is a setting in the wrong place names the right place", () => {
		expect(mistakes("port: 8000\n")).toEqual(['router.yaml:1:1 port: unknown setting; did you mean "server.port"?']);
	});

	test("that is a setting like no other lists those there are", () => {
		expect(mistakes("log: { zebra: 1 }")).toEqual([
			"router.yaml:1:8 log.zebra: unknown setting; known here: level, dir, keep",
		]);
	});

	test("does not hide another one: all come at once, down the file", () => {
		const lines = mistakes(
			[
				"server: { port: abc }",
				"keys: [{ name: a }]",
				"models: [{ name: m, targets: [] }]",
				"log: { level: loud }",
			].join("\n"),
		);
		expect(lines).toEqual([
			"router.yaml:1:17 server.port: must be a whole number from 0 to 65535, but is text",
			"router.yaml:2:8 keys[0].key: is missing; it must be text, at least 8 characters",
			"router.yaml:3:30 models[0].targets: must be a list with at least one entry",
			"router.yaml:4:15 log.level: must be one of trace, debug, info, warn, error, silent",
		]);
	});

	test("that is a number out of range says the range", () => {
		expect(mistakes("server: { port: 65536 }")[0]).toContain("must be a whole number from 0 to 65535");
	});

	test("that is a duration without a unit shows one with", () => {
		expect(mistakes("timeouts: { stall: 5 }")[0]).toContain("must be a duration such as 10m (units ms, s, m, h, d)");
		expect(mistakes('server: { body_limit: "32 megabytes" }')[0]).toContain("must be a size such as 32MB");
	});

	test("that is a number where text belongs says to quote it", () => {
		expect(mistakes("keys: [{ name: 12, key: 12345678 }]")).toEqual([
			"router.yaml:1:16 keys[0].name: must be text, at most 64 characters, but is a number; put it in quotes",
			"router.yaml:1:25 keys[0].key: must be text, at least 8 characters, but is a number; put it in quotes",
		]);
	});

	test("inside a target is told of the target's form that was meant", () => {
		expect(mistakes("models: [{ name: m, targets: [{ provider: openai, modl: x }] }]")).toEqual([
			"router.yaml:1:31 models[0].targets[0].model: is missing; it must be text",
			'router.yaml:1:51 models[0].targets[0].modl: unknown setting; did you mean "model"?',
		]);
	});

	test("quotes no value: it may be a secret", () => {
		const lines = mistakes("server: { port: sk-secret-1, sk: sk-secret-2 }\nkeys: [{ name: a, key: sk-3 }]\n");
		expect(lines).toHaveLength(3);
		expect(lines.join()).not.toMatch(/sk-secret|sk-3/);
	});

	test("that leaves a restriction empty is one: it does not become the default", () => {
		const lines = mistakes("keys:\n  - name: a\n    key: long-enough\n    models:\n    # - fast\n");
		expect(lines).toEqual([
			"router.yaml:4:5 keys[0].models: must be a list, but is nothing; write `models: […]`, or `models: []` for none",
		]);
	});
});

describe("a mapping where a list belongs, and the other way round, says what shape is wanted and how it is written", () => {
	test.each([
		[
			"keys:\n  a: { key: long-enough }",
			"2:3 keys: must be a list, but is a mapping; write `keys: [{ name: …, key: … }]`",
		],
		[
			"keys: [{ name: a, key: long-enough, models: { fast: true } }]",
			"1:45 keys[0].models: must be a list, but is a mapping; write `models: […]`",
		],
		[
			"models: { fast: { targets: [dummy] } }",
			"1:9 models: must be a list, but is a mapping; write `models: [{ name: …, targets: […] }]`",
		],
		[
			"admin: { keys: { ops: { key: long-enough } } }",
			"1:16 admin.keys: must be a list, but is a mapping; write `keys: [{ name: …, key: … }]`",
		],
		[
			"agents: { replicas: { qwen3-8b: { min: 3, max: 2 } } }",
			"1:40 agents.replicas.qwen3-8b.min: is 3, and `max` is 2: at least one of them has to change",
		],
		[
			"agents: { replicas: { a: { max: 2 } } }\nagent: { models: [{ model: org/a, name: a, load: always }] }",
			'1:23 agents.replicas.a: is about models with `load: on-demand`, and this file\'s agent has "a" with `load: always`',
		],
		["agents: { allow: { gpu-1: true } }", "1:18 agents.allow: must be a list, but is a mapping; write `allow: […]`"],
		["keys:", "1:1 keys: must be a list, but is nothing; write `keys: [{ name: …, key: … }]`, or `keys: []` for none"],
		[
			"providers: []",
			"1:12 providers: must be a mapping (name: value), but is a list; write `providers: { NAME: { type: … } }`",
		],
		["server: []", "1:9 server: must be a mapping (name: value), but is a list; write `server: { host: … }`"],
		[
			"limits: { models: [fast] }",
			"1:19 limits.models: must be a mapping (name: value), but is a list; write `models: { NAME: { rpm: … } }`",
		],
		[
			"limits: { address: }",
			"1:11 limits.address: must be a mapping (name: value), but is nothing; write `address: { rpm: … }`, or `address: {}` for none",
		],
		["models: [a]", "1:10 models[0]: must be a mapping (name: value), but is text; write `{ name: …, targets: […] }`"],
	])("%j", (yaml, line) => expect(mistakes(yaml)).toEqual([`router.yaml:${line}`]));
});

describe("what newcomers write is answered with what they meant", () => {
	test.each([
		[
			"timeouts: { total: 60 }",
			"1:20 timeouts.total: must be a duration such as 10m (units ms, s, m, h, d), but is a number without a unit",
		],
		["server: {port:8000}", "1:10 server.port: a blank is missing behind the colon: write `port: …`"],
		[
			"server:\n\u00a0 port: 1",
			"2:1 \u00a0 port: unknown setting, with a character that can't be seen in its name: type it again",
		],
		[
			"openai_api_key: sk-secret",
			"1:1 openai_api_key: unknown setting; a vendor's key is the value of its variable (OPENAI_API_KEY and the like) or `providers.NAME.api_key`, a caller's is `key` of an entry under `keys:`",
		],
		[
			"models: [{ name: a, targets: [dummy], gpus: 1 }]",
			"1:39 models[0].gpus: unknown setting; entries of `agent.models` have it",
		],
		[
			"admin: { keys: [{ name: a, key: secret-1, rpm: 1 }] }",
			"1:43 admin.keys[0].rpm: unknown setting; entries of `keys` have it",
		],
		[
			"models: [{ name: a, targets: [{ provider: b, model: c, port: 1 }] }]",
			"1:56 models[0].targets[0].port: unknown setting; known here: provider, model, weight, context, lacks",
		],
		[
			"models: [{ name: “fast”, targets: [dummy] }]",
			'1:18 models[0].name: has typographic quotes around it, which YAML takes for a part of the text: write " in their place',
		],
		[
			'server: { host: "localhost:8000" }',
			"1:17 server.host: is an address alone, such as 0.0.0.0: its port is `server.port`, and no http:// belongs there",
		],
		["agent: { host: http://0.0.0.0 }", "1:16 agent.host: is an address alone"],
		[
			"providers: { vllm: { base_url: http://a:1/v1/chat/completions } }",
			"1:32 providers.vllm.base_url: is the address of one operation: leave `/chat/completions` out",
		],
		[
			"providers: { openai: { base_url: http://a/v1/embeddings/ } }",
			"1:34 providers.openai.base_url: is the address of one operation: leave `/embeddings` out",
		],
		[
			"server: { cors_origins: [example.com] }",
			"1:26 server.cors_origins[0]: must be * or an origin without a path, such as https://chat.example.com",
		],
		["usage: { user_headers: ['x user'] }", "1:25 usage.user_headers[0]: must be a header's name such as x-user"],
		[
			"agent: { models: [{ model: ~/models/x }] }",
			"1:28 agent.models[0].model: must be a Hugging Face id such as Qwen/Qwen3-8B, or the absolute path",
		],
		[
			"agent: { models: [{ model: a/b, env: [HF_HOME=/x] }] }",
			"1:39 agent.models[0].env[0]: must be a variable's name such as NCCL_DEBUG",
		],
		["agent: { vllm_url: http://a:1/v1/completions }", "1:20 agent.vllm_url: is the address of one operation"],
		["data_dir: ~/router", '1:11 data_dir: begins with ~, which only a shell fills in: write "${HOME}" in its place'],
		["agent: { cache_dir: ~/cache }", "1:21 agent.cache_dir: begins with ~"],
	])("%j", (yaml, line) => {
		expect(mistakes(yaml)).toEqual([expect.stringContaining(`router.yaml:${line}`)]);
	});

	test.each(["http://a/embeddings", "http://a:1/team/messages/", "http://a/responses/v1"])(
		"%s may be where a server is",
		(url) => {
			const { config } = configure({ yaml: `providers: { box: { type: vllm, base_url: "${url}" } }` });
			expect(config.providers["box"]?.base_url).toBe(url);
		},
	);

	test("a value that sticks to its name is not shown: it may be a secret", () =>
		expect(mistakes("keys: [{ name: a, key:sk-secret }]")).toEqual([
			"router.yaml:1:19 keys[0].key: a blank is missing behind the colon: write `key: …`",
		]));

	test("hosts and addresses that only look like those are taken", () => {
		for (const host of ["::1", "[::]", "localhost", "0.0.0.0"]) configure({ yaml: `server: { host: "${host}" }` });
		configure({ yaml: "providers: { vllm: { base_url: http://completions/v1 } }" });
		configure({ yaml: `models: [{ name: "it's", targets: [dummy] }]` });
	});

	test("a file of another encoding is called that", () => {
		expect(mistakes("\ufeffs\0e\0")).toEqual(["router.yaml: is no UTF-8 text: save it as UTF-8"]);
	});
});

describe("names and needs the schema can't express", () => {
	test.each([
		[
			"prices: { qwen3-8b: { input: 1, output: 2 } }",
			'router.yaml:1:11 prices.qwen3-8b: is no `provider/model`, and matches none: write "local/qwen3-8b"',
		],
		["agents: { replicas: { local/ondem: { min: 1 } } }", 'the name that the agents give it: "ondem"'],
		["agent: { image: 'vllm sim' }", "agent.image: must be an image's name such as"],
		["agent: { roll: { watch: 10m, limit: 1m } }", "agent.roll.watch: is 10m, and `limit` is 1m"],
		["agent: { roll: { limit: 30s } }", "agent.roll.watch: is 1m, and `limit` is 30s"],
	])("what would do nothing is refused: %s", (yaml, said) => {
		expect(mistakes(yaml)).toEqual([expect.stringContaining(said)]);
	});

	test("a GPU is a number or a UUID, and a model's setting belongs to an entry of the models", () => {
		const devices = mistakes("agent: { models: [{ model: a/b, devices: ['MIG-x', 'GPU-'] }] }");
		expect(devices).toEqual([
			expect.stringMatching(/devices\[0\]: must be a GPU's number such as 0, its UUID \(GPU-/),
			expect.stringMatching(/devices\[1\]: must be a GPU's number/),
		]);
		expect(mistakes("agent: { memory: 4GiB }")).toEqual([
			"router.yaml:1:10 agent.memory: unknown setting; entries of `agent.models` have it",
		]);
		expect(mistakes("replicas: {}")[0]).toContain('did you mean "agents.replicas"?');
	});

	test("a tunnel that is always used leads to a router", () => {
		const settings = (agent: string) => ({ yaml: `agent: { ${agent} }`, role: "agent" as const });
		expect(() => configure(settings("tunnel: always"))).toThrow("no router is named that it could lead to");
		expect(() => configure({ ...settings("tunnel: always"), role: "standalone" })).toThrow("needs none: leave it out");
		configure(settings("tunnel: always, router: http://r:8000"));
		configure({ ...settings("tunnel: always"), env: { ROUTER_URL: "http://r:8000" } });
		configure({ ...settings("tunnel: always"), role: "router" });
	});

	test("a price of any provider's model may be a pattern without a slash", () => {
		configure({ yaml: "prices: { '*-mini': { input: 1, output: 2 } }" });
	});

	test("two keys or two models of one name are refused", () => {
		const lines = mistakes(
			"keys: [{ name: a, key: secret-1 }, { name: a, key: secret-2 }]\nmodels: [{ name: m, targets: [x] }, { name: m, targets: [y] }]",
		);
		expect(lines).toEqual([
			"router.yaml:1:44 keys[1].name: another key has this name too; names must differ",
			"router.yaml:2:45 models[1].name: another model has this name too; names must differ",
		]);
	});

	test("a secret used for two keys is refused, across file and environment too", () => {
		expect(mistakes("keys: [{ name: a, key: same-secret }]", { ROUTER_API_KEYS: "same-secret" })).toEqual([
			"keys[1].key: another key has this secret too; each needs its own (set by ROUTER_API_KEYS)",
		]);
	});

	test("a provider of unknown name needs a type, and a near miss is named", () => {
		expect(mistakes("providers: { mybox: { base_url: http://b } }")[0]).toMatch(/mybox: .* give it a type/);
		expect(mistakes("providers: { opnai: {} }")[0]).toContain('did you mean "openai"?');
		expect(mistakes("providers: { OpenAI: {} }")[0]).toContain('such as "openai"');
	});

	test("providers without an address of their own need a base_url", () => {
		const lines = mistakes("providers:\n  box: { type: openai-compatible }\n  vllm:\n  llm-d: {}\n");
		expect(lines).toEqual([
			"router.yaml:2:8 providers.box.base_url: is missing; the type openai-compatible has no address of its own",
			"router.yaml:3:3 providers.vllm.base_url: is missing; the type vllm has no address of its own",
			"router.yaml:4:10 providers.llm-d.base_url: is missing; the type llm-d has no address of its own, or set LLMD_BASE_URL",
		]);
	});

	test("a TLS file that can't be read is named, and so is one that holds no PEM", () => {
		const lines = mistakes("server: { tls: { cert: none.pem, key: router.yaml } }");
		expect(lines[0]).toMatch(/^router.yaml:1:24 server.tls.cert: .*none.pem can't be read \(ENOENT\)$/);
		expect(lines[1]).toMatch(/^router.yaml:1:39 server.tls.key: .*router.yaml is no PEM file$/);
	});
});

test.each([
	["server: { cors_origins: [nope] }", "cors_origins"],
	['server: { cors_origins: ["https://a.b/path"] }', "cors_origins"],
	['keys: [{ name: a, key: "two words and more" }]', "keys[0].key"],
])("%s would never match anything", (text, path) => {
	expect(refusal({ yaml: text })).toContain(path);
});

describe("keys, limits and prices", () => {
	test.each([
		["keys: [{ name: a, key: 'sha256:abcd' }]", "keys[0].key: must be sha256: and 64 hexadecimal digits"],
		[
			"keys: [{ name: a, key: same-secret }]\nadmin: { keys: [{ name: b, key: same-secret }] }",
			"admin.keys[0].key: is one of `keys:`, too; administration needs its own",
		],
		[
			"admin: { keys: [{ name: b, key: secret-1 }, { name: b, key: secret-2 }] }",
			"admin.keys[1].name: another admin key has this name too; names must differ",
		],
		["keys: [{ name: a, key: secret-1, rpm: 0 }]", "keys[0].rpm: must be a whole number from 1 to 1000000000"],
		["keys: [{ name: a, key: secret-1, budget: { per: day } }]", "keys[0].budget.usd: is missing"],
		[
			"keys: [{ name: a, key: secret-1, budget: { usd: 5, per: week } }]",
			"keys[0].budget.per: must be one of day, month, total",
		],
		["drop_params: true", "drop_params: unknown setting; write `unsupported: drop`"],
		["providers: { openai: { drop_params: true } }", "drop_params: unknown setting; write `unsupported: drop`"],
		[
			"models: [{ name: a, targets: [dummy], drop_params: true }]",
			"drop_params: unknown setting; write `unsupported: drop`",
		],
		[
			"models: [{ name: a, targets: [dummy], input_cost_per_token: 1 }]",
			"input_cost_per_token: unknown setting; write `prices:",
		],
		["providers: { xai: { api_base: x } }", "api_base: unknown setting; an address is `base_url`"],
		["limits: { models: { fast: { qps: 1 } } }", "limits.models.fast.qps: unknown setting"],
		[
			"prices: { a/b: { input: 1 } }",
			"prices.a/b: needs input and output, or gpu_hour, or request: a price that is missing is not zero",
		],
		["prices: { a/b: { cached: 1, gpu_hour: 1 } }", "prices.a/b: needs input and output"],
		["prices: { a/b: { input: 1, output: -1 } }", "prices.a/b.output: must be a number from 0 to 1000000"],
		[
			"server: { trusted_proxies: [proxy.example] }",
			"server.trusted_proxies[0]: is no address or block such as 10.0.0.0/8",
		],
		["server: { metrics: closed }", "server.metrics: must be one of open, admin"],
		["usage: { user_headers: ['x user'] }", "usage.user_headers[0]"],
	])("%s", (yaml, line) => {
		expect(mistakes(yaml)[0]).toContain(line);
	});
});

describe("a bracket that is never closed is named, where it stands", () => {
	test.each([
		["keys: [", '1:7: the "[" here is never closed; end it with "]"'],
		["keys: [\nserver: { port: 1 }", '1:7: the "[" here'],
		["keys: [{ name: a }\nmodels: []", '1:7: the "[" here'],
		["server: { port: 1\nmodels: []", '1:9: the "{" here is never closed; end it with "}"'],
		["keys:\n  - [a\n  - b", '2:5: the "[" here'],
		["models: [ { name: a, targets: [b] }", '1:9: the "[" here'],
	])("%j", (text, said) => expect(mistakes(text)[0]).toContain(said));

	test("and where none is, the indentation is at fault", () => {
		expect(mistakes("a: [1]\nb:\n    c: 1\n  d: 2")[0]).toContain("the indentation does not fit");
	});
});

test.each([
	["keys: [{ name: a, key: secret-1, rpm: 1.5 }]", "but is a number with a fraction"],
	["keys: [{ name: a, key: secret-1, rpm: .inf }]", "but is no finite number"],
	["keys: [{ name: a, key: secret-1, rpm: .nan }]", "but is no finite number"],
])("a number of the wrong kind is told for what it is: %s", (text, said) => {
	expect(mistakes(text).join()).toContain(said);
});

test.each([
	["prices: { a/b: { input: -5 } }", "prices.a/b.input: must be a number from 0"],
	["prices: { a/b: { input: x, output: 1 } }", "prices.a/b.input: must be a number"],
	["prices: { a/b: { inptu: 5, output: 1 } }", "prices.a/b.inptu: unknown setting"],
])("a price with a mistake inside is told once: %s", (text, said) => {
	expect(mistakes(text)).toEqual([expect.stringContaining(said)]);
});
