/** The data directory as people treat it: deleted under a running router, or given to two of them. */
import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { cli, directory } from "./kit/cli.ts";
import { startRouter } from "./kit/router.ts";

test("a key that is made while the data directory is gone says that it will be forgotten, by the command, too", async () => {
	using home = directory();
	const data = join(home.path, "data");
	const running = await startRouter({
		env: { DATA_DIR: data },
		config: { admin: { keys: [{ name: "root", key: "the-admin-key" }] } },
	});
	try {
		const make = async (name: string) => {
			const answer = await fetch(`${running.url}/admin/keys`, {
				method: "POST",
				headers: { authorization: "Bearer the-admin-key", "content-type": "application/json" },
				body: JSON.stringify({ name }),
			});
			return { status: answer.status, ...((await answer.json()) as { warning?: string }) };
		};
		expect(await make("kept")).toMatchObject({ status: 201 });
		expect((await make("kept-too")).warning).toBeUndefined();
		rmSync(data, { recursive: true });
		expect(await make("lost")).toMatchObject({
			status: 201,
			warning: expect.stringContaining("it was deleted or replaced"),
		});
		const made = await cli(["keys", "create", "--name", "anew"], { cwd: home.path });
		expect(made.code).toBe(0);
		expect(made.stderr).toContain(`There was no ${data}: it is made now.`);
		expect(made.stderr).toContain("does not know the key until it is restarted");
	} finally {
		await running.stop();
	}
});
