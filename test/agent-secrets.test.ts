/** The secret of each agent: the same after a restart, another for everyone else. */
import { expect, test } from "bun:test";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { agentSecrets } from "../src/accounts/auth/agent-secrets.ts";
import { directory } from "./kit/cli.ts";

const endpoint = "http://10.0.0.7:5000";

test("is an instance's own wherever it moves, and the same after a restart", () => {
	using home = directory();
	const secrets = agentSecrets(join(home.path, "data"));
	const mine = secrets.of({ name: "gpu-1", instance: "one", endpoint });
	expect(mine).toMatch(/^[\w-]{43}$/);
	expect(secrets.of({ name: "gpu-1", instance: "one", endpoint: "http://10.0.0.8:5000" })).toBe(mine);
	expect(agentSecrets(join(home.path, "data")).of({ name: "gpu-1", instance: "one", endpoint })).toBe(mine);
	expect(statSync(join(home.path, "data/agent-secret.key")).mode & 0o777).toBe(0o600);
});

test("is nobody else's", () => {
	using home = directory();
	using other = directory();
	const { of } = agentSecrets(home.path);
	const all = [
		of({ name: "gpu-1", instance: "one", endpoint }),
		of({ name: "gpu-1", instance: "two", endpoint }),
		of({ name: "gpu-2", instance: "one", endpoint }),
		of({ name: "gpu-1", endpoint }),
		of({ name: "gpu-1", endpoint: "http://10.0.0.8:5000" }),
		agentSecrets(other.path).of({ name: "gpu-1", instance: "one", endpoint }),
	];
	expect(new Set(all).size).toBe(all.length);
});

test("is made from a new key where the file holds none, or can't be used, which it says", () => {
	using home = directory({ "agent-secret.key": "short", file: "" });
	const made = agentSecrets(home.path).of({ name: "a", endpoint });
	expect(agentSecrets(home.path).of({ name: "a", endpoint })).toBe(made);
	const lost = agentSecrets(join(home.path, "file"));
	expect(lost.problem).toMatch(/agent-secret\.key can't be used \(E\w+\)/);
	expect(lost.of({ name: "a", endpoint })).not.toBe(made);
	writeFileSync(join(home.path, "agent-secret.key"), "");
	expect(agentSecrets(home.path).of({ name: "a", endpoint })).not.toBe(made);
});
