/** Proxies and certificate authorities of the environment: they are for vendors, never for one's own machines. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLocalHost } from "../src/providers/locality.ts";
import { proxyFromEnvironment, whyNoProxy } from "../src/proxy/net/environment-proxy.ts";
import { httpTransport } from "../src/proxy/net/transport.ts";
import { certificate } from "./kit/certificate.ts";
import { cli, directory as home } from "./kit/cli.ts";
import { type ConnectProxy, startConnectProxy } from "./kit/connect-proxy.ts";
import { clientError } from "./kit/contract.ts";
import { post } from "./kit/rig.ts";
import { startRouter } from "./kit/router.ts";

describe("which proxy an address gets", () => {
	const http = "http://vendor.example/v1";
	const https = "https://api.vendor.example/v1";
	const P = "http://proxy:3128";

	test.each([
		[{}, https, undefined],
		[{ HTTPS_PROXY: P }, https, P],
		[{ https_proxy: P }, https, P],
		[{ https_proxy: P, HTTPS_PROXY: "http://other:1" }, https, P],
		[{ HTTPS_PROXY: P }, http, undefined],
		[{ HTTP_PROXY: P }, http, P],
		[{ HTTP_PROXY: P }, https, undefined],
		[{ ALL_PROXY: P }, https, P],
		[{ ALL_PROXY: P, HTTPS_PROXY: "http://other:1" }, https, "http://other:1"],
		[{ HTTPS_PROXY: "" }, https, undefined],
		[{ HTTPS_PROXY: "proxy:3128" }, https, P],
		[{ HTTPS_PROXY: "user:pass@proxy:3128" }, https, "http://user:pass@proxy:3128"],
		[{ HTTPS_PROXY: "https://proxy:3128" }, https, "https://proxy:3128"],
	] as [Record<string, string>, string, string | undefined][])("%j: %s gets %p", (env, url, proxy) => {
		expect(proxyFromEnvironment(env)(url)?.url).toBe(proxy);
	});

	test.each([
		["*", https, true],
		["api.vendor.example", https, true],
		["vendor.example", https, true],
		[".vendor.example", https, true],
		["*.vendor.example", https, true],
		["API.Vendor.Example", https, true],
		["a,b , api.vendor.example", https, true],
		["a b api.vendor.example", https, true],
		["endor.example", https, false],
		["xapi.vendor.example", https, false],
		["", https, false],
		[",", https, false],
		["api.vendor.example:443", https, true],
		["api.vendor.example:8443", https, false],
		["api.vendor.example:8443", "https://api.vendor.example:8443/v1", true],
		["11.0.0.7", "https://11.0.0.7/v1", true],
		["11.0.0.0/8", "https://11.1.2.3/v1", true],
		["11.0.0.0/8", "https://12.1.2.3/v1", false],
		["12.168.4.0/23", "https://12.168.5.9/v1", true],
		["12.168.4.0/23", "https://12.168.6.9/v1", false],
		["2600::1", "https://[2600::1]/v1", true],
		["[2600::1]", "https://[2600::1]:8443/v1", true],
		["[2600::1]:8443", "https://[2600::1]:8443/v1", true],
		["2600::2", "https://[2600::1]/v1", false],
	])("NO_PROXY=%p: %s goes without: %p", (NO_PROXY, url, without) => {
		const env = { HTTPS_PROXY: P, HTTP_PROXY: P };
		expect(proxyFromEnvironment({ ...env, NO_PROXY })(url)?.url).toBe(without ? undefined : P);
		expect(proxyFromEnvironment({ ...env, no_proxy: NO_PROXY })(url)?.url).toBe(without ? undefined : P);
	});
});

const ANSWER =
	'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}';
/** What only the proxy knows the way to. */
const FAR = "api.vendor.example";
const pair = certificate("an authority of one's own", ["localhost", FAR]);
const directory = mkdtempSync(join(tmpdir(), "ca-"));
const caFile = join(directory, "ca.pem");
const calls: string[] = [];
const serve = (tls?: { cert: string; key: string }) =>
	Bun.serve({
		port: 0,
		hostname: "localhost",
		...(tls ? { tls } : {}),
		fetch(request) {
			calls.push(new URL(request.url).pathname);
			return new Response(ANSWER, { headers: { "content-type": "application/json" } });
		},
	});
const vendor = serve(pair);
const inside = serve();
/** Local, like the server that answers: no proxy is ever asked for it. */
const nearUrl = `https://localhost:${vendor.port}`;
const vendorUrl = `https://${FAR}:${vendor.port}`;
const names = { [`${FAR}:${vendor.port}`]: `localhost:${vendor.port}` };
const insideUrl = `http://localhost:${inside.port}`;
let proxy: ConnectProxy;

beforeAll(() => writeFileSync(caFile, pair.cert));
beforeEach(() => {
	proxy = startConnectProxy({ names });
	calls.length = 0;
});
afterAll(async () => {
	await Promise.all([vendor.stop(true), inside.stop(true)]);
	rmSync(directory, { recursive: true, force: true });
});

/** Calls these models, one after the other, at a router with this environment and file. */
async function ask(models: readonly string[], env: Record<string, string>, config: Record<string, unknown> = {}) {
	const router = await startRouter({
		env: { OPENAI_API_KEY: "sk-x", OPENAI_BASE_URL: nearUrl, ...env },
		config,
	});
	try {
		const answers = [];
		for (const model of models) {
			answers.push(
				await post(`${router.url}/v1/chat/completions`, { model, messages: [{ role: "user", content: "hi" }] }),
			);
		}
		return answers;
	} finally {
		await router.stop();
		proxy.stop();
	}
}

describe("a vendor's address", () => {
	test("whose certificate nobody vouches for gets no call, and the answer says what to do", async () => {
		const [answer] = await ask(["gpt-5"], {});
		expect(answer?.status).toBe(502);
		const { code, message } = clientError(answer!.text);
		expect(code).toBe("upstream_unreachable");
		expect(message).toContain("certificate is not trusted");
		expect(message).toContain("ca_file");
		expect(calls).toBeEmpty();
	});

	test("is trusted through ca_file", async () => {
		const [answer] = await ask(["gpt-5"], {}, { ca_file: caFile });
		expect([answer?.status, answer?.text]).toEqual([200, expect.stringContaining('"content":"hi"')]);
		expect(proxy.asked).toBeEmpty();
	});

	test("is called through HTTPS_PROXY, in a tunnel, with the proxy's own credentials", async () => {
		const withUser = proxy.origin.replace("://", "://me:pw@");
		const [answer] = await ask(["gpt-5"], { HTTPS_PROXY: withUser, OPENAI_BASE_URL: vendorUrl }, { ca_file: caFile });
		expect([answer?.status, answer?.text]).toEqual([200, expect.stringContaining('"content":"hi"')]);
		expect(proxy.asked).toEqual([`CONNECT ${FAR}:${vendor.port}`]);
		expect(proxy.credentials).toEqual([`Basic ${btoa("me:pw")}`]);
	});

	test("goes past the proxy where NO_PROXY names it", async () => {
		const env = { HTTPS_PROXY: proxy.origin, NO_PROXY: FAR, OPENAI_BASE_URL: vendorUrl };
		expect((await ask(["gpt-5"], env, { ca_file: caFile }))[0]?.status).toBe(502);
		expect(proxy.asked).toBeEmpty();
	});

	test("behind a proxy that is down is unreachable, and the proxy is named with its variable, without its password", async () => {
		const gone = proxy.origin.replace("://", "://me:secretpw@");
		proxy.stop();
		const [answer] = await ask(["gpt-5"], { HTTPS_PROXY: gone, OPENAI_BASE_URL: vendorUrl }, { ca_file: caFile });
		const { code, message } = clientError(answer!.text);
		expect([answer?.status, code]).toEqual([502, "upstream_unreachable"]);
		expect(message).toContain(`the proxy ${proxy.origin} (HTTPS_PROXY) can't be reached: nothing listens there`);
		expect(answer?.text).not.toContain("secretpw");
	});

	test.each([
		["HTTPS_PROXY", "https", "", "wants a user and password (407): put them into HTTPS_PROXY"],
		["https_proxy", "https", "me:secretpw@", "refuses the user and password in https_proxy (407)"],
		["ALL_PROXY", "https", "", "wants a user and password (407): put them into ALL_PROXY"],
		["HTTP_PROXY", "http", "", "wants a user and password (407): put them into HTTP_PROXY"],
		["HTTP_PROXY", "http", "me:secretpw@", "refuses the user and password in HTTP_PROXY (407)"],
	])(
		"behind a proxy that answers 407: %s for %s with %p is named, and what to do",
		async (variable, scheme, user, words) => {
			proxy.stop();
			proxy = startConnectProxy({ refuses: "407 Proxy Authentication Required" });
			const env = { [variable]: proxy.origin.replace("://", `://${user}`), OPENAI_BASE_URL: `${scheme}://${FAR}/v1` };
			const [answer] = await ask(["gpt-5"], env);
			const { code, message } = clientError(answer!.text);
			expect([answer?.status, code]).toEqual([502, "upstream_unreachable"]);
			expect(message).toStartWith(`openai can't be reached: the proxy ${proxy.origin} (${variable}) `);
			expect(message).toContain(words);
			expect(answer?.text).not.toContain("secretpw");
		},
	);

	test("behind a proxy that opens no tunnel says so", async () => {
		proxy.stop();
		proxy = startConnectProxy({ refuses: "403 Forbidden" });
		const [answer] = await ask(["gpt-5"], { HTTPS_PROXY: proxy.origin, OPENAI_BASE_URL: vendorUrl });
		expect(clientError(answer!.text).message).toContain("(HTTPS_PROXY) opened no tunnel (403)");
	});
});

test("one's own machines are called directly, whatever proxies and authorities the environment has", async () => {
	const env = { HTTP_PROXY: proxy.origin, HTTPS_PROXY: proxy.origin, ALL_PROXY: proxy.origin };
	const own = { LOCAL_AGENT_URL: insideUrl, LLMD_BASE_URL: insideUrl };
	const box = { type: "openai-compatible", base_url: insideUrl };
	const config = { ca_file: caFile, providers: { box: { type: "vllm", base_url: insideUrl }, ollama: box } };
	const answers = await ask(["local/m", "llm-d/m", "box/m", "ollama/m", "gpt-5"], { ...env, ...own }, config);
	expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
	expect(calls).toEqual(Array(5).fill("/v1/chat/completions"));
	expect(proxy.asked).toBeEmpty();
});

test.each(["vllm", "llm-d", "local", "openai-compatible", "openai"])(
	"ca_file vouches for the certificate of a %s, which is not trusted without it",
	async (type) => {
		const config = { providers: { box: { type, base_url: nearUrl, api_key: "sk-x" } } };
		const [without] = await ask(["box/m"], {}, config);
		expect([without?.status, clientError(without!.text).message]).toEqual([
			502,
			expect.stringContaining("put its authority into ca_file"),
		]);
		const [trusted] = await ask(["box/m"], {}, { ...config, ca_file: caFile });
		expect(trusted?.status).toBe(200);
	},
);

test.each([
	["127.0.0.1", true],
	["10.1.2.3", true],
	["172.16.0.1", true],
	["172.32.0.1", false],
	["192.168.0.1", true],
	["169.254.1.1", true],
	["100.64.0.1", true],
	["100.128.0.1", false],
	["8.8.8.8", false],
	["203.0.113.7", false],
	["0.0.0.0", true],
	["[::1]", true],
	["[::ffff:10.0.0.7]", true],
	["[::ffff:8.8.8.8]", false],
	["[fd12:3456::1]", true],
	["[fe80::1]", true],
	["[2600::1]", false],
	["gpu-box", true],
	["GPU-BOX.", true],
	["ollama.default.svc.cluster.local", true],
	["host.docker.internal", true],
	["nas.home.arpa", true],
	["10.example.com", false],
	["local.example.com", false],
	["internal", true],
	["api.together.xyz", false],
])("%s is local: %p, and a proxy is asked only for what is not", (host, expected) => {
	const { hostname } = new URL(`http://${host}/`);
	expect(isLocalHost(hostname)).toBe(expected);
	const chosen = proxyFromEnvironment({ ALL_PROXY: "http://proxy:3128" });
	for (const scheme of ["http", "https"]) expect(chosen(`${scheme}://${host}/v1`) === undefined).toBe(expected);
});

test("a vendor at a plain address goes through HTTP_PROXY", async () => {
	const env = { HTTP_PROXY: proxy.origin, OPENAI_BASE_URL: `http://${FAR}` };
	expect((await ask(["gpt-5"], env))[0]?.status).toBe(502);
	expect(new Set(proxy.asked)).toEqual(new Set([`POST http://${FAR}/v1/chat/completions`]));
	expect(calls).toBeEmpty();
});

test("ca_file stands beside the public authorities, and may hold several of one's own", async () => {
	const other = certificate("another");
	const transport = httpTransport({ ca: other.cert + pair.cert });
	const request = { url: `${nearUrl}/v1/models`, headers: {} };
	expect((await transport.send(request, AbortSignal.timeout(5000))).status).toBe(200);
});

describe("a variable that can't be a proxy is said by its name, and starts all the same", () => {
	test.each([
		"http://",
		"http//proxy:3128",
		"http:/proxy:3128",
		"host:port",
		"host:99999",
		":3128",
		"socks5://proxy:1080",
		"ftp://proxy",
	])("%s", (text) => {
		expect(whyNoProxy(text)).toContain("calls through it will fail; write http://host:port");
	});

	test.each(["proxy", "proxy:3128", "10.0.0.1:3128", "[::1]:3128", "http://user:pass@proxy:1", "https://proxy"])(
		"not where it can be one: %s",
		(text) => expect(whyNoProxy(text)).toBeUndefined(),
	);

	test("by check, without what stands in it", async () => {
		using place = home();
		const env = { HTTP_PROXY: "http//user:secret-word@proxy:3128", https_proxy: "proxy" };
		const { code, stderr } = await cli(["check"], { cwd: place.path, env });
		expect(code).toBe(0);
		expect(stderr).toMatch(/^warning: the environment variable HTTP_PROXY is no proxy's address[^\n]*\n$/);
		expect(stderr).not.toContain("secret-word");
	});
});
