/** Reports of prefix caches on an agent's link: to routers that take them, again where they were not heard, to no others. */
import { afterEach, expect, test } from "bun:test";
import { Notify } from "../src/agent/notify.ts";
import { startLink } from "../src/agent/router-link/router-link.ts";
import { httpTransport } from "../src/proxy/net/transport.ts";
import { type FakeRouter, type Heard, refusal, startFakeRouter, TAKEN } from "./kit/fake-router.ts";
import { until } from "./kit/until.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
	for (const end of ends.splice(0).reverse()) await end();
});

const TAKES = { ...TAKEN, heartbeat_ms: 60_000, prefix_blocks: 256 };
const prefixesOf = (heard: Heard) => (heard.path === "/heartbeat" ? heard.body.prefixes : undefined);
const versions = ({ heard }: FakeRouter) =>
	heard.flatMap((each) => prefixesOf(each)?.map(({ version, since }) => [version, since ?? 0]) ?? []);

/** A link to a fake router, and a source of reports that has news when it is told so. */
function linked(answer: (heard: Heard) => Response | undefined) {
	const router = startFakeRouter();
	ends.push(() => router.stop());
	router.answer(answer);
	const changes = new Notify();
	const unheard: (readonly string[] | undefined)[] = [];
	let version = 0;
	let since: number | undefined;
	const prefixes = {
		isTaken: false,
		hasNews: true,
		take() {
			this.hasNews = false;
			const report = { model: "m", replica: 0, version: ++version, ...(since !== undefined && { since }) };
			since = version;
			return [report];
		},
		unheard(keys?: readonly string[]) {
			unheard.push(keys);
			since = undefined;
			this.hasNews = true;
		},
	};
	const logger = { info: () => undefined, warn: () => undefined, error: () => undefined };
	const link = startLink({
		router: router.url,
		name: "gpu-1",
		port: 5000,
		transport: httpTransport({}),
		report: () => ({ models: ["m"] }),
		onSecret: () => undefined,
		log: { logger } as never,
		prefixes,
		changes,
	});
	ends.push(() => link.stop());
	return { router, prefixes, unheard, changes, link };
}

test("a router that takes none is told none, and nobody is notified", async () => {
	const { router, prefixes, link } = linked((heard) => (heard.path === "/register" ? Response.json(TAKEN) : undefined));
	await router.hears((heard) => heard.path === "/heartbeat");
	expect([link.state.state, prefixes.isTaken]).toEqual(["joined", false]);
	expect(router.heard.some((heard) => "prefixes" in heard.body)).toBe(false);
});

test("nor is one that cuts prompts otherwise", async () => {
	const other = { ...TAKEN, prefix_blocks: 512 };
	const { router, prefixes } = linked((heard) => (heard.path === "/register" ? Response.json(other) : undefined));
	await router.hears((heard) => heard.path === "/heartbeat");
	expect([prefixes.isTaken, router.heard.some((heard) => "prefixes" in heard.body)]).toEqual([false, false]);
});

test("one that takes them is told all when it has taken the agent in, and what has changed with the next heartbeat", async () => {
	const { router, changes } = linked((heard) => (heard.path === "/register" ? Response.json(TAKES) : undefined));
	await router.hears((heard) => prefixesOf(heard) !== undefined);
	changes.notify();
	await until(() => versions(router).length >= 2, "a change");
	expect(versions(router).slice(0, 2)).toEqual([
		[1, 0],
		[2, 1],
	]);
});

test("one that lacks something is told that at once, and one that did not answer is told all", async () => {
	let answers = 0;
	const { router, changes, unheard } = linked((heard) => {
		if (heard.path === "/register") return Response.json(TAKES);
		answers++;
		if (answers === 1) return Response.json({ resend: ["m#0"] });
		return answers === 3 ? refusal(503, "unavailable") : undefined;
	});
	await until(() => versions(router).length >= 2, "all of it");
	expect(unheard).toEqual([undefined, ["m#0"]]);
	changes.notify();
	await until(() => versions(router).length >= 4, "what was not heard");
	expect(versions(router).slice(0, 4)).toEqual([
		[1, 0],
		[2, 0],
		[3, 2],
		[4, 0],
	]);
});
