/** A port whose connections are passed on to servers: what either side sees is what it would see of the other without that. */
import { afterEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { createServer, connect as open, type Socket } from "node:net";
import { type Backend, ConnectionBalancer } from "../src/http/connection-balancer.ts";
import { makePeerAddresses, PeerAddresses } from "../src/http/peer-addresses.ts";
import { until } from "./kit/until.ts";

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

/** A raw server behind the balancer, and the connections that it has got. */
async function backend(over: Partial<Backend> = {}) {
	const sockets: Socket[] = [];
	const server = createServer({ allowHalfOpen: true }, (socket) => {
		socket.on("error", () => {});
		sockets.push(socket);
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	stops.push(() => {
		for (const socket of sockets) socket.destroy();
		server.close();
	});
	const { port } = server.address() as { port: number };
	const peers = new PeerAddresses(makePeerAddresses());
	return { sockets, port, peers, isRunning: true, confirm: async () => true, ...over };
}

function balancer(...backends: Backend[]) {
	const started = new ConnectionBalancer("127.0.0.1", 0);
	stops.push(() => started.cut());
	for (const each of backends) started.add(each);
	return started;
}

/** A client, and how its connection ended. */
function client({ port }: { readonly port: number }, more: { localAddress?: string } = {}) {
	const socket = open({ host: "127.0.0.1", port, allowHalfOpen: true, ...more });
	const ended = Promise.withResolvers<string>();
	socket.on("error", (error) => ended.resolve((error as NodeJS.ErrnoException).code ?? error.message));
	socket.on("end", () => ended.resolve("end"));
	socket.on("close", () => ended.resolve("close"));
	stops.push(() => socket.destroy());
	return { socket, ended: ended.promise };
}

/** A client and the server's side of its connection, over which bytes have gone both ways. */
async function pair() {
	const behind = await backend();
	const front = balancer(behind);
	const { socket, ended } = client(front);
	socket.write("hello");
	await until(() => behind.sockets.length === 1, "the connection");
	const server = behind.sockets[0]!;
	const heard = (side: Socket) => new Promise<string>((resolve) => side.once("data", (data) => resolve(String(data))));
	expect(await heard(server)).toBe("hello");
	server.write("good day");
	expect(await heard(socket)).toBe("good day");
	return { behind, front, socket, ended, server };
}

/** Bytes, other ones in each part. */
const BYTES = Buffer.from(Array.from({ length: 24 << 20 }, (_, at) => (at ^ (at >> 8) ^ (at >> 16)) & 0xff));
const hashOf = (parts: readonly Buffer[]) => createHash("sha256").update(Buffer.concat(parts)).digest("hex");
/** What a side that does not read can have on its way: buffers of the kernel at four sockets, and a part in memory. */
const MOST_UNDER_WAY = 20 << 20;

/** One side sends all, to the other, which does not read for a while. */
async function slowly(from: Socket, to: Socket) {
	to.pause();
	from.write(BYTES);
	let left = -1;
	// What the kernel has not taken stays the same for a moment: nothing moves any more.
	await until(async () => {
		const before = from.writableLength;
		await Bun.sleep(50);
		left = from.writableLength;
		return left === before;
	}, "a sender that is held back");
	expect(BYTES.length - Math.max(0, left)).toBeLessThan(MOST_UNDER_WAY);
	const parts: Buffer[] = [];
	to.on("data", (part) => parts.push(part as Buffer));
	from.end();
	to.resume();
	await new Promise((resolve) => to.once("end", resolve));
	expect(hashOf(parts)).toBe(hashOf([BYTES]));
}

describe("a connection", () => {
	test("is reset where its server resets it", async () => {
		const { server, ended } = await pair();
		server.resetAndDestroy();
		expect(await ended).toBe("ECONNRESET");
	});

	test("is reset at the server where its client resets it", async () => {
		const { server, socket } = await pair();
		const error = new Promise<string>((resolve) =>
			server.once("error", (thrown) => resolve((thrown as NodeJS.ErrnoException).code!)),
		);
		socket.resetAndDestroy();
		expect(await error).toBe("ECONNRESET");
	});

	test("ends where either side ends it", async () => {
		const one = await pair();
		one.server.end();
		expect(await one.ended).toBe("end");
		const other = await pair();
		const ended = new Promise((resolve) => other.server.once("end", resolve));
		other.server.resume();
		other.socket.end();
		await ended;
	});

	test("holds a client back whose server does not read, and loses nothing", async () => {
		const { socket, server } = await pair();
		await slowly(socket, server);
	});

	test("holds a server back whose client does not read, and loses nothing, the server's end last", async () => {
		const { socket, server } = await pair();
		await slowly(server, socket);
	});

	test("has its client's address for as long as it lasts", async () => {
		const { behind, server, socket } = await pair();
		const from = server.remotePort!;
		expect(behind.peers.at(from)).toBe("127.0.0.1");
		socket.destroy();
		await until(() => behind.peers.at(from) === undefined, "nobody");
	});
});

describe("connections", () => {
	test("go to the server that has the fewest", async () => {
		const behind = [await backend(), await backend(), await backend()];
		const front = balancer(...behind);
		const counts = () => behind.map(({ sockets }) => sockets.length);
		for (let count = 1; count <= 9; count++) {
			client(front);
			await until(() => counts().reduce((sum, each) => sum + each) === count, "the connection");
		}
		expect(counts()).toEqual([3, 3, 3]);
		for (const socket of behind[1]!.sockets) socket.resetAndDestroy();
		await until(() => behind[1]!.sockets.every((socket) => socket.destroyed), "their end");
		await until(() => [...behind[1]!.sockets].every(({ remotePort }) => !behind[1]!.peers.at(remotePort!)), "news");
		for (let count = 10; count <= 12; count++) {
			client(front);
			await until(() => counts().reduce((sum, each) => sum + each) === count, "the connection");
		}
		expect(counts()).toEqual([3, 6, 3]);
	});

	test("that clients leave at once hold nothing: neither a place at a server, nor the end of the port", async () => {
		const behind = await backend();
		const front = balancer(behind);
		for (let count = 0; count < 50; count++) {
			const { socket } = client(front);
			socket.once("connect", () => socket.resetAndDestroy());
			await new Promise((resolve) => socket.once("close", resolve));
		}
		await front.stop();
		await front.drained();
		await until(() => behind.sockets.every((socket) => socket.destroyed || socket.readableEnded), "their end");
		const ports = behind.sockets.flatMap(({ remotePort }) => remotePort ?? []);
		expect(ports.map((port) => behind.peers.at(port)).filter(Boolean)).toEqual([]);
	});

	test("go to none that is not to have any, and wait until there is one", async () => {
		const unwanted = await backend({ isRunning: false });
		const front = balancer(unwanted);
		const { socket } = client(front);
		socket.write("hello");
		await new Promise((resolve) => socket.once("connect", resolve));
		const behind = await backend();
		front.add(behind);
		await until(() => behind.sockets.length === 1, "the connection");
		const heard = await new Promise((resolve) => behind.sockets[0]!.once("data", (data) => resolve(String(data))));
		expect([heard, unwanted.sockets.length]).toEqual(["hello", 0]);
	});

	test("tell nothing to a port whose server has not said that it runs, since anybody may listen there by now", async () => {
		const [said, behind] = [Promise.withResolvers<boolean>(), await backend()];
		const dead = await backend({ confirm: () => said.promise });
		const heardThere: string[] = [];
		const front = balancer(dead);
		const { socket } = client(front);
		socket.write("a secret");
		await until(() => dead.sockets.length === 1, "the connection");
		dead.sockets[0]!.on("data", (data) => heardThere.push(String(data)));
		front.add(behind);
		front.remove(dead);
		said.resolve(false);
		await until(() => behind.sockets.length === 1, "the connection at another server");
		const heard = await new Promise((resolve) => behind.sockets[0]!.once("data", (data) => resolve(String(data))));
		expect([heard, heardThere]).toEqual(["a secret", []]);
	});

	test("of a server that is gone are reset, the others' go on", async () => {
		const behind = [await backend(), await backend()];
		const front = balancer(...behind);
		const clients = [client(front), client(front)];
		await until(() => behind.every(({ sockets }) => sockets.length === 1), "both connections");
		// Bytes have gone both ways by then.
		for (const { socket } of clients) socket.write("hello");
		await Promise.all(behind.map(({ sockets }) => new Promise((resolve) => sockets[0]!.once("data", resolve))));
		front.remove(behind[0]!);
		expect(await Promise.race(clients.map(({ ended }) => ended))).toBe("ECONNRESET");
		const heard = Promise.race(
			clients.map(({ socket }) => new Promise((resolve) => socket.once("data", (data) => resolve(String(data))))),
		);
		behind[1]!.sockets[0]!.write("still here");
		expect(await heard).toBe("still here");
	});
});

describe("a port", () => {
	test("that is taken is said to be", () => {
		const { port } = balancer();
		expect(() => new ConnectionBalancer("127.0.0.1", port)).toThrow(`Port ${port} on 127.0.0.1 is taken`);
	});

	test("that is stopped takes no connections; those that it has go on until they are over", async () => {
		const { front, socket, server } = await pair();
		await front.stop();
		expect(await client(front).ended).toBe("ECONNREFUSED");
		let isDrained = false;
		const drained = front.drained().then(() => {
			isDrained = true;
		});
		const heard = new Promise((resolve) => socket.once("data", (data) => resolve(String(data))));
		server.write("the last words");
		expect(await heard).toBe("the last words");
		expect(isDrained).toBe(false);
		server.end();
		await drained;
	});

	test("that is cut resets them all", async () => {
		const { front, ended } = await pair();
		front.cut();
		expect(await ended).toBe("ECONNRESET");
		await front.drained();
	});
});
