/** Which socket a router takes of those that another program has opened for it. The whole of it: test/socket-activation.test.ts. */
import { describe, expect, test } from "bun:test";
import { registeredIn } from "../src/http/epolls.ts";
import { addressProblem, inheritedSocket, passedDescriptor } from "../src/http/inherited-socket.ts";

const here = { pid: 70 };
const three = { LISTEN_PID: "70", LISTEN_FDS: "3" };

describe("a passed socket", () => {
	test.each([
		["no variables", {}],
		["those of another process, whose child this one is", { LISTEN_PID: "69", LISTEN_FDS: "1" }],
		["no process named", { LISTEN_FDS: "1" }],
		["a count that is none", { LISTEN_PID: "70", LISTEN_FDS: "many" }],
		["a count of none", { LISTEN_PID: "70", LISTEN_FDS: "0" }],
	])("is none with %s", (_, env) => {
		expect(passedDescriptor(env, here)).toBeUndefined();
	});

	test("is the process's whose place this one takes, which has started it", () => {
		const env = { LISTEN_PID: "69", LISTEN_FDS: "1" };
		expect(passedDescriptor(env, { pid: 70, before: 69 })).toBe(3);
		expect(passedDescriptor(env, { pid: 70, before: 68 })).toBeUndefined();
	});

	test("is the one that there is, whatever its name, or of several the router's", () => {
		expect(passedDescriptor({ LISTEN_PID: "70", LISTEN_FDS: "1", LISTEN_FDNAMES: "web" }, here)).toBe(3);
		expect(passedDescriptor({ ...three, LISTEN_FDNAMES: "web:router:x" }, here)).toBe(4);
		expect(passedDescriptor({ ...three, LISTEN_FDNAMES: "web:x:router.socket" }, here)).toBe(5);
	});

	test.each([
		["web:x:y", "web, x, y"],
		["router:router:x", "router, router, x"],
		["", "without names"],
	])("is refused where several are called %p", (names, told) => {
		const choose = () => passedDescriptor({ ...three, LISTEN_FDNAMES: names }, here);
		expect(choose).toThrow(told);
		expect(choose).toThrow("FileDescriptorName=router");
	});

	test.each([
		["127.0.0.1", 8000, "127.0.0.1", 8000],
		["::", 8000, "0.0.0.0", 8000],
		["0.0.0.0", 8000, "::", 8000],
		["::1", 8000, "localhost", 8000],
		["fe80::1", 8000, "[FE80:0::1]", 8000],
		["127.0.0.1", 8123, "127.0.0.1", 0],
	])("on %s:%d is that of a router on %s:%d", (host, port, wantedHost, wantedPort) => {
		expect(addressProblem({ host, port }, { host: wantedHost, port: wantedPort })).toBeUndefined();
	});

	test.each([
		["127.0.0.1", 8001, "127.0.0.1", 8000, "on 127.0.0.1:8001, and the configuration names 127.0.0.1:8000"],
		// Everyone would be let in.
		["::", 8000, "127.0.0.1", 8000, "on [::]:8000, and the configuration names 127.0.0.1:8000"],
		["127.0.0.1", 8000, "0.0.0.0", 8000, "ListenStream=0.0.0.0:8000"],
		["127.0.0.1", 8000, "router.example", 8000, "HOST=127.0.0.1 and PORT=8000"],
	])("on %s:%d is not that of a router on %s:%d", (host, port, wantedHost, wantedPort, told) => {
		expect(addressProblem({ host, port }, { host: wantedHost, port: wantedPort })).toContain(told);
	});

	test("that is no socket is refused with what to write", () => {
		const env = { LISTEN_PID: "70", LISTEN_FDS: "200", LISTEN_FDNAMES: `${":".repeat(150)}router` };
		expect(() => inheritedSocket(env, { host: "127.0.0.1", port: 8000 }, here)).toThrow(
			"(descriptor 153) is no socket that listens on a port: write ListenStream=127.0.0.1:8000",
		);
	});
});

describe("an epoll", () => {
	const text = [
		"pos:\t0",
		"flags:\t02",
		"tfd:       12 events:       19 data:     7f0a34c01  pos:0 ino:2d5f sdev:8",
		"tfd:        7 events: 80000001 data: ffffffffffffffff  pos:0 ino:1 sdev:8",
		"",
	].join("\n");

	test("says what it has of a descriptor", () => {
		expect(registeredIn(text, 12, 0x2d5f)).toEqual({ events: 0x19, data: 0x7f0a34c01n });
		expect(registeredIn(text, 7, 1)).toEqual({ events: 0x80000001, data: 0xffffffffffffffffn });
	});

	test("has none of one that it does not wait for, nor of a file that had the number before", () => {
		expect(registeredIn(text, 1, 1)).toBeUndefined();
		expect(registeredIn(text, 12, 0x2d60)).toBeUndefined();
		expect(registeredIn("", 12, 0)).toBeUndefined();
	});
});
