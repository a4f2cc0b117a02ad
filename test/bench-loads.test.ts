import { expect, test } from "bun:test";
import { join } from "node:path";
import { chooseBase } from "./bench/base.ts";
import { parseLoad } from "./bench/client.ts";
import { Heads } from "./bench/heads.ts";
import { chooseLoads } from "./bench/loads.ts";
import { proxyConfig, upstreamConfig } from "./bench/nginx.ts";
import { choosePins, coresOf } from "./bench/pins.ts";
import { judgeStream, judgeWhole } from "./bench/sample.ts";
import { startUpstream } from "./bench/subject.ts";
import { ANSWER, request, TOKENS } from "./bench/wire.ts";

test("a part of a name that no load has is an error that lists the names", () => {
	expect(() => chooseLoads({ only: "3 connections" })).toThrow("  whole 1 KB, 32 connections; keys, limits, budget");
});

test("a run without a choice has every kind of load plain, and keys and Claude's wire for the main ones", () => {
	const names = chooseLoads({}).map(({ name }) => name);
	expect(new Set(names).size).toBe(names.length);
	const kinds = new Set(
		chooseLoads({ full: true })
			.filter(({ name }) => !name.includes("half escapes"))
			.map(({ name }) => name.replace(/;.*/, "")),
	);
	for (const kind of kinds) expect(names).toContain(kind);
	for (const main of ["whole 1 KB, 32 connections", "200 events at once, 64 connections"]) {
		expect(names).toContain(`${main}; keys, limits, budget`);
		expect(names).toContain(`${main}; through Claude's wire`);
	}
});

test("a load that is asked for by name is run, though it is no usual one", () => {
	const [only] = chooseLoads({ only: "256 connections; through Claude's wire" });
	expect(only).toMatchObject({ mode: "whole", connections: 256, variant: "claude", cached: false });
	expect(chooseLoads({}).map(({ name }) => name)).not.toContain(only?.name);
});

test("every request has the size that its load's name tells, and only those of the cache ask for no chance", () => {
	for (const { name, body, cached, stream } of chooseLoads({ full: true })) {
		const size = name.startsWith("200 KB") ? 200e3 : name.startsWith("2 MB") ? 2e6 : 1024;
		expect([name, Buffer.byteLength(body)]).toEqual([name, size]);
		const asked = JSON.parse(body);
		expect([name, asked.temperature]).toEqual([name, cached ? 0 : undefined]);
		expect([name, asked.stream]).toEqual([name, stream]);
	}
	expect(request({ model: "a", bytes: 200e3, text: "escaped" }).match(/\\|[^\0-\x7f]/g)?.length).toBeGreaterThan(60e3);
});

test("the whole answer is a kilobyte in every wire, and another content, finish or usage is found", () => {
	expect([ANSWER.openai, ANSWER.claude, ANSWER.gemini].map(({ length }) => length)).toEqual([1024, 1024, 1024]);
	expect(judgeWhole(ANSWER.openai)).toBeUndefined();
	expect(judgeWhole(ANSWER.openai.replace("lazy", "lame"))).toContain("content");
	expect(judgeWhole(ANSWER.openai.replace('"stop"', '"length"'))).toContain("length");
	expect(judgeWhole(ANSWER.openai.replace("398", "399"))).toContain("399");
	expect(judgeWhole("{}")).toContain("content");
});

test("a body in pieces, chunked ones too, is read to its end before its request counts as one", () => {
	const plain = "POST /whole HTTP/1.1\r\nContent-Length: 11\r\n\r\nhello\r\n\r\n!!";
	const chunked =
		"POST /burst HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nb;x=y\r\n0\r\n\r\n world\r\n0\r\nx: y\r\n\r\n";
	const ask = "GET / HTTP/1.1\r\n\r\n";
	const all = Buffer.from(plain + chunked + ask + plain);
	for (const size of [1, 2, 3, 7, all.length]) {
		const heads = new Heads();
		const found: string[] = [];
		const at: number[] = [];
		for (let from = 0; from < all.length; from += size) {
			const now = heads.push(all.subarray(from, from + size));
			for (const head of now) {
				found.push(head.slice(0, head.indexOf(" HTTP")));
				at.push(from + size);
			}
		}
		expect([size, found]).toEqual([size, ["POST /whole", "POST /burst", "GET /", "POST /whole"]]);
		if (size === 1) {
			const ends = [
				plain.length,
				plain.length + chunked.length,
				plain.length + chunked.length + ask.length,
				all.length,
			];
			expect(at).toEqual(ends);
		}
	}
});

test("cores are read as the kernel lists them, and one alone is none to share out", () => {
	expect(coresOf("0-2,5\n")).toEqual([0, 1, 2, 5]);
	expect(coresOf("3")).toEqual([3]);
	expect(() => coresOf("")).toThrow("no list of cores");
	expect(() => coresOf("0-a")).toThrow("0-a is no list of cores");
	expect(choosePins([2, 3, 6])).toEqual({ around: 2, subject: 6 });
	expect(choosePins([4])).toBeUndefined();
	expect(choosePins([])).toBeUndefined();
});

test("the router to compare with is the one that is named, the last tag's, or what the sources grew from", () => {
	const git = (answers: Record<string, string>) => (command: string, first: string) => answers[`${command} ${first}`];
	const last = { "log -1": "c3", "rev-parse --verify": "c2" };
	expect(chooseBase("v9", git({}) as never)).toBe("v9");
	expect(chooseBase(undefined, git({ "describe --tags": "v1", "status --porcelain": " M src" }) as never)).toBe("v1");
	expect(chooseBase(undefined, git({ "status --porcelain": " M src" }) as never)).toBe("HEAD");
	const branch = { "rev-parse HEAD": "c9", "merge-base HEAD": "c5", "diff --name-only": "src/main.ts", ...last };
	expect(chooseBase(undefined, git(branch) as never)).toBe("c5");
	// A branch that changed no source, and main itself: before the last change.
	expect(chooseBase(undefined, git({ ...branch, "diff --name-only": "" }) as never)).toBe("c2");
	expect(chooseBase(undefined, git({ "rev-parse HEAD": "c5", "merge-base HEAD": "c5", ...last }) as never)).toBe("c2");
	expect(chooseBase(undefined, git({}) as never)).toBeUndefined();
});

test("nginx listens on the loopback device alone, and passes on to the mode that is measured", () => {
	for (const config of [upstreamConfig("/tmp/x", 1234), proxyConfig("/tmp/x", 1234, "http://127.0.0.1:99/paced")]) {
		expect(config.match(/listen \S+/g)).toEqual(["listen 127.0.0.1:1234"]);
	}
	expect(proxyConfig("/tmp/x", 1234, "http://127.0.0.1:99/paced")).toContain("proxy_pass http://bench/paced/;");
});

test("the upstream answers whole and in streams, in every wire, and its streams are what the sample wants", async () => {
	await using upstream = await startUpstream();
	const post = (path: string) => fetch(upstream.url + path, { method: "POST", body: "x".repeat(3e6) });
	expect(await (await post("/whole/v1/chat/completions")).text()).toBe(ANSWER.openai);
	expect(await (await post("/whole/v1/messages")).text()).toBe(ANSWER.claude);
	expect(await (await post("/whole/v1beta/models/gemini-bench:generateContent")).text()).toBe(ANSWER.gemini);
	for (const mode of ["burst", "paced"]) {
		const text = await (await post(`/${mode}/v1/chat/completions`)).text();
		expect([mode, judgeStream(text)]).toEqual([mode, undefined]);
		const event = text.slice(0, text.indexOf("\n\n") + 2);
		expect(judgeStream(text.replace(event, ""))).toBe("it has 196 tokens");
		expect(judgeStream(text + event)).toBe("it has no [DONE]");
	}
	expect(await (await post("/burst/v1/messages")).text()).toEndWith('data: {"type":"message_stop"}\n\n');
	const gemini = await (await post("/burst/v1beta/models/gemini-bench:streamGenerateContent?alt=sse")).text();
	expect(gemini.match(/"text":" \d{16}"/g)).toHaveLength(TOKENS);
});

test("the client of paced streams counts events, and those streams that are refused", async () => {
	await using upstream = await startUpstream();
	using refusing = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("no", { status: 503 }) });
	const run = async (url: string) => {
		const command = [process.execPath, "--no-env-file", join(import.meta.dir, "bench/streams.ts")];
		const child = Bun.spawn([...command, url, "3", "1"], {
			env: { BENCH_BODY: join(import.meta.dir, "../package.json"), BENCH_KEY: "k" },
			stdout: "pipe",
			stderr: "pipe",
		});
		const [first, last] = (await new Response(child.stdout).text()).trim().split("\n");
		return { first, seen: parseLoad(last ?? ""), said: await new Response(child.stderr).text() };
	};
	const { first, seen, said } = await run(`${upstream.url}/slow/v1/chat/completions`);
	expect([first, seen.failed, said]).toEqual(["open", 0, ""]);
	expect(seen.calls).toBeGreaterThan(0);
	const refused = await run(`http://127.0.0.1:${refusing.port}/v1/chat/completions`);
	expect(refused.seen.calls).toBe(0);
	expect(refused.seen.failed).toBe(3);
	expect(refused.said).toContain("503");
});
