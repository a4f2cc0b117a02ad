import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { example } from "../src/config/example.ts";
import { jsonSchema } from "../src/config/json-schema.ts";
import { load } from "../src/config/load.ts";
import { ConfigSchema } from "../src/config/schema.ts";
import { settings } from "../src/config/schema-walk.ts";
import { directory } from "./kit/cli.ts";

/** Every setting of the example switched on, as its header says. */
const active = example().replace(/^(\s*)#(?=\S)/gm, "$1");
const variables = Object.fromEntries(
	[...active.matchAll(/\$\{([A-Z_]+)\}/g)].map(([, name]) => [name!, `value-of-${name}`]),
);

function configure(yaml: string, env: Record<string, string>) {
	using home = directory({ "router.yaml": yaml });
	mkdirSync(join(home.path, "tls"));
	for (const name of ["cert", "key", "ca"]) writeFileSync(join(home.path, "tls", `${name}.pem`), "-----BEGIN X-----\n");
	return load({ flags: {}, env, cwd: home.path, role: "standalone" }).config;
}

describe("the example router.yaml", () => {
	test("is valid as it is, with no variable set, and means the defaults", () => {
		const { data_dir: _, log, ...rest } = configure(example(), {});
		const { data_dir: __, log: defaults, ...expected } = configure("", {});
		expect(rest).toEqual(expected);
		expect(log).toEqual({ ...defaults, dir: log.dir });
	});

	test("is valid with every setting switched on", () => {
		const config = configure(active, variables);
		expect(config.keys.map(({ name }) => name)).toEqual(["team-a", "ops"]);
		expect(Object.keys(config.providers)).toEqual(["openrouter", "mybox"]);
		expect(config.models[0]?.targets).toHaveLength(2);
		expect(config.server.tls?.cert).toEndWith("/tls/cert.pem");
	});

	test("holds every setting of the schema, and its default where it has one", () => {
		const written = parse(active);
		for (const { path, schema } of settings(ConfigSchema)) {
			const value = path.reduce<unknown>((at, name) => (at as Record<string, unknown>)[name], written);
			expect([path, value]).toEqual([path, schema["examples"]?.[0] ?? schema.default]);
		}
	});

	test("describes every field of keys, providers and models", () => {
		for (const field of ["key:", "base_url:", "timeouts.stall:", "system_prompt:", "fallback:"]) {
			expect(example()).toContain(`#   ${field} `);
		}
	});

	test("keeps to 100 columns", () => {
		expect(
			example()
				.split("\n")
				.filter((line) => line.length > 100),
		).toEqual([]);
	});
});

describe("the JSON Schema", () => {
	const text = JSON.stringify(jsonSchema());

	test("has no keyword of our own", () => {
		expect(text).not.toMatch(/"(env|secret|unit|expects)":(?!\{)/);
	});

	test("describes settings, and lets an empty section stand", () => {
		const schema = jsonSchema() as { properties: { server: { type: string[]; properties: { port: object } } } };
		expect(schema.properties.server.type).toEqual(["object", "null"]);
		expect(schema.properties.server.properties.port).toMatchObject({ type: "integer", maximum: 65535, default: 8000 });
	});

	test("asks only for what has no default", () => {
		const schema = jsonSchema() as { required?: string[]; properties: { keys: { items: { required: string[] } } } };
		expect(schema.required).toBeUndefined();
		expect(schema.properties.keys.items.required).toEqual(["name", "key"]);
	});
});
