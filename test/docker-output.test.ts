/** What docker and podman print as JSON, recorded from Docker 20.10 and 28 and from podman 4 and 5. */
import { describe, expect, test } from "bun:test";
import { parseContainers, parseEvent, parseTime } from "../src/agent/docker/docker-output.ts";

const ID = "99f66530fe9c7249f7cf29f78e8661669d5831cbe4ee80ea757d5e922dd6a8a6";
const LABELS = { "router.agent": "gpu-1", "router.model": "chat", "router.port": "20001" };

const DOCKER = {
	Id: ID,
	Created: "2026-05-30T12:07:13.9Z",
	State: {
		Status: "running",
		Running: true,
		Paused: false,
		Restarting: false,
		OOMKilled: false,
		Dead: false,
		Pid: 4711,
		ExitCode: 0,
		Error: "",
		StartedAt: "2026-05-30T12:07:14.123456789Z",
		FinishedAt: "0001-01-01T00:00:00Z",
	},
	Image: "sha256:3fba0c87",
	Name: "/router-chat-1a2b3c4d",
	HostConfig: { PortBindings: { "8000/tcp": [{ HostIp: "127.0.0.1", HostPort: "20001" }] } },
	Config: { Image: "vllm/vllm-openai:v0.30.0", Labels: LABELS },
	NetworkSettings: { Ports: { "8000/tcp": [{ HostIp: "127.0.0.1", HostPort: "20001" }] } },
};
const PODMAN = {
	Id: ID,
	State: {
		OciVersion: "1.2.0",
		Status: "running",
		Running: true,
		OOMKilled: false,
		Pid: 4711,
		ExitCode: 0,
		StartedAt: "2026-05-30T14:07:14.123456789+02:00",
		FinishedAt: "0001-01-01T00:00:00Z",
	},
	Image: "3fba0c87",
	ImageName: "docker.io/vllm/vllm-openai:v0.30.0",
	Name: "router-chat-1a2b3c4d",
	Config: { Labels: LABELS },
	HostConfig: { PortBindings: { "8000/tcp": [{ HostIp: "127.0.0.1", HostPort: "20001" }] } },
	NetworkSettings: { Ports: { "8000/tcp": [{ HostIp: "127.0.0.1", HostPort: "20001" }] } },
};

const one = (entry: object) => parseContainers(JSON.stringify([entry]))[0]!;

describe("a container", () => {
	const expected = {
		id: ID,
		name: "router-chat-1a2b3c4d",
		labels: LABELS,
		state: "running",
		exitCode: 0,
		oomKilled: false,
		startedAt: Date.UTC(2026, 4, 30, 12, 7, 14, 123),
		port: 20001,
	};

	test("reads the same from both engines", () => {
		expect(one(DOCKER) as object).toEqual({ ...expected, image: "vllm/vllm-openai:v0.30.0" });
		expect(one(PODMAN) as object).toEqual({ ...expected, image: "docker.io/vllm/vllm-openai:v0.30.0" });
	});

	test("that ended keeps the port it was given", () => {
		const State = { ...DOCKER.State, Status: "exited", ExitCode: 137, OOMKilled: true };
		const { state, exitCode, oomKilled, port } = one({ ...DOCKER, State, NetworkSettings: { Ports: {} } });
		expect({ state, exitCode, oomKilled, port }).toEqual({
			state: "exited",
			exitCode: 137,
			oomKilled: true,
			port: 20001,
		});
	});

	test("without a published port has none", () => {
		const bare = { ...DOCKER, HostConfig: {}, NetworkSettings: { Ports: { "8000/tcp": null } } };
		expect(one(bare)).not.toHaveProperty("port");
	});

	test.each([
		["created", "created"],
		["configured", "created"],
		["initialized", "created"],
		["stopping", "running"],
		["stopped", "exited"],
		["removing", "removing"],
		["dead", "dead"],
		["a new word", "dead"],
	])("in state %s is %s", (Status, state) => {
		expect(one({ ...PODMAN, State: { ...PODMAN.State, Status } }).state as string).toBe(state);
	});

	test("that is half described is no crash, and what is no list is one", () => {
		expect(one({})).toMatchObject({ id: "", labels: {}, state: "dead", startedAt: 0 });
		expect(() => parseContainers("{}")).toThrow();
		expect(() => parseContainers("Error: no")).toThrow();
	});
});

test("times: nanoseconds, offsets, Go's zero, and none", () => {
	expect(parseTime("2026-05-30T12:07:14.123456789Z")).toBe(Date.UTC(2026, 4, 30, 12, 7, 14, 123));
	expect(parseTime("2026-05-30T14:07:14+02:00")).toBe(Date.UTC(2026, 4, 30, 12, 7, 14));
	expect([parseTime("0001-01-01T00:00:00Z"), parseTime("")]).toEqual([0, 0]);
});

describe("an event", () => {
	test("of Docker, with and without the fields that 29 left out", () => {
		const event = {
			Type: "container",
			Action: "die",
			Actor: { ID, Attributes: { exitCode: "1" } },
			scope: "local",
			time: 1,
		};
		expect(parseEvent(JSON.stringify(event))).toEqual({ id: ID, action: "die" });
		expect(parseEvent(JSON.stringify({ status: "die", id: ID, from: "x", ...event }))).toEqual({
			id: ID,
			action: "die",
		});
	});

	test("of podman speaks Docker's words", () => {
		const event = (Status: string) => JSON.stringify({ ID, Image: "x", Name: "y", Status, Type: "container" });
		expect([event("died"), event("remove"), event("start")].map((line) => parseEvent(line)?.action)).toEqual([
			"die",
			"destroy",
			"start",
		]);
	});

	test.each<[string, object, boolean]>([
		["of podman 4, which leaves out a 0", {}, true],
		["of podman 4", { ContainerExitCode: 137 }, false],
		["of podman 5", { ContainerExitCode: 0 }, true],
		["of podman 5 with an error", { ContainerExitCode: 1 }, false],
		["of podman's socket", { Actor: { ID, Attributes: { containerExitCode: "0" } } }, true],
		["of podman's socket with an error", { Actor: { ID, Attributes: { containerExitCode: "137" } } }, false],
		["of podman, which tells of SIGTERM only afterwards", { ContainerExitCode: 143 }, true],
	])("says whether the container ended well: %s", (_, fields, isClean) => {
		const event = { ID, Image: "x", Name: "y", Status: "died", Type: "container", Attributes: {}, ...fields };
		expect(parseEvent(JSON.stringify(event))).toEqual({ id: ID, action: "die", ...(isClean && { isClean }) });
	});

	test("tells no command, and lines of another kind are none", () => {
		const event = { Type: "container", Action: "exec_start: sh -c 'echo secret'", Actor: { ID } };
		expect(parseEvent(JSON.stringify(event))).toEqual({ id: ID, action: "exec_start" });
		expect(parseEvent(JSON.stringify({ Type: "network", Action: "connect", Actor: { ID } }))).toBeUndefined();
		expect(parseEvent("json")).toBeUndefined();
		expect(parseEvent("")).toBeUndefined();
	});
});
