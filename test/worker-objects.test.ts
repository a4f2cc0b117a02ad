/** Files at a router of several worker threads: a key's own at each of them, and no other key's, also where the disk can't be written. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Loose } from "./kit/exchange.ts";
import { startFileUpstream } from "./kit/file-upstream.ts";
import { needing } from "./kit/needing.ts";
import { startRedis } from "./kit/redis.ts";
import { until } from "./kit/until.ts";
import { startHere, twoWorkers } from "./kit/worker-router.ts";

const files = startFileUpstream();
afterAll(() => files.stop());
const keys = ["a", "b"].map((name) => ({ name, key: `key-of-${name}-1234` }));

describe.each([
	["on a disk", {}],
	["without a disk", { data_dir: "/proc/nothing" }],
])("a file of a router %s", (_, more) => {
	let router: Awaited<ReturnType<typeof startHere>>;
	beforeAll(async () => {
		const providers = { openai: { api_key: "sk-of-the-test", base_url: files.origin } };
		router = await startHere(twoWorkers({ keys, providers, ...more }));
	});
	afterAll(() => router.stop());

	/** Over a connection of its own. */
	async function ask(path: string, of: string, method = "GET", body?: FormData | string) {
		const headers = { authorization: `Bearer key-of-${of}-1234`, connection: "close" };
		const type = typeof body === "string" ? { "content-type": "application/json" } : {};
		const answer = await fetch(`${router.url}/v1${path}`, {
			...{ method, headers: { ...headers, ...type } },
			...(body ? { body } : {}),
		});
		return { status: answer.status, json: (await answer.json()) as Loose };
	}
	async function upload(of: string): Promise<string> {
		const form = new FormData();
		form.set("purpose", "user_data");
		form.set("file", new File(["words"], "words.txt"));
		const { status, json } = await ask("/files", of, "POST", form);
		expect(status).toBe(200);
		return json["id"];
	}
	const asking = (file_id: string) =>
		JSON.stringify({
			model: "dummy",
			messages: [{ role: "user", content: [{ type: "file", file: { file_id } }] }],
		});

	test("is no other key's at any worker: neither read nor used in a call", async () => {
		const id = await upload("a");
		for (let round = 0; round < 12; round++) {
			expect((await ask(`/files/${id}`, "b")).status).toBe(404);
			const used = await ask("/chat/completions", "b", "POST", asking(id));
			expect(used).toMatchObject({ status: 404, json: { error: { code: "object_not_found" } } });
		}
	});

	test("is read, listed and deleted at each worker", async () => {
		const id = await upload("a");
		for (let round = 0; round < 12; round++) {
			expect((await ask(`/files/${id}`, "a")).status).toBe(200);
			const { json } = await ask("/files", "a");
			expect(json["data"].map((each: Loose) => each["id"])).toContain(id);
		}
		expect((await ask(`/files/${id}`, "a", "DELETE")).status).toBe(200);
		for (let round = 0; round < 12; round++) expect((await ask(`/files/${id}`, "a")).status).toBe(404);
	});
});

needing("redis").test(
	"a file of another router of one Redis is its key's at each worker, without a disk too",
	async () => {
		const server = await startRedis();
		const providers = { openai: { api_key: "sk-of-the-test", base_url: files.origin } };
		const config = { keys, providers, redis: { url: server.url } };
		const routers = [await startHere(twoWorkers({ ...config, data_dir: "/proc/nothing" })), await startHere(config)];
		try {
			const headers = { authorization: "Bearer key-of-a-1234", connection: "close" };
			const form = new FormData();
			form.set("purpose", "user_data");
			form.set("file", new File(["words"], "words.txt"));
			const made = await fetch(`${routers[1]!.url}/v1/files`, { method: "POST", headers, body: form });
			const { id } = (await made.json()) as Loose;
			const read = async () => (await fetch(`${routers[0]!.url}/v1/files/${id}`, { headers })).status;
			await until(async () => (await Promise.all(Array.from({ length: 12 }, read))).every((status) => status === 200));
			const statuses = await Promise.all(Array.from({ length: 24 }, read));
			expect(statuses).toEqual(Array(24).fill(200));
		} finally {
			await Promise.all(routers.map((router) => router.stop()));
			await server.stop();
		}
	},
	60_000,
);
