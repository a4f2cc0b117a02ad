/** The playground in a real browser: whose key pays, two models side by side, what came of them, stopping, and the call as code. */
import { expect } from "bun:test";
import { callCode } from "../src/server/console/browser/call-code.ts";
import { eventsAndComments } from "../src/server/console/browser/event-lines.ts";
import { type OpenConsole, openConsole, VIEWS } from "./kit/console-page.ts";
import type { Loose } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const { afterAll, beforeAll, describe, test } = needing("chromium");
const ADMIN = "admin-key-of-the-test";
const CALLER = "key-of-a-caller";
const PIXEL = Buffer.from(
	"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
	"base64",
);

const asked: Loose[] = [];
let isGone = false;
/** Streams a word and a tool call, and ends, but for a model called `endless`, whose stream stays open. */
const upstream = Bun.serve({
	hostname: "127.0.0.1",
	port: 0,
	idleTimeout: 0,
	async fetch(request) {
		if (request.method === "GET") return Response.json({ object: "list", data: [{ id: "m" }, { id: "endless" }] });
		const body = (await request.json()) as Loose;
		asked.push(body);
		request.signal.addEventListener("abort", () => {
			isGone = true;
		});
		const chunk = (part: object) =>
			`data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", ...part })}\n\n`;
		const delta = (part: object, finish_reason: string | null = null) =>
			chunk({ choices: [{ index: 0, delta: part, finish_reason }] });
		const call = (part: object) => ({ tool_calls: [{ index: 0, ...part }] });
		const events = [
			delta({ role: "assistant", content: "<b>Good</b> " }),
			delta({ content: "day" }),
			delta(call({ id: "t", type: "function", function: { name: "weather", arguments: '{"in":' } })),
			delta(call({ function: { arguments: '"Bern"}' } })),
			delta({}, "tool_calls"),
			chunk({ choices: [], usage: { prompt_tokens: 1000, completion_tokens: 10, total_tokens: 1010 } }),
			"data: [DONE]\n\n",
		];
		const isEndless = body["model"] === "endless";
		const stream = new ReadableStream<string>({
			start(controller) {
				for (const event of isEndless ? events.slice(0, 2) : events) controller.enqueue(event);
				if (!isEndless) controller.close();
			},
		});
		return new Response(stream.pipeThrough(new TextEncoderStream()), {
			headers: { "content-type": "text/event-stream" },
		});
	},
});

let router: RunningRouter;
beforeAll(async () => {
	router = await startRouter({
		config: {
			providers: { priced: { type: "openai-compatible", base_url: `http://127.0.0.1:${upstream.port}` } },
			prices: { "priced/*": { input: 100, output: 1000 } },
			keys: [{ name: "team", key: CALLER }],
			admin: { keys: [{ name: "ops", key: ADMIN }] },
		},
	});
}, 60_000);
afterAll(async () => {
	await router.stop();
	await upstream.stop(true);
});

const open = async (view = VIEWS[0]!) => {
	const shown = await openConsole(router.url, ADMIN, view);
	shown.page.setDefaultTimeout(10_000);
	await shown.show("playground", "Playground");
	return shown;
};
const type = async ({ page }: OpenConsole, left: string, right = "") => {
	await page.fill("#model-left", left);
	await page.fill("#model-right", right);
};
const send = ({ page }: OpenConsole) => page.getByRole("button", { name: "Send", exact: true }).click();
const sent = ({ page }: OpenConsole) =>
	until(
		async () => (await page.evaluate("document.querySelector('[aria-busy=true]') === null")) === true,
		"the answers' end",
	);

describe("a call that can't be made", () => {
	let shown: OpenConsole;
	beforeAll(async () => {
		shown = await open();
	}, 60_000);
	afterAll(() => shown.close());

	test("without a key: an administrator's session pays for none, and stays signed in", async () => {
		await type(shown, "dummy");
		await send(shown);
		await shown.page.waitForSelector(".reply [role=alert]:has-text('No API key')");
		expect(await shown.page.locator("nav.pages").count()).toBe(1);
		// The browser itself writes down that an answer was a 401.
		shown.said.length = 0;
	}, 60_000);

	test("with tools that are no JSON: it says which field, and asks nobody", async () => {
		await shown.page.click("summary");
		await shown.page.fill("#draft-tools", "{}");
		await send(shown);
		await shown.page.waitForSelector("form [role=alert]:has-text('Tools must be an array')");
		await shown.page.fill("#draft-tools", "[");
		await send(shown);
		await shown.page.waitForSelector("form [role=alert]:has-text('Tools: this is no JSON')");
		expect(shown.said).toEqual([]);
	}, 60_000);
});

describe.each(VIEWS)("$theme, $width wide", (view) => {
	let shown: OpenConsole;
	beforeAll(async () => {
		shown = await open(view);
	}, 60_000);
	afterAll(() => shown.close());

	test("two models answer side by side, with who answered, times, tokens and cost; text stays text", async () => {
		const { page } = shown;
		await page.fill("#caller-key", CALLER);
		await type(shown, "priced/m", "dummy");
		await page.fill("#draft-system", "Be polite.");
		await page.setInputFiles("#draft-images", { name: "dot.png", mimeType: "image/png", buffer: PIXEL });
		await page.waitForSelector("img.thumb");
		await send(shown);
		await page.waitForSelector(".reply:has-text('weather')");
		await page.waitForSelector(".reply:has-text('Hello world')");
		await sent(shown);
		const left = (await page.locator(".reply").first().textContent())!;
		const parts = [
			"<b>Good</b> day",
			'weather({"in":"Bern"})',
			"by priced",
			"first token after",
			"1,000 tokens in, 10 out",
			"$0.11",
		];
		for (const part of parts) expect(left).toContain(part);
		const { messages } = asked.at(-1)!;
		expect(messages[0]).toEqual({ role: "system", content: "Be polite." });
		expect(messages[1].content[1].image_url.url).toBe(`data:image/png;base64,${PIXEL.toString("base64")}`);
		await shown.check("playground");
		shown.askedNobodyElse();
	}, 60_000);

	test("the key is in nothing that outlives the page, nor in the code", async () => {
		const { page } = shown;
		for (const language of ["curl", "Python", "TypeScript"]) {
			await page.getByRole("button", { name: language, exact: true }).click();
			expect(await page.textContent("pre")).toContain("ROUTER_API_KEY");
		}
		const kept =
			"JSON.stringify([{ ...localStorage }, { ...sessionStorage }, location.href, document.body.textContent])";
		expect(await page.evaluate(kept)).not.toContain(CALLER);
		await shown.show("", "Now");
		await shown.show("playground", "Playground");
		expect(await page.inputValue("#caller-key")).toBe("");
	}, 60_000);
});

test("stopping ends the call at its upstream, and keeps what had come", async () => {
	const shown = await open();
	try {
		await shown.page.fill("#caller-key", CALLER);
		await type(shown, "priced/endless");
		await send(shown);
		await shown.page.waitForSelector(".reply:has-text('Good')");
		await shown.page.getByRole("button", { name: "Stop", exact: true }).click();
		await shown.page.waitForSelector(".reply [role=alert]:has-text('Stopped.')");
		expect(await shown.page.textContent(".reply")).toContain("Good");
		await until(() => isGone, "the upstream hears of it");
	} finally {
		await shown.close();
	}
}, 60_000);

test("a stream of which no more is read is given up, so that its call ends", async () => {
	let isCancelled = false;
	const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
		start: (controller) => controller.enqueue(new TextEncoder().encode(": one\ndata: null-x\n\n")),
		cancel() {
			isCancelled = true;
		},
	});
	const read = async () => {
		for await (const { data } of eventsAndComments(body)) if (data !== undefined) JSON.parse(data);
	};
	await expect(read()).rejects.toThrow(SyntaxError);
	expect(isCancelled).toBe(true);
});

test("an answer that is not streamed shows the same", async () => {
	const shown = await open();
	try {
		await shown.page.fill("#caller-key", CALLER);
		await type(shown, "dummy");
		await shown.page.getByLabel("Stream the answer").uncheck();
		await send(shown);
		await shown.page.waitForSelector(".reply:has-text('Hello world'):has-text('by dummy'):has-text('2 out')");
	} finally {
		await shown.close();
	}
}, 60_000);

describe("the call as code", () => {
	const body = {
		model: "m",
		messages: [{ role: "user", content: 'it\'s "so"\n' }],
		stream: true,
		top_k: 4,
		logprobs: null,
	};

	test("quotes what a shell would take apart", () => {
		const code = callCode("curl", "http://localhost:8000/v1", body);
		const given = Bun.spawnSync(["sh", "-c", code.replace(/^curl/, "printf '%s\\n'")], {
			env: { ROUTER_API_KEY: "k" },
		});
		const text = given.stdout.toString();
		expect(JSON.parse(text.slice(text.indexOf("{")))).toEqual(body);
		expect(text).toContain("Authorization: Bearer k\n");
	});

	test("is Python, whose library takes by name what it knows", () => {
		const code = callCode("Python", "http://localhost:8000/v1", body);
		expect(code).toContain("stream=True,");
		expect(code).toContain('extra_body={\n        "top_k": 4,\n        "logprobs": None,\n    },');
	});

	test("is TypeScript that can be read as such", () => {
		const code = callCode("TypeScript", "http://localhost:8000/v1", body);
		expect(new Bun.Transpiler({ loader: "ts" }).scanImports(code).map(({ path }) => path)).toEqual(["openai"]);
	});

	test.each(["curl", "Python", "TypeScript"] as const)("has no picture in it: %s", (language) => {
		const url = `data:image/png;base64,${"A".repeat(100)}`;
		const code = callCode(language, "http://localhost:8000/v1", {
			model: "m",
			messages: [{ content: [{ image_url: { url } }] }],
		});
		expect(code).toContain("data:image/png;base64,IMAGE");
		expect(code).not.toContain("AAAA");
	});
});
