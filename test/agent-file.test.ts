/** The UUID by which a router knows an agent again. */
import { expect, test } from "bun:test";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { agentInstance } from "../src/agent/models/agent-file.ts";
import { directory } from "./kit/cli.ts";

const UUID = /^[0-9a-f-]{36}$/;

test("is the same after a restart, and another in another directory", () => {
	using here = directory();
	using there = directory();
	const first = agentInstance(join(here.path, "data"));
	expect(first).toEqual({ id: expect.stringMatching(UUID) });
	expect(agentInstance(join(here.path, "data"))).toEqual(first);
	expect(agentInstance(there.path).id).not.toBe(first.id);
	expect(statSync(join(here.path, "data/agent-instance")).mode & 0o777).toBe(0o600);
});

test("is made anew where the file holds none", () => {
	using here = directory({ "agent-instance": "../../x" });
	const made = agentInstance(here.path);
	expect(made).toEqual({ id: expect.stringMatching(UUID) });
	expect(agentInstance(here.path)).toEqual(made);
});

test("is there, with the reason why it will not stay, where the directory can't be used", () => {
	using here = directory();
	writeFileSync(join(here.path, "file"), "");
	const made = agentInstance(join(here.path, "file"));
	expect(made.id).toMatch(UUID);
	expect(made.problem).toMatch(/agent-instance can't be used \(E\w+\)/);
});
