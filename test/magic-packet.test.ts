/** The packet that wakes a host: its bytes, where it is sent, and what a configuration may say of it. */
import { describe, expect, test } from "bun:test";
import { magicPacket, packetTargets } from "../src/server/agents/magic-packet.ts";
import { configure, refusal } from "./kit/configure.ts";

describe("an entry of agents.wake is refused", () => {
	const yaml = (entry: string) => `agents: { wake: { ${entry} } }`;

	test.each<[string, string, RegExp]>([
		["without an address", "gpu-1: {}", /agents\.wake\.gpu-1\.mac/],
		["with five bytes", 'gpu-1: { mac: "52:54:00:12:34" }', /agents\.wake\.gpu-1\.mac: must be the MAC address/],
		["with what is no hex", 'gpu-1: { mac: "52:54:00:12:34:5g" }', /agents\.wake\.gpu-1\.mac/],
		["with an address of all hosts", 'gpu-1: { mac: "ff:ff:ff:ff:ff:ff" }', /agents\.wake\.gpu-1\.mac/],
		["with a group's address", 'gpu-1: { mac: "01:00:5e:00:00:01" }', /agents\.wake\.gpu-1\.mac/],
		["with a network's name", 'gpu-1: { mac: "52:54:00:12:34:56", broadcast: lan }', /agents\.wake\.gpu-1\.broadcast/],
		...[0, 65536, 99999].map((port): [string, string, RegExp] => [
			`to port ${port}`,
			`gpu-1: { mac: "52:54:00:12:34:56", broadcast: "10.0.0.255:${port}" }`,
			/agents\.wake\.gpu-1\.broadcast/,
		]),
		[
			"with no IPv4 address",
			'gpu-1: { mac: "52:54:00:12:34:56", broadcast: 10.0.0.256 }',
			/agents\.wake\.gpu-1\.broadcast/,
		],
		["of no agent's name", '"gpu 1": { mac: "52:54:00:12:34:56" }', /agents\.wake/],
	])("%s", (_, entry, words) => {
		expect(refusal({ yaml: yaml(entry) })).toMatch(words);
	});

	test("with another password than six bytes, which is not shown", () => {
		const shown = refusal({ yaml: yaml('gpu-1: { mac: "52:54:00:12:34:56", password: "hunter2" }') });
		expect(shown).toMatch(/agents\.wake\.gpu-1\.password/);
		expect(shown).not.toContain("hunter2");
	});

	test("not where it is right", () => {
		const right = 'gpu-1: { mac: "52-54-00-AB-CD-EF", password: "00:11:22:33:44:55", broadcast: "10.0.0.255:7" }';
		expect(Object.keys(configure({ yaml: yaml(right) }).config.agents.wake)).toEqual(["gpu-1"]);
	});
});

describe("a packet", () => {
	test("is six bytes of 255 and the address sixteen times, behind which a password stands", () => {
		const address = [0x52, 0x54, 0x00, 0xab, 0xcd, 0xef];
		const whole = [...Array(6).fill(255), ...Array.from({ length: 16 }, () => address).flat()];
		expect([...magicPacket({ mac: "52:54:00:AB:cd:ef" })]).toEqual(whole);
		expect(whole).toHaveLength(102);
		const secured = magicPacket({ mac: "52-54-00-ab-cd-ef", password: "00:01:02:03:04:ff" });
		expect([...secured]).toEqual([...whole, 0, 1, 2, 3, 4, 255]);
	});

	const own = [
		{ address: "127.0.0.1", netmask: "255.0.0.0", family: "IPv4", internal: true },
		{ address: "10.1.2.3", netmask: "255.255.254.0", family: "IPv4", internal: false },
		{ address: "fe80::1", netmask: "ffff:ffff:ffff:ffff::", family: "IPv6", internal: false },
		{ address: "192.168.7.9", netmask: "255.255.255.252", family: "IPv4", internal: false },
	];

	test("goes to each network of this machine, and to where the agent was", () => {
		expect(packetTargets({ broadcast: undefined }, "http://10.1.2.50:5000", own)).toEqual([
			{ address: "10.1.3.255", port: 9 },
			{ address: "192.168.7.11", port: 9 },
			{ address: "255.255.255.255", port: 9 },
			{ address: "10.1.2.50", port: 9 },
		]);
	});

	test("goes to the network that is named, and to no name and no tunnel", () => {
		for (const endpoint of ["tunnel://gpu-1", "http://gpu-1.lan:5000", "http://[fd00::1]:5000"]) {
			expect(packetTargets({ broadcast: "10.9.0.255:7" }, endpoint, own)).toEqual([{ address: "10.9.0.255", port: 7 }]);
		}
	});
});
