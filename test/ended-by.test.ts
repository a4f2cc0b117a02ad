/** What the engine remembers of a container → who ended it, and what a person is told. */
import { describe, expect, test } from "bun:test";
import { type DockerEvent, parseEvent } from "../src/agent/docker/docker-output.ts";
import { type EndCircumstances, endedBy, endedByProblem } from "../src/agent/docker/ended-by.ts";

const event = (action: string, signal?: number): DockerEvent => ({ id: "c", action, ...(signal && { signal }) });
const known = (over: Partial<EndCircumstances> = {}): EndCircumstances => ({
	engine: "docker",
	exitCode: 0,
	engineWasAway: false,
	...over,
});
const begun = [event("create"), event("start")];
const stopped = [event("kill", 15), event("die"), event("stop")];

describe("a container ended", () => {
	test.each([
		["by itself", [...begun, event("die")], known({ exitCode: 1 }), undefined],
		["by SIGKILL from outside of the engine", [...begun, event("die")], known({ exitCode: 137 }), undefined],
		["by `docker stop`", [...begun, ...stopped], known(), { by: "stopped" }],
		[
			"by `docker stop` that had to kill it",
			[...begun, event("kill", 15), event("kill", 9), event("die"), event("stop")],
			known({ exitCode: 137 }),
			{ by: "stopped" },
		],
		[
			"by `docker kill`",
			[...begun, event("kill", 9), event("die")],
			known({ exitCode: 137 }),
			{ by: "killed", signal: 9 },
		],
		[
			"by itself, after somebody had restarted it",
			[...begun, ...stopped, event("start"), event("die")],
			known({ exitCode: 1 }),
			undefined,
		],
		["with a daemon that was shut down", [...begun, ...stopped], known({ engineWasAway: true }), { by: "engine" }],
		["with a daemon that was killed, by the next one", stopped, known({ engineWasAway: true }), { by: "engine" }],
		["with a daemon that has forgotten it", [], known({ exitCode: 137 }), { by: "engine" }],
		["with the host", [], known({ exitCode: 255 }), { by: "engine" }],
		["by itself, before a daemon that has forgotten it was stopped", [], known({ exitCode: 1 }), undefined],
		["under podman by itself, which may remember nothing", [], known({ engine: "podman", exitCode: 137 }), undefined],
		["under podman by `podman stop`", [event("stop"), event("die")], known({ engine: "podman" }), { by: "stopped" }],
	] as [string, DockerEvent[], EndCircumstances, unknown][])("%s", (_, events, circumstances, end) => {
		expect<unknown>(endedBy(events, circumstances)).toEqual(end);
	});
});

test.each([
	[{ by: "stopped" }, "docker", /^somebody stopped its container \(`docker stop`\)$/, /unload/],
	[{ by: "stopped" }, "podman", /`podman stop`/, /unload/],
	[{ by: "killed", signal: 9 }, "docker", /\(`docker kill`\)/, /unload/],
	[{ by: "killed", signal: 15 }, "docker", /\(`docker kill --signal TERM`\)/, /unload/],
	[{ by: "killed" }, "podman", /\(`podman kill`\)/, /unload/],
	[{ by: "removed" }, "podman", /\(`podman rm`\)/, /unload/],
	[{ by: "engine" }, "docker", /Docker's daemon was stopped or restarted/, /live-restore/],
	[{ by: "engine" }, "podman", /^podman was stopped/, /^(?!.*docker)/],
] as const)("%p is told as what it is, under %s", (end, command, reason, fix) => {
	const problem = endedByProblem(end, command);
	expect(problem.reason).toMatch(reason);
	expect(problem.fix).toMatch(fix);
});

test("a signal is read from Docker's events; podman's have none", () => {
	const docker = { Type: "container", Action: "kill", Actor: { ID: "c", Attributes: { image: "x", signal: "15" } } };
	expect(parseEvent(JSON.stringify(docker))).toEqual({ id: "c", action: "kill", signal: 15 });
	const podman = { Type: "container", Status: "kill", ID: "c", Attributes: { image: "x" } };
	expect(parseEvent(JSON.stringify(podman))).toEqual({ id: "c", action: "kill" });
});
