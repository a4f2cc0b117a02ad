/** Which endpoints agents may register: the router must not be made to call what the caller could not. */
import { describe, expect, test } from "bun:test";
import { parseAllowedHost } from "../src/config/allowed-host.ts";
import { checkEndpoint, isLoopbackAddress } from "../src/server/agents/endpoint.ts";
import { configure, refusal } from "./kit/configure.ts";

const check = (endpoint: string, peer = "10.0.0.7", allow: string[] = [], own = ["192.168.1.5", "fd00::5"]) =>
	checkEndpoint(endpoint, { peer, allow, own });
const problem = (...args: Parameters<typeof check>) => {
	const result = check(...args);
	return "problem" in result ? result.problem : `taken as ${result.origin}`;
};

describe("an endpoint at the caller's own address", () => {
	test.each([
		["http://10.0.0.7:5000", "10.0.0.7", "http://10.0.0.7:5000"],
		["http://10.0.0.7:5000/", "10.0.0.7", "http://10.0.0.7:5000"],
		["http://10.0.0.7:5000/v1", "10.0.0.7", "http://10.0.0.7:5000"],
		["http://10.0.0.7:5000/v1/", "::ffff:10.0.0.7", "http://10.0.0.7:5000"],
		["https://[FD00:0:0::7]", "fd00::7", "https://[fd00::7]"],
		["http://[::ffff:10.0.0.7]:5000", "10.0.0.7", "http://[::ffff:a00:7]:5000"],
		["http://0xa.7:5000", "10.0.0.7", "http://10.0.0.7:5000"],
	])("is taken: %s from %s", (endpoint, peer, origin) => expect(check(endpoint, peer)).toEqual({ origin }));

	test.each(["http://127.0.0.1:5000", "http://localhost:5000", "http://[::1]:5000", "http://127.1.2.3"])(
		"may be this very machine's loopback for a caller on it: %s",
		(endpoint) => {
			expect(check(endpoint, "127.0.0.1")).toHaveProperty("origin");
			expect(check(endpoint, "::1")).toHaveProperty("origin");
			expect(problem(endpoint, "10.0.0.7")).toContain("agents.allow");
		},
	);

	test("may be any address of this machine for a caller on it, and for nobody else", () => {
		expect(check("http://192.168.1.5:5000", "127.0.0.1")).toHaveProperty("origin");
		expect(check("http://[fd00::5]:5000", "::1")).toHaveProperty("origin");
		expect(problem("http://192.168.1.5:5000", "10.0.0.7")).toContain("agents.allow");
		expect(problem("http://192.168.1.6:5000", "127.0.0.1")).toContain("agents.allow");
	});
});

describe("an endpoint elsewhere", () => {
	test("is refused with what to do", () => {
		expect(problem("http://10.0.0.8:5000", "::ffff:10.0.0.7")).toBe(
			"10.0.0.8:5000 is not where this registration came from (10.0.0.7): start the agent with --advertise and that " +
				'address, or list "10.0.0.8" under agents.allow on the router.',
		);
		expect(problem("http://gpu-1.lan:5000")).toContain('list "gpu-1.lan"');
	});

	test.each([
		["http://gpu-1.lan:5000", "gpu-1.lan"],
		["http://GPU-1.lan.:5000", "gpu-1.LAN"],
		["http://gpu-1.lan:5000", "http://gpu-1.lan:5000"],
		["http://10.0.0.8:5000", "10.0.0.8"],
		["http://10.9.9.9:5000", "10.0.0.0/8"],
		["http://[fd00::8]:5000", "fd00::/8"],
		["http://[fd00::8]:5000", "[fd00::8]"],
	])("is taken where it is allowed: %s by %s", (endpoint, entry) =>
		expect(check(endpoint, "203.0.113.9", ["other", entry])).toHaveProperty("origin"),
	);

	test.each([
		["http://gpu-2.lan:5000", "gpu-1.lan"],
		["http://x.gpu-1.lan:5000", "gpu-1.lan"],
		["http://gpu-1.lan:22", "http://gpu-1.lan:5000"],
		["https://gpu-1.lan:5000", "http://gpu-1.lan:5000"],
		["http://11.0.0.8:5000", "10.0.0.0/8"],
		["http://gpu-1.lan", "0.0.0.0/0"],
	])("is not where another is: %s by %s", (endpoint, entry) =>
		expect(problem(endpoint, "203.0.113.9", [entry])).toContain("agents.allow"),
	);

	test.each([
		"http://169.254.169.254",
		"http://[::ffff:169.254.169.254]",
		"http://[fe80::1]:5000",
		"http://[fd00:ec2::254]",
		"http://100.100.100.200",
		"http://0.0.0.0:5000",
		"http://[::]:5000",
		"http://224.0.0.1",
		"http://2852039166",
	])("is never where metadata or nobody lives, not even for a caller that comes from there: %s", (endpoint) => {
		const host = new URL(endpoint).hostname.replace(/^\[|\]$/g, "");
		expect(problem(endpoint, host, ["0.0.0.0/0", "::/0", new URL(endpoint).origin])).toContain("no agent can be there");
	});
});

test.each([
	["gpu-1:5000", "is no http(s) origin"],
	["", "is no http(s) origin"],
	["file:///etc/passwd", "is no http(s) origin"],
	["ftp://10.0.0.7", "is no http(s) origin"],
	["http://user:pass@10.0.0.7:5000", "without user and password"],
	["http://10.0.0.7:5000/admin", "without a path: http://10.0.0.7:5000"],
	["http://10.0.0.7:5000/v1/models", "without a path"],
	["http://10.0.0.7:5000/?x=1", "without a path"],
	["http://10.0.0.7:5000/#x", "without a path"],
])("%s is no endpoint", (endpoint, said) => expect(problem(endpoint)).toContain(said));

test("loopback is told apart", () => {
	expect(["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.9.9.9"].map(isLoopbackAddress)).toEqual([
		true,
		true,
		true,
		true,
	]);
	expect(["10.0.0.1", "fe80::1", "localhost", ""].map(isLoopbackAddress)).toEqual([false, false, false, false]);
});

describe("agents.allow", () => {
	test("takes names, addresses, blocks and origins, also from the environment", () => {
		const yaml = 'agents: { allow: [gpu-1, gpu_2.lan, 10.0.0.7, "10.0.0.0/8", "fd00::/8", "http://gpu-1:5000"] }';
		expect(configure({ yaml }).config.agents.allow).toHaveLength(6);
		expect(configure({ env: { ROUTER_AGENTS_ALLOW: "gpu-1, 10.0.0.0/8" } }).config.agents.allow).toEqual([
			"gpu-1",
			"10.0.0.0/8",
		]);
		expect(configure({}).config.agents.allow).toEqual([]);
	});

	test.each(["10.0.0.0/40", "10.0.0", "http://gpu-1/path", "http://u@gpu-1", "a b", "-x", "*", "fd00::/129"])(
		"does not take %s",
		(entry) => {
			expect(parseAllowedHost(entry)).toBeUndefined();
			expect(refusal({ yaml: `agents: { allow: ["${entry}"] }` })).toMatch(/1:19 agents\.allow\[0\].*is no host name/s);
		},
	);
});
