/** What a client is told beside a whole answer: of its own call, whoever was answered before from the same target. */
import { expect, test } from "bun:test";
import type { Dialect } from "../src/dialects/dialect.ts";
import type { Target } from "../src/providers/provider.ts";
import { CallRecord } from "../src/proxy/call-record.ts";
import { streamHeaders, wholeAnswer } from "../src/proxy/response-headers.ts";
import type { StartedAnswer } from "../src/proxy/started-answer.ts";

const sink = { callStarted: () => {}, attemptClosed: () => {}, callSettled: () => {} };
const target = { id: "box/m", model: "m", provider: { name: "box", secret: "hush-hush" } } as unknown as Target;

let count = 0;
function told(of: Partial<CallRecord>, upstream: Record<string, string> = {}, to = target): Record<string, string> {
	const record = new CallRecord(`req_${++count}`, "chat", performance.now(), [sink]);
	Object.assign(record, { attempts: 1, ...of });
	const opened = { target: to, head: new Response("", { headers: upstream }) } as unknown as StartedAnswer;
	const headers = Object.fromEntries(wholeAnswer("{}", opened, record).headers);
	delete headers["x-router-overhead-ms"];
	return headers;
}
const common = { "content-type": "application/json", "x-router-provider": "box", "x-router-model": "m" };
const limits = (requests: string, remaining: string) => ({
	"x-ratelimit-limit-requests": requests,
	"x-ratelimit-remaining-requests": remaining,
});

test("limits, cost, attempts and what the cache did are the call's own", () => {
	const plain = { ...common, "x-router-attempts": "1" };
	expect(told({})).toEqual({ ...plain, "x-request-id": "req_1" });
	const mine = limits("50", "49");
	expect(told({ headers: mine, costUsd: 1e-7, cache: "miss" })).toEqual({
		...plain,
		...mine,
		"x-request-id": "req_2",
		"x-router-cost-usd": "0.0000001",
		"x-router-cache": "miss",
	});
	const others = limits("60", "59");
	expect(told({ headers: others, cache: "miss" })).toEqual({
		...{ ...plain, ...others, "x-request-id": "req_3", "x-router-cache": "miss" },
	});
	expect(told({ attempts: 2, cache: "bypass" })).toEqual({
		...{ ...plain, "x-request-id": "req_4", "x-router-attempts": "2", "x-router-cache": "bypass" },
	});
	expect(told({})).toEqual({ ...plain, "x-request-id": "req_5" });
});

test("the upstream's limits are told where the caller has none of its own; its secrets never", () => {
	const upstream = { ...limits("9000", "8999"), "x-vendor": "v", "x-echo": "hush-hush", "content-type": "text/plain" };
	expect(told({}, upstream)).toMatchObject({ ...common, ...limits("9000", "8999"), "x-vendor": "v" });
	const { "x-echo": echo, ...mine } = told({ headers: limits("50", "49") }, upstream);
	expect(mine).toMatchObject({ ...common, ...limits("50", "49"), "x-vendor": "v" });
	expect([echo, told({})["x-vendor"]]).toEqual([undefined, undefined]);
});

test("a replica is named as its agent says, and as nobody else does", () => {
	const agent = { ...target, agent: "gpu-1", provider: { ...target.provider, namesReplica: true } } as Target;
	const says = { "x-router-replica": "1" };
	expect(told({}, says, agent)["x-router-replica"]).toBe("1");
	expect(told({}, {}, agent)["x-router-replica"]).toBeUndefined();
	expect(told({}, says)["x-router-replica"]).toBeUndefined();
	const opened = { target: agent, head: new Response("", { headers: says }) } as unknown as StartedAnswer;
	const record = new CallRecord("req_0", "chat", performance.now(), [sink]);
	const dialect = { streamContentType: "text/event-stream" } as Dialect;
	expect(streamHeaders(opened, record, dialect)["x-router-replica"]).toBe("1");
	expect(streamHeaders({ ...opened, target }, record, dialect)["x-router-replica"]).toBeUndefined();
});

test("an agent is named", () => {
	expect(told({}, {}, { ...target, agent: "gpu-1" })["x-router-agent"]).toBe("gpu-1");
});
