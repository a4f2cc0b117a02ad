/** ZeroMQ's wire, byte by byte: what no peer of ours would send, in pieces of every length. Real peers: kv-event-source.test.ts. */
import { describe, expect, test } from "bun:test";
import { ZmtpClient, ZmtpFault, type ZmtpRole, zmtpGreeting, zmtpMessage, zmtpPing } from "../src/agent/vllm/zmtp.ts";

/** A client, and what it has sent and heard. */
function client(role: ZmtpRole = "SUB", topic = "") {
	const sent: Buffer[] = [];
	const messages: string[][] = [];
	let isReady = false;
	const handler = {
		send: (bytes: Buffer) => void sent.push(bytes),
		ready: () => {
			isReady = true;
		},
		message: (frames: readonly Buffer[]) => void messages.push(frames.map((each) => each.toString("latin1"))),
	};
	const zmtp = new ZmtpClient(role, handler, topic);
	return { zmtp, sent, messages, isReady: () => isReady };
}

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
/** A peer's greeting, as its specification draws it. */
const greeting = (minor: number, mechanism = "NULL", major = 3) =>
	Buffer.concat([
		hex("ff0000000000000001 7f"),
		Buffer.of(major, minor),
		Buffer.from(mechanism.padEnd(20, "\0")),
		Buffer.alloc(32),
	]);
/** READY with the metadata of a PUB. */
const READY = hex("04 19 05 5245414459 0b 536f636b65742d54797065 00000003 505542");
const NEW = greeting(1);

describe("a peer is refused", () => {
	test.each([
		["that speaks HTTP", Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"), "does not speak ZMTP"],
		["of ZMTP 2", Buffer.concat([hex("ff0000000000000001 7f 01"), Buffer.alloc(53)]), "speaks ZMTP 1"],
		["that wants a password", greeting(1, "PLAIN"), "PLAIN"],
		["that refuses", Buffer.concat([NEW, hex("04 09 05 4552524f52 02 6e6f")]), "the peer refuses: no"],
		["whose message comes before READY", Buffer.concat([NEW, hex("00 01 61")]), "before the handshake"],
		["whose frame has reserved bits", Buffer.concat([NEW, READY, hex("80 01 61")]), "reserved"],
		["whose frame is larger than memory", Buffer.concat([NEW, READY, hex("02 0000010000000000")]), "1099511627776"],
		["whose command has no name", Buffer.concat([NEW, hex("04 01 05")]), "no name"],
		["whose command is empty", Buffer.concat([NEW, hex("04 00")]), "no name"],
		["of endless messages", Buffer.concat([NEW, READY, ...new Array(17).fill(hex("01 01 61"))]), "16 frames"],
	])("%s", (_, bytes, why) => {
		const { zmtp } = client();
		expect(() => zmtp.push(bytes)).toThrow(ZmtpFault);
		expect(() => client().zmtp.push(bytes)).toThrow(why);
	});
});

test("greets as its specification draws it", () => {
	expect(zmtpGreeting().toString("hex")).toBe(
		`ff000000000000000${"07f"}0301${Buffer.from("NULL").toString("hex")}${"00".repeat(48)}`,
	);
});

test("subscribes by a command at a peer of 3.1, by a message at one of 3.0", () => {
	const later = client("SUB", "kv");
	later.zmtp.push(Buffer.concat([NEW, READY]));
	expect(later.sent.map((bytes) => bytes.toString("hex"))).toEqual([
		"041905524541445" + "90b536f636b65742d5479706500000003535542",
		"040c09535542534352494245" + "6b76",
	]);
	expect(later.isReady()).toBe(true);
	const earlier = client("SUB", "kv");
	earlier.zmtp.push(Buffer.concat([greeting(0), READY]));
	expect(earlier.sent[1]!.toString("hex")).toBe("0003016b76");
	expect([later.zmtp.answersPings, earlier.zmtp.answersPings]).toEqual([true, false]);
});

test("a client that asks says so, and subscribes to nothing", () => {
	const { zmtp, sent, isReady } = client("DEALER");
	zmtp.push(Buffer.concat([NEW, READY]));
	expect(sent).toHaveLength(1);
	expect(sent[0]!.toString("latin1")).toContain("Socket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0");
	expect(isReady()).toBe(true);
});

test("messages come whole and in order, however their bytes are cut", () => {
	const long = "x".repeat(300);
	const bytes = Buffer.concat([
		NEW,
		READY,
		zmtpMessage([Buffer.alloc(0), Buffer.from("12345678"), Buffer.from(long)]),
		zmtpMessage([Buffer.from("a"), Buffer.from("b")]),
	]);
	const expected = [
		["", "12345678", long],
		["a", "b"],
	];
	for (const size of [1, 2, 3, 7, 63, 64, 65, 100, bytes.length]) {
		const { zmtp, messages } = client();
		for (let at = 0; at < bytes.length; at += size) zmtp.push(bytes.subarray(at, at + size));
		expect(messages).toEqual(expected);
	}
});

test("a ping is answered with its context, and commands that are not known are passed over", () => {
	const { zmtp, sent, messages } = client();
	zmtp.push(Buffer.concat([NEW, READY, hex("04 06 05 4c41544552"), hex("04 0a 04 50494e47 0064 616263")]));
	expect(sent.at(-1)!.toString("hex")).toBe("040804504f4e47616263");
	zmtp.push(zmtpMessage([Buffer.from("after")]));
	expect(messages).toEqual([["after"]]);
	// Its time to live is in tenths of a second.
	expect(zmtpPing(30_000).toString("hex")).toBe("04070450494e47012c");
});
