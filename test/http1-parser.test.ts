/** The answers of HTTP/1.1, however their bytes are cut, and the ones that are none. */
import { describe, expect, test } from "bun:test";
import { HeadReader, MalformedAnswer } from "../src/proxy/net/http1-head.ts";
import { AnswerParser } from "../src/proxy/net/http1-parser.ts";
import { random } from "./kit/random.ts";

/** What a parser makes of these pieces, and of the connection's clean end where `closes`. */
function parse(pieces: readonly (string | Buffer)[], closes = false) {
	const parser = new AnswerParser();
	const body: Buffer[] = [];
	for (const piece of pieces) {
		// A copy: the parser may overwrite what it gets.
		parser.push(Buffer.from(piece));
		if (parser.piece) body.push(Buffer.from(parser.piece));
	}
	const isComplete = closes ? parser.close() : parser.isDone;
	const { head, isReusable } = parser;
	return { status: head?.status, headers: head?.headers, body: Buffer.concat(body).toString(), isComplete, isReusable };
}

const OK = "HTTP/1.1 200 OK\r\n";
const CHUNKED = `${OK}content-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n`;

describe("a whole answer", () => {
	test.each([
		["with a length", `${OK}content-length: 5\r\n\r\nhello`, "hello", true],
		["of no bytes", `${OK}content-length: 0\r\n\r\n`, "", true],
		["in chunks", `${CHUNKED}5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n`, "hello world", true],
		["in chunks with extensions", `${CHUNKED}5;a=b\r\nhello\r\n0 ;x\r\n\r\n`, "hello", true],
		["in chunks with trailers", `${CHUNKED}A\r\n0123456789\r\n0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n`, "0123456789", true],
		[
			"behind interim answers",
			`HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\n${OK}content-length: 2\r\n\r\nhi`,
			"hi",
			true,
		],
		["with bare line feeds", "HTTP/1.1 200 OK\ncontent-length: 2\n\nhi", "hi", true],
		["without a reason phrase", "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nhi", "hi", true],
		["that says close", `${OK}content-length: 2\r\nConnection: Close\r\n\r\nhi`, "hi", false],
		["of HTTP/1.0", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", "hi", false],
		[
			"with both a length and chunks",
			`${OK}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n`,
			"hi",
			false,
		],
		["with the same length twice", `${OK}content-length: 2\r\ncontent-length: 2\r\n\r\nhi`, "hi", true],
		["with bytes behind it", `${OK}content-length: 2\r\n\r\nhiHTTP/1.1 200 OK`, "hi", false],
		["with bytes behind its last chunk", `${CHUNKED}2\r\nhi\r\n0\r\n\r\nx`, "hi", false],
	])("%s", (_, wire, body, isReusable) => {
		expect(parse([wire])).toMatchObject({ status: 200, body, isComplete: true, isReusable });
		// Bytes behind an answer are seen only when they come with it: later ones meet an idle connection.
		for (let cut = 1; cut < wire.length; cut++) {
			expect(parse([wire.slice(0, cut), wire.slice(cut)])).toMatchObject({ status: 200, body, isComplete: true });
		}
		expect(parse([...wire])).toMatchObject({ status: 200, body, isComplete: true });
	});

	test.each(["204 No Content", "304 Not Modified"])("%s has no body, whatever its length says", (line) => {
		expect(parse([`HTTP/1.1 ${line}\r\ncontent-length: 5\r\n\r\n`])).toMatchObject({
			isComplete: true,
			isReusable: true,
		});
	});

	test("that only the connection's end closes is complete then, not before", () => {
		const wire = `${OK}content-type: text/event-stream\r\n\r\ndata: x\n\n`;
		expect(parse([wire])).toMatchObject({ body: "data: x\n\n", isComplete: false });
		expect(parse([wire], true)).toMatchObject({ body: "data: x\n\n", isComplete: true, isReusable: false });
	});

	test.each([
		["line feeds", "HTTP/1.1 200 OK\ncontent-length: 6\n\n1\r\n\r\n2", "1\r\n\r\n2"],
		["both", "HTTP/1.1 200 OK\ncontent-length: 6\n\r\n1\r\n\r\n2", "1\r\n\r\n2"],
	])("whose head ends in bare %s ends there, whatever stands in its body", (_, wire, body) => {
		for (let cut = 1; cut < wire.length; cut++) {
			expect(parse([wire.slice(0, cut), wire.slice(cut)])).toMatchObject({ body, isComplete: true, isReusable: true });
		}
		expect(parse([wire])).toMatchObject({ body, isComplete: true, isReusable: true });
	});

	test("has the headers that a web Headers would have", () => {
		const lines = [
			["X-Two", "1"],
			["date", " now "],
			["x-TWO", "2"],
			["Set-Cookie", "a"],
			["x-empty", ""],
			["set-cookie", "b"],
			["content-length", "0"],
		] as const;
		const headers = parse([`${OK}${lines.map(([name, value]) => `${name}:${value}\r\n`).join("")}\r\n`]).headers!;
		const web = new Headers();
		for (const [name, value] of lines) web.append(name, value);
		const sorted = (entries: Iterable<[string, string]>) => [...entries].map(String).sort();
		expect(sorted(headers)).toEqual(sorted(web));
		for (const name of ["x-two", "X-Two", "set-cookie", "Date", "none", "x-empty"]) {
			expect([headers.get(name), headers.has(name)]).toEqual([web.get(name), web.has(name)]);
		}
		expect(sorted(new Headers([...headers]))).toEqual(sorted(web));
	});

	test("keeps its headers: several of a name, bytes beyond ASCII, blanks around values", () => {
		const { headers } = parse([
			`${OK}Set-Cookie: a\r\nset-cookie: b\r\nX-Name: \t caf\xe9 \r\ncontent-length: 0\r\n\r\n`,
		]);
		expect(headers?.getSetCookie()).toEqual(["a", "b"]);
		expect(headers?.get("x-name")).toBe(Buffer.from("café").toString("latin1"));
	});
});

describe("a chunk that arrives alone", () => {
	test.each([
		["shorter than its size", "6\r\nhello\r\n", "hello\r"],
		["followed by the beginning of another", "5\r\nhello\r\n5", "hello"],
		["followed by another", "5\r\nhello\r\n6\r\n world\r\n", "hello world"],
		["with zeros before its size", "0005\r\nhello\r\n", "hello"],
		["with more digits than any needs", "000000000005\r\nhello\r\n", "hello"],
		["with a size in capitals", "A\r\n0123456789\r\n", "0123456789"],
		["with an extension", "5;a=b\r\nhello\r\n", "hello"],
		["with bare line feeds", "5\nhello\n", "hello"],
		["that holds line ends", "6\r\na\r\n\r\nb\r\n", "a\r\n\r\nb"],
	])("%s is read as it is among others", (_, wire, body) => {
		expect(parse([CHUNKED, wire]).body).toBe(body);
		expect(parse([CHUNKED, "2\r\nhi\r\n", wire]).body).toBe(`hi${body}`);
	});

	test.each([
		["longer than its size", "2\r\nhello\r\n"],
		["with a size that is none", "xyz\r\nhello\r\n"],
		["without a size", "\r\nhello\r\n"],
		["whose end is no line's", "5\r\nhelloxx\n"],
	])("%s is refused", (_, wire) => {
		expect(() => parse([CHUNKED, wire])).toThrow(MalformedAnswer);
	});

	test("of no bytes is the last", () => {
		expect(parse([CHUNKED, "5\r\nhello\r\n", "0\r\n\r\n"])).toMatchObject({
			body: "hello",
			isComplete: true,
			isReusable: true,
		});
	});
});

test.each([
	["in its head", "HTTP/1.1 200 OK\r\ncontent-le"],
	["in its body", `${OK}content-length: 5\r\n\r\nhel`],
	["in a chunk", `${CHUNKED}5\r\nhel`],
	["between chunks", `${CHUNKED}5\r\nhello\r\n`],
	["before the end of its trailers", `${CHUNKED}5\r\nhello\r\n0\r\n`],
])("an answer that breaks off %s is not complete, though its connection ended cleanly", (_, wire) => {
	expect(parse([wire], true).isComplete).toBe(false);
});

test.each([
	["another protocol", "SSH-2.0-OpenSSH\r\n\r\n"],
	["HTTP/2", "HTTP/2 200\r\n\r\n"],
	["a status beyond 599", "HTTP/1.1 999 X\r\n\r\n"],
	["a switch of protocols", "HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n"],
	["a header without a colon", `${OK}nonsense\r\n\r\n`],
	["a header without a name", `${OK}: x\r\n\r\n`],
	["a folded header", `${OK}a: b\r\n c\r\n\r\n`],
	["a blank before the colon", `${OK}content-length : 5\r\n\r\n`],
	["two different lengths", `${OK}content-length: 5\r\ncontent-length: 6\r\n\r\n`],
	["a length that is none", `${OK}content-length: -1\r\n\r\n`],
	["a list of lengths", `${OK}content-length: 5, 5\r\n\r\n`],
	["a value with a bare carriage return", `${OK}a: b\rc\r\n\r\n`],
	["a value with a NUL", `${OK}a: b\0c\r\n\r\n`],
	["a line that has its colon in the next", `${OK}nonsense\r\na: b\r\n\r\n`],
	["another transfer encoding", `${OK}transfer-encoding: gzip, chunked\r\n\r\n`],
	["a chunk size that is none", `${CHUNKED}xyz\r\n`],
	["an empty chunk size", `${CHUNKED}\r\n`],
	["a chunk size beyond any", `${CHUNKED}fffffffffffffffff\r\n`],
	["a chunk longer than its size", `${CHUNKED}2\r\nhello\r\n`],
	["an endless head", `${OK}a: ${"x".repeat(70_000)}`],
	["an endless chunk size", `${CHUNKED}2;${"x".repeat(20_000)}`],
	["endless trailers", `${CHUNKED}0\r\n${"a: b\r\n".repeat(5000)}`],
])("%s is refused", (_, wire) => {
	expect(() => parse([wire])).toThrow(MalformedAnswer);
});

describe("a head behind others of its origin", () => {
	const read = (reader: HeadReader, text: string) => {
		try {
			const { headers, ...rest } = reader.read(text);
			return { ...rest, headers: [...headers], cookies: headers.getSetCookie() };
		} catch (error) {
			return (error as Error).message;
		}
	};

	test("with two lengths, or a broken line in the place of a good one, is refused", () => {
		const reader = new HeadReader();
		reader.read(`${OK}a: b\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n`);
		for (const wire of [
			`${OK}a: b\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n`,
			`${OK}a: b\rc\r\ncontent-length: 5\r\n\r\n`,
			`HTTP/2 200\r\na: b\r\ncontent-length: 5\r\n\r\n`,
		]) {
			expect(() => reader.read(wire)).toThrow(MalformedAnswer);
		}
	});

	test("that is longer than the one before is not taken for it", () => {
		const reader = new HeadReader();
		reader.read(`${OK}a: b\r\n\r\n`);
		expect([...reader.read(`${OK}a: bc\r\nd: e\r\n\r\n`).headers]).toEqual([
			["a", "bc"],
			["d", "e"],
		]);
	});

	test("is read as it is alone, whatever they have in common", () => {
		const rng = random(11);
		const lines = [
			...["Server: nginx", "Date: 1", "Date: 2", "server: nginx", "Set-Cookie: a=1", "set-cookie: b=2", "x: 1", "x: 2"],
			...["content-length: 5", "content-length: 50", "Content-Length: 5", "transfer-encoding: chunked", "x:  1 "],
			...["connection: close", "connection: keep-alive", "nonsense", ": none", "y: a\rb"],
		];
		const firsts = ["HTTP/1.1 200 OK", "HTTP/1.1 200 OK", "HTTP/1.0 200 OK", "HTTP/1.1 503 No", "HTTP/3 200"];
		for (let round = 0; round < 200; round++) {
			const reader = new HeadReader();
			let own: string[] = [];
			for (let nth = 0; nth < 20; nth++) {
				own = own.filter(() => rng.below(4) > 0);
				while (own.length < 5) own.splice(rng.below(own.length + 1), 0, lines[rng.below(lines.length)]!);
				const end = rng.below(5) === 0 ? "\n" : "\r\n";
				const text = [firsts[rng.below(firsts.length)]!, ...own, "", ""].join(end);
				expect(read(reader, text)).toEqual(read(new HeadReader(), text));
			}
		}
	});
});

test("any body in any chunks, cut anywhere, comes out whole", () => {
	const rng = random(7);
	for (let round = 0; round < 300; round++) {
		const body = Buffer.from(Array.from({ length: rng.below(401) }, () => rng.below(256)));
		const wire: Buffer[] = [Buffer.from(CHUNKED)];
		for (let at = 0; at < body.length; ) {
			const size = 1 + rng.below(60);
			const piece = body.subarray(at, at + size);
			wire.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n"));
			at += size;
		}
		const whole = Buffer.concat([...wire, Buffer.from("0\r\n\r\n")]);
		const parser = new AnswerParser();
		const out: Buffer[] = [];
		for (let at = 0; at < whole.length; ) {
			const size = 1 + rng.below(90);
			parser.push(Buffer.from(whole.subarray(at, at + size)));
			if (parser.piece) out.push(parser.piece);
			at += size;
		}
		expect(Buffer.concat(out).equals(body)).toBe(true);
		expect([parser.isDone, parser.isReusable]).toEqual([true, true]);
	}
});
