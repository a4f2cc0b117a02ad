/** `/admin/configuration`: what holds and where from, what the file would change, and loading it. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const ADMIN = "admin-key-of-the-test";
const VIEWER = "viewer-key-of-the-test";
const CALLER = "key-of-a-caller-of-the-test";
const CONFIG = {
	keys: [{ name: "team", key: CALLER }],
	admin: {
		keys: [
			{ name: "ops", key: ADMIN },
			{ name: "wall", key: VIEWER, role: "viewer" },
		],
	},
	server: { body_limit: "2MB" },
	models: [{ name: "quick", targets: ["dummy"], policy: "order" }],
	providers: { openai: { api_key: "secret-of-the-provider" } },
};

interface Answered {
	readonly status: number;
	readonly text: string;
	readonly error: { readonly code: string; readonly message: string };
	readonly settings: readonly { readonly setting: string; readonly value: string; readonly from: string }[];
	readonly reload: { readonly changes: object[]; readonly waiting: object[]; readonly mistakes: string[] };
}

let router: RunningRouter;
beforeAll(async () => {
	router = await startRouter({ config: CONFIG });
}, 60_000);
afterAll(() => router.stop());

async function ask(method: "GET" | "POST", key: string, path = "/admin/configuration"): Promise<Answered> {
	const answer = await fetch(router.url + path, { method, headers: { authorization: `Bearer ${key}` } });
	const text = await answer.text();
	return { status: answer.status, text, ...(JSON.parse(text) as Omit<Answered, "status" | "text">) };
}
const reload = (key: string) => ask("POST", key, "/admin/configuration/reload");
const file = () => join(router.directory, "router.yaml");
/** @param above put in front of it */
const write = (config: object, above = "") => writeFileSync(file(), above + JSON.stringify(config));
const rowOf = ({ settings }: Answered, name: string) => settings.find(({ setting }) => setting === name);
const settingOf = (answered: Answered, name: string) => rowOf(answered, name)?.value;

test("a caller's key sees nothing, and a viewer's loads nothing", async () => {
	expect([(await ask("GET", CALLER)).status, (await reload(CALLER)).status]).toEqual([401, 401]);
	const { status, error } = await reload(VIEWER);
	expect([status, error.code]).toEqual([403, "read_only_key"]);
});

test("a file that can't be used is refused with what is wrong and where, and what was in force stays", async () => {
	write({ ...CONFIG, models: [{ name: "quick", targets: ["dummy"], policy: "luckiest" }] });
	const { status, error } = await reload(ADMIN);
	expect([status, error.code]).toEqual([409, "configuration_refused"]);
	expect(error.message).toMatch(/router\.yaml:1:\d+ models\[0\]\.policy/);
	const shown = await ask("GET", VIEWER);
	expect(shown.reload.changes).toEqual([]);
	expect(shown.reload.mistakes[0]).toContain("models[0].policy");
	expect(settingOf(shown, "models[0].policy")).toBe("order");
	write({ ...CONFIG, keys: "none" });
	expect((await reload(ADMIN)).error.message).toContain("keys");
});

test("a target that leads nowhere is a mistake before the reload, not a change; refused, it leaves each setting where it came from", async () => {
	write({ ...CONFIG, models: [{ name: "quick", targets: ["nosuch/x"], policy: "order" }] }, "\n\n");
	const { reload: told } = await ask("GET", VIEWER);
	expect(told).toEqual({ changes: [], waiting: [], mistakes: [expect.stringContaining("models[0].targets[0]")] });
	const { status, error } = await reload(ADMIN);
	expect([status, error.message]).toEqual([409, expect.stringContaining(told.mistakes[0]!)]);
	expect(rowOf(await ask("GET", VIEWER), "models[0].policy")?.from).toEndWith("router.yaml:1");
});

test("a file that is still being written is waited for", async () => {
	const text = JSON.stringify(CONFIG);
	writeFileSync(file(), text.slice(0, 20));
	const answer = reload(ADMIN);
	for (const end of [40, 80, text.length]) {
		await Bun.sleep(100);
		writeFileSync(file(), text.slice(0, end));
	}
	expect((await answer).status).toBe(200);
});

test("no secret is shown, to nobody", async () => {
	for (const key of [ADMIN, VIEWER]) {
		const { text } = await ask("GET", key);
		for (const secret of [ADMIN, VIEWER, CALLER, "secret-of-the-provider"]) expect(text).not.toContain(secret);
	}
});

test("a setting says where it comes from: the file with its line, a variable, or the default", async () => {
	const { settings } = await ask("GET", VIEWER);
	const from = (name: string) => settings.find(({ setting }) => setting === name)?.from;
	expect(from("models[0].policy")).toContain("router.yaml:1");
	expect(from("server.port")).toBe("PORT");
	expect(from("server.drain")).toBe("default");
});

test("what a reload would change is told before it does, and is in force after it", async () => {
	// The router loads the file by itself, too, once it has been the same for a while: it is written until that is seen before.
	write(CONFIG);
	await reload(ADMIN);
	let shown: Answered | undefined;
	await until(async () => {
		write({ ...CONFIG, models: [{ name: "quick", targets: ["dummy"], policy: "cheapest" }] });
		shown = await ask("GET", VIEWER);
		if (shown.reload.changes.length > 0) return true;
		write(CONFIG);
		await reload(ADMIN);
		return false;
	});
	expect(shown?.reload).toMatchObject({
		changes: [{ setting: "models[quick].policy", from: "order", to: "cheapest" }],
		mistakes: [],
	});
	const loaded = await reload(ADMIN);
	expect([loaded.status, loaded.reload.changes]).toEqual([200, []]);
	expect(settingOf(loaded, "models[0].policy")).toBe("cheapest");
	await router.printed(/configuration\.reload/);
});

test("what only a restart changes is told as that, also after the reload", async () => {
	write({ ...CONFIG, server: { body_limit: "3MB" } });
	expect((await reload(ADMIN)).status).toBe(200);
	const shown = await ask("GET", VIEWER);
	expect(shown.reload).toMatchObject({ changes: [], waiting: [{ setting: "server.body_limit" }], mistakes: [] });
	expect(rowOf(shown, "server.body_limit")).toMatchObject({
		value: "2MB",
		from: expect.stringMatching(/router\.yaml:1, at the start$/),
	});
});
