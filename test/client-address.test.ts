/** Whose request it is: the peer's, or whom trusted proxies say they speak for. */
import { describe, expect, test } from "bun:test";
import { createAdminAccess } from "../src/accounts/auth/admin-access.ts";
import { clientAddresses } from "../src/http/client-address.ts";
import { pageAccess } from "../src/http/page-access.ts";
import { post } from "./kit/rig.ts";
import { startRouter } from "./kit/router.ts";

const from = (address: string) => ({ requestIP: () => ({ address }) });
const request = (headers: Record<string, string> = {}, path = "/metrics") =>
	new Request(`http://router${path}`, { headers });

describe("the client", () => {
	test.each([
		["the peer where no proxy is trusted, whatever it says", [], "198.51.100.1", "1.2.3.4", "198.51.100.1"],
		["the peer where it is no proxy", ["10.0.0.0/8"], "198.51.100.1", "1.2.3.4", "198.51.100.1"],
		["whom a proxy speaks for", ["10.0.0.0/8"], "10.1.2.3", "1.2.3.4", "1.2.3.4"],
		[
			"the last that no proxy is: what stands before, anyone may have written",
			["10.0.0.0/8"],
			"10.1.2.3",
			"9.9.9.9, 1.2.3.4, 10.7.7.7",
			"1.2.3.4",
		],
		["the proxy where it says nothing", ["10.1.2.3"], "10.1.2.3", undefined, "10.1.2.3"],
		["the proxy where what it says is no address", ["10.1.2.3"], "10.1.2.3", "unknown", "10.1.2.3"],
		["the proxy where all were proxies", ["10.0.0.0/8"], "10.1.2.3", "10.1.1.1", "10.1.2.3"],
		["an address with its port", ["10.1.2.3"], "10.1.2.3", "1.2.3.4:5678", "1.2.3.4"],
		["IPv4 inside IPv6 as IPv4", ["10.0.0.0/8"], "::ffff:10.1.2.3", "::ffff:1.2.3.4", "1.2.3.4"],
		[
			"the /64 of an IPv6 address: one subscriber has all of it",
			[],
			"2001:db8:1:2:3:4:5:6",
			undefined,
			"2001:db8:1:2::/64",
		],
		["the same written short", [], "2001:db8::1", undefined, "2001:db8:0:0::/64"],
		["IPv6 behind an IPv6 proxy, in brackets", ["fd00::/8"], "fd00::1", "[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"],
		["nobody where the connection is gone", [], "", undefined, ""],
	])("is %s", (_, trusted, peer, forwarded, client) => {
		const headers = forwarded === undefined ? {} : { "x-forwarded-for": forwarded };
		expect(clientAddresses(trusted as string[]).of(request(headers), from(peer))).toBe(client);
	});

	test.each([
		["127.0.0.1", {}, [], true],
		["::1", {}, [], true],
		["::ffff:127.0.0.1", {}, [], true],
		["10.0.0.1", {}, [], false],
		["127.0.0.1", { "x-forwarded-for": "127.0.0.1" }, [], false],
		["127.0.0.1", { forwarded: "for=1.2.3.4" }, [], false],
		["127.0.0.1", { "x-forwarded-for": "1.2.3.4" }, ["127.0.0.1"], false],
		["127.0.0.1", {}, ["127.0.0.1"], true],
		["127.0.0.1", { "x-real-ip": "1.2.3.4" }, ["10.0.0.1"], false],
	])("at %s with %j is this machine itself: proxies trusted %j", (peer, headers, trusted, isLocal) => {
		expect(clientAddresses(trusted).isLocal(request(headers as Record<string, string>), from(peer))).toBe(isLocal);
	});
});

test.each([
	["/metrics", 401],
	["/swagger/json", undefined],
])("pages are shut one by one: %s", (path, status) => {
	const access = pageAccess({ metrics: "admin", swagger: "open" }, createAdminAccess([]), clientAddresses([]));
	expect(access(request({}, path), from("10.0.0.1"))?.status).toBe(status);
});

test("limits by address count each client of a trusted proxy for itself", async () => {
	const router = await startRouter({
		config: { server: { trusted_proxies: ["127.0.0.1"] }, limits: { address: { rpm: 2 } } },
	});
	const call = async (address: string) =>
		(
			await post(
				`${router.url}/v1/chat/completions`,
				{ model: "dummy", messages: [{ role: "user", content: "hi" }] },
				{ "x-forwarded-for": address },
			)
		).status;
	expect([await call("1.1.1.1"), await call("1.1.1.1"), await call("1.1.1.1"), await call("2.2.2.2")]).toEqual([
		200, 200, 429, 200,
	]);
	await router.stop();
});

test("shut pages shut nothing else: calls and health from elsewhere are answered", async () => {
	const router = await startRouter({
		config: {
			server: { metrics: "admin", swagger: "admin", trusted_proxies: ["127.0.0.1"] },
			keys: [{ name: "team-a", key: "key-of-team-a" }],
		},
	});
	const headers = { authorization: "Bearer key-of-team-a", "x-forwarded-for": "1.1.1.1" };
	const statusOf = async (path: string) => (await fetch(router.url + path, { headers })).status;
	const body = { model: "dummy", messages: [{ role: "user", content: "hi" }] };
	expect((await post(`${router.url}/v1/chat/completions`, body, headers)).status).toBe(200);
	expect(await Promise.all(["/v1/models", "/health/live", "/metrics", "/swagger/json"].map(statusOf))).toEqual([
		200, 200, 401, 401,
	]);
	await router.stop();
});
