/** What `router explain --url` says where there is no router to ask, or where it lets nobody in. */
import { expect, test } from "bun:test";
import { cli, directory } from "./kit/cli.ts";

async function explainAt(fetch: () => Response) {
	using home = directory();
	const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch });
	try {
		const url = `http://127.0.0.1:${server.port}`;
		const { code, stderr } = await cli(["explain", "m", "--url", url], { cwd: home.path });
		return { code, words: stderr.replaceAll(url, "URL") };
	} finally {
		await server.stop(true);
	}
}

test.each([
	["a web page", () => new Response("<html>"), "URL/v1/route answers 200: that is no router; --url names one"],
	[
		"JSON of another server",
		() => Response.json({}),
		"URL/v1/route answers something else than a router does: --url names one",
	],
	["null", () => Response.json(null), "URL/v1/route answers something else than a router does: --url names one"],
	["404", () => new Response("no", { status: 404 }), "URL/v1/route answers 404: that is no router; --url names one"],
	[
		"401",
		() => Response.json({ error: { message: "No key." } }, { status: 401 }),
		"URL/v1/route answers 401: No key. This command takes the key from `keys:` of its configuration (--config).",
	],
])("%s", async (_, answer, words) => {
	const { code, words: said } = await explainAt(answer);
	expect([code, said]).toEqual([1, expect.stringContaining(words)]);
});
