/** No reload opens a router that asks for keys, unless its file says so. */
import { afterEach, describe, expect, test } from "bun:test";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { saysOpen } from "../src/accounts/auth/listen-policy.ts";
import { ConfigError } from "../src/config/config-error.ts";
import { configure } from "./kit/configure.ts";
import type { Json } from "./kit/exchange.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const KEYS = [{ name: "a", key: "key-of-the-team" }];
let router: RunningRouter;
afterEach(() => router.stop());

/** Puts another file in place and has it read. */
function reload(settings: Json | string, name = "router.yaml"): void {
	const file = join(router.directory, name);
	writeFileSync(`${file}.new`, typeof settings === "string" ? settings : JSON.stringify(settings));
	renameSync(`${file}.new`, file);
	process.kill(router.pid, "SIGHUP");
}
const status = async (headers: Record<string, string> = {}) => {
	const answer = await fetch(`${router.url}/v1/models`, { headers });
	await answer.text();
	return answer.status;
};
const isShut = async () => {
	expect(await status()).toBe(401);
	expect(await status({ authorization: "Bearer key-of-the-team" })).toBe(200);
};

describe("a router with keys, on the loopback address that nobody named,", () => {
	const start = async () => {
		router = await startRouter({ config: { server: { port: 0 }, keys: KEYS }, env: { HOST: "" } });
		await isShut();
	};

	test.each([
		[
			"a mapping for a list",
			{ keys: { a: { key: "key-of-the-team" } } },
			/router\.yaml:1:9 keys: must be a list, but is a mapping/,
		],
		[
			"`keys:` with nothing behind it",
			"keys:\nserver: { port: 0 }\n",
			/router\.yaml:1:1 keys: must be a list, but is nothing/,
		],
		["no `keys:` at all", { server: { port: 0 } }, /No key would be left/],
		["a file that says `{}`", "{}", /No key would be left/],
		[
			"`keys: []` and no word about where",
			{ server: { port: 0 }, keys: [] },
			/write `keys: \[\]` and name the loopback address/,
		],
		["`server.insecure` and no word about keys", { server: { port: 0, insecure: true } }, /No key would be left/],
		["a file that holds only comments", "# keys:\n#   - name: a\n", /has been emptied/],
		["a file that ends in its first key", "server: { port: 0 }\nkeys:\n  - name: a\n", /keys\[0\]\.key: is missing/],
	] as [string, Json | string, RegExp][])("stays shut: %s", async (_, settings, said) => {
		await start();
		reload(settings);
		await router.printed(/the last good one stays/);
		await router.printed(said);
		await isShut();
		expect(await router.metric("router_config_reloads_total", { result: "refused" })).toBe(1);
		expect(router.output()).not.toContain("key-of-the-team");
	});

	test.each([
		["insecure", { insecure: true }],
		["on a loopback address", { host: "127.0.0.1" }],
	])("opens where the file says `keys: []` and that it is to be %s", async (_, server) => {
		await start();
		reload({ keys: [], server });
		await router.printed(/No key is left: whoever reaches this port may call/);
		expect(await status()).toBe(200);
	});
});

test("a file that came after the start and is gone again takes no key with it", async () => {
	router = await startRouter();
	expect(await status()).toBe(200);
	reload({ keys: KEYS });
	await router.printed(/loaded anew/);
	await isShut();
	rmSync(join(router.directory, "router.yaml"));
	process.kill(router.pid, "SIGHUP");
	await router.printed(/there is no such file/);
	await isShut();
});

test("a key that was pasted with quotes is taken without, and the log says so", async () => {
	router = await startRouter();
	reload({ keys: [{ name: "a", key: '"key-of-the-team"' }] });
	await router.printed(/keys\[0\]\.key: has quotes around it; it is read without/);
	await isShut();
});

test("keys of the environment are left whatever the file says", async () => {
	router = await startRouter({
		config: { keys: [{ name: "b", key: "key-of-the-file" }] },
		env: { ROUTER_API_KEYS: "key-of-the-team", HOST: "" },
	});
	reload({ server: { port: 0 } });
	await router.printed(/loaded anew/);
	await isShut();
});

test.each([
	["", {}, false],
	["keys: []", {}, false],
	["keys: []\nserver: { port: 1 }", {}, false],
	["server: { insecure: true }", {}, false],
	["keys: []\nserver: { insecure: true }", {}, true],
	["keys: []\nserver: { host: localhost }", {}, true],
	["keys: []\nserver: { host: 0.0.0.0 }", {}, false],
	["keys: []", { HOST: "::1" }, true],
	["keys: []", { HOST: "10.0.0.1" }, false],
])("that everyone may call is said by %j with %j: %p", (yaml, env, says) => {
	const { config, sources } = configure({ yaml, env });
	expect(saysOpen(config, sources)).toBe(says);
});

test("no beginning of a file says that everyone may call: it is refused, has keys, or says nothing of them", () => {
	const yaml =
		'server:\n  host: 127.0.0.1\nkeys:\n  - name: a\n    key: "key-of-the-team"\n  - { name: b, key: key-of-another }\n';
	const counts = [...yaml].map((_, length) => {
		try {
			const { config, sources } = configure({ yaml: yaml.slice(0, length) });
			expect(saysOpen(config, sources)).toBe(false);
			return config.keys.length;
		} catch (error) {
			expect(error).toBeInstanceOf(ConfigError);
			return undefined;
		}
	});
	expect(new Set(counts)).toEqual(new Set([0, undefined, 1, 2]));
});
