/** Files behind addresses that callers name: fetched where they are public, refused by the field's name where they are not. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { RouterError } from "../src/errors.ts";
import { allowance, fetchMedia, type MediaAccess, mediaAccess } from "../src/proxy/net/media-fetch.ts";
import { isPublic } from "../src/proxy/net/public-address.ts";
import { fileFetch } from "../src/proxy/net/transport.ts";
import { certificate } from "./kit/certificate.ts";
import { PIXEL } from "./kit/scenarios.ts";

const PNG = Buffer.from(PIXEL.slice("data:image/png;base64,".length), "base64");
const PARAM = "messages[0].content[0].image_url.url";

let server: ReturnType<typeof Bun.serve>;
let asked: string[] = [];
const { key, cert } = certificate("localhost");
beforeAll(() => {
	server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		tls: { key, cert },
		async fetch(request) {
			const { pathname, search } = new URL(request.url);
			asked.push(`${request.headers.get("host")?.split(":")[0]} ${pathname}${search}`);
			expect(request.headers.get("authorization")).toBeNull();
			expect(request.headers.get("cookie")).toBeNull();
			if (pathname.startsWith("/to/")) {
				return new Response(null, { status: 302, headers: { location: decodeURIComponent(pathname.slice(4)) } });
			}
			if (pathname === "/round") return new Response(null, { status: 307, headers: { location: "/round" } });
			if (pathname === "/gone") return new Response("secret words of the server", { status: 410 });
			if (pathname === "/page") return new Response("<html>", { headers: { "content-type": "text/html" } });
			if (pathname === "/untyped")
				return new Response(PNG, { headers: { "content-type": "application/octet-stream" } });
			if (pathname === "/large")
				return new Response(new Uint8Array(21 * 1024 * 1024), { headers: { "content-type": "image/png" } });
			if (pathname === "/never") await new Promise(() => {});
			return new Response(PNG, { headers: { "content-type": "image/PNG; charset=binary" } });
		},
	});
});
afterAll(() => server.stop(true));

/** A world in which `localhost` is a public host at this server, and every other name what the table says. */
function here(names: Record<string, readonly string[]> = {}): MediaAccess {
	asked = [];
	return {
		get: fileFetch({ ca: cert, proxyFor: () => undefined }),
		resolve: async (name) => {
			const found = names[name] ?? (name === "localhost" ? ["127.0.0.1"] : undefined);
			if (!found) throw new Error("ENOTFOUND");
			return found;
		},
		isAllowed: (address) => address === "127.0.0.1" || isPublic(address),
	};
}
const at = (path: string) => `https://localhost:${server.port}${path}`;
const fetched = (url: string, inWorld = here(), left = allowance(), signal = new AbortController().signal) =>
	fetchMedia(url, PARAM, inWorld, left, signal);

/** The refusal's words; fails where the file came. */
async function refusal(url: string, inWorld?: MediaAccess, left?: ReturnType<typeof allowance>): Promise<string> {
	const error = await fetched(url, inWorld, left).then(
		() => new Error("it came"),
		(thrown) => thrown,
	);
	expect(error).toBeInstanceOf(RouterError);
	expect([error.errorCode, error.status, error.body.error.param]).toEqual(["invalid_value", 400, PARAM]);
	return error.message;
}

test("an image comes with its type, asked for by its name", async () => {
	expect(await fetched(at("/cat.png?size=2"))).toEqual({ type: "image/png", data: PNG.toString("base64") });
	expect(asked).toEqual(["localhost /cat.png?size=2"]);
});

test("one without a type of its own is known by its first bytes", async () => {
	expect((await fetched(at("/untyped"))).type).toBe("image/png");
});

test("redirects are followed, each hop looked at anew", async () => {
	expect((await fetched(at(`/to/${encodeURIComponent(at("/cat.png"))}`))).type).toBe("image/png");
	expect((await fetched(at("/to/%2Fcat.png"))).type).toBe("image/png");
	expect(await refusal(at("/round"))).toContain("more than 4 times");
	expect(asked.length).toBe(5);
});

describe("what is not on the public internet is not asked", () => {
	const rows = [
		["a private address", "https://10.0.0.1/a.png", {}],
		["the metadata service", "https://169.254.169.254/latest/meta-data", {}],
		["an IPv6 loopback", "https://[::1]/a.png", {}],
		["an address in another spelling", "https://2130706433/a.png", {}],
		["another one", "https://0x7f.1/a.png", {}],
		["a mapped address", "https://[::ffff:10.0.0.1]/a.png", {}],
		["a name that means a private address", "https://inside.example/a.png", { "inside.example": ["192.168.0.7"] }],
		["a name that means both", "https://both.example/a.png", { "both.example": ["1.1.1.1", "10.0.0.1"] }],
		["a name that means nothing", "https://none.example/a.png", { "none.example": [] }],
		// A word of its own would tell which names this network has.
		["a name that nobody has", "https://unknown.example/a.png", {}],
	] as const;
	test.each(rows)("%s", async (_, url, names) => {
		// Loopback is the test's own server elsewhere; here nothing private is allowed.
		const inWorld = { ...here(names), isAllowed: isPublic };
		expect(await refusal(url, inWorld)).toContain("nothing on the public internet");
		expect(asked).toEqual([]);
	});

	test.each([
		["https://10.0.0.1/a.png", "nothing on the public internet"],
		["http://localhost/a.png", "https addresses"],
		["https://user:hunter2@localhost/a.png", "https addresses without a user"],
		["file:///etc/passwd", "https addresses"],
		["https://", "an address that is none"],
	])("a redirect to %s", async (target, says) => {
		const said = await refusal(at(`/to/${encodeURIComponent(target)}`));
		expect(said).toContain(says);
		expect(said).not.toContain("hunter2");
		expect(asked.length).toBe(1);
	});

	test("a name that means something else a moment later: the address that was looked at is the one that is asked", async () => {
		let times = 0;
		const inWorld: MediaAccess = {
			...here(),
			resolve: async () => (times++ === 0 ? ["127.0.0.1"] : ["10.0.0.1"]),
		};
		expect((await fetched(at("/cat.png"), inWorld)).type).toBe("image/png");
		expect(times).toBe(1);
	});

	test("the real world finds names, and this machine is not public", async () => {
		expect(await refusal(at("/cat.png"), mediaAccess(fileFetch({ ca: cert, proxyFor: () => undefined })))).toContain(
			"public internet",
		);
	});
});

test("the certificate must be the name's", async () => {
	const inWorld = here({ "other.example": ["127.0.0.1"] });
	expect(await refusal(`https://other.example:${server.port}/cat.png`, inWorld)).toContain("can't be fetched");
	expect(asked).toEqual([]);
});

test.each([
	["/gone", "answers 410"],
	["/page", "no image, document, sound or film"],
	["/large", "larger than 20 MB"],
])("%s is refused", async (path, says) => {
	const said = await refusal(at(path));
	expect(said).toContain(says);
	expect(said).not.toContain("secret words");
});

test("all of a call's files together are bounded", async () => {
	expect(await refusal(at("/cat.png"), here(), { left: 10 })).toContain("more than 48 MB");
});

test("a name server that never answers is given up when its caller leaves", async () => {
	const leave = new AbortController();
	const inWorld: MediaAccess = { ...here(), resolve: () => new Promise(() => {}) };
	const pending = fetched(at("/cat.png"), inWorld, allowance(), leave.signal);
	setTimeout(() => leave.abort(), 20);
	expect(await pending.catch((error) => error.errorCode)).toBe("invalid_value");
});

test("a server that never answers is given up when its caller leaves", async () => {
	const leave = new AbortController();
	const pending = fetched(at("/never"), here(), allowance(), leave.signal);
	setTimeout(() => leave.abort(), 20);
	expect(await pending.catch((error) => error.errorCode)).toBe("invalid_value");
});
