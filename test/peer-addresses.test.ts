/** Addresses of clients whose connections another thread passes on, in memory that both see. */
import { afterEach, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { nameClients } from "../src/http/passed-connections.ts";
import { makePeerAddresses, PeerAddresses } from "../src/http/peer-addresses.ts";
import { random } from "./kit/random.ts";

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

test("what is no address is nobody, as is a port that was cleared, or never set", () => {
	const peers = new PeerAddresses(makePeerAddresses());
	peers.set(1, "unix");
	peers.set(2, "");
	peers.set(65_535, "203.0.113.9");
	peers.clear(65_535);
	expect([0, 1, 2, 65_535].map((port) => peers.at(port))).toEqual(Array(4).fill(undefined));
});

test.each([
	["203.0.113.9", "203.0.113.9"],
	["0.0.0.1", "0.0.0.1"],
	["255.255.255.255", "255.255.255.255"],
	["::ffff:127.0.0.1", "127.0.0.1"],
	["::1", "::1"],
	["2001:db8::a:0:0:1", "2001:db8::a:0:0:1"],
	["fe80::1%eth0", "fe80::1"],
	["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
])("%s is read as %s by another view", (address, read) => {
	const memory = makePeerAddresses();
	new PeerAddresses(memory).set(40_000, address);
	expect(new PeerAddresses(memory).at(40_000)).toBe(read);
	expect([39_999, 40_001].map((port) => new PeerAddresses(memory).at(port))).toEqual([undefined, undefined]);
});

test("any address is read as it was written", () => {
	const { below } = random(17);
	const peers = new PeerAddresses(makePeerAddresses());
	for (let round = 0; round < 500; round++) {
		const four = Array.from({ length: 4 }, () => below(256)).join(".");
		const six = Array.from({ length: 8 }, () => (below(5) < 2 ? 0 : below(65_536)).toString(16)).join(":");
		peers.set(1, four);
		peers.set(2, six);
		expect(peers.at(1)).toBe(four);
		expect(new URL(`http://[${peers.at(2) ?? "::"}]/`).hostname).toBe(new URL(`http://[${six}]/`).hostname);
	}
});

describe("a server whose connections are passed on", () => {
	/** A server that says who its clients are, and one connection to it from there. */
	async function asked(from: string, set: (peers: PeerAddresses, port: number) => void) {
		const peers = new PeerAddresses(makePeerAddresses());
		const server = Bun.serve({
			hostname: "127.0.0.1",
			port: 0,
			routes: { "/routed": (request, itself) => Response.json(itself.requestIP(request)?.address ?? null) },
			fetch: (request, itself) => Response.json(itself.requestIP(request)?.address ?? null),
		});
		stops.push(() => server.stop(true));
		nameClients(server, peers);
		const socket = connect({ host: "127.0.0.1", port: server.port!, localAddress: from });
		await new Promise((resolve) => socket.once("connect", resolve));
		set(peers, socket.localPort!);
		const answers: string[] = [];
		for (const path of ["/routed", "/other"]) {
			socket.write(`GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`);
			const [bytes] = await new Promise<[Buffer]>((resolve) => socket.once("data", (data: Buffer) => resolve([data])));
			answers.push(String(bytes).split("\r\n\r\n")[1]!);
		}
		socket.destroy();
		return answers.map((answer) => JSON.parse(answer));
	}

	test("knows nobody who has connected past the thread that passes on", async () => {
		expect(await asked("127.0.0.1", () => {})).toEqual([null, null]);
	});

	test.skipIf(process.platform !== "linux")("nor from another address of this machine, at the same port", async () => {
		expect(await asked("127.0.0.2", (peers, port) => peers.set(port, "203.0.113.9"))).toEqual([null, null]);
	});

	test("knows whose connection it is", async () => {
		const set = (peers: PeerAddresses, port: number) => peers.set(port, "203.0.113.9");
		expect(await asked("127.0.0.1", set)).toEqual(["203.0.113.9", "203.0.113.9"]);
	});
});
