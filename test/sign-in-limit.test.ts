/** Wrong keys at the console's sign-in: too many are answered with a 429, and no administrator with the right key is kept out by them. */
import { describe, expect, test } from "bun:test";
import { RouterError } from "../src/errors.ts";
import { SignInLimit } from "../src/server/console/sign-in-limit.ts";
import { startRouter } from "./kit/router.ts";

/** What is thrown, as `code retry-after`. */
function thrownBy(work: () => unknown): string | undefined {
	try {
		work();
		return undefined;
	} catch (thrown) {
		expect(thrown).toBeInstanceOf(RouterError);
		const { errorCode, headers } = thrown as RouterError;
		return [errorCode, headers["retry-after"]].filter((each) => each !== undefined).join(" ");
	}
}

describe("wrong keys", () => {
	test("of one address are taken ten times a minute, and of others as before", () => {
		const clock = { now: 5_000 };
		const limit = new SignInLimit({ time: () => clock.now });
		for (let at = 0; at < 10; at++) expect(thrownBy(() => limit.count("10.0.0.1"))).toBeUndefined();
		clock.now += 20_000;
		expect(thrownBy(() => limit.count("10.0.0.1"))).toBe("rate_limit_exceeded 40");
		expect(thrownBy(() => limit.count("10.0.0.2"))).toBeUndefined();
		clock.now += 40_000;
		expect(thrownBy(() => limit.count("10.0.0.1"))).toBeUndefined();
	});

	test("of all addresses are taken two hundred times a minute, and are told of once, however many addresses there are", () => {
		const told: string[] = [];
		const limit = new SignInLimit({ time: () => 0, onMany: (address) => told.push(address) });
		for (let at = 0; at < 200; at++) limit.count(`10.0.${at}.1`);
		for (let at = 0; at < 50; at++) {
			expect(thrownBy(() => limit.count(`10.9.${at}.9`))).toBe("rate_limit_exceeded 60");
		}
		expect(told).toEqual(["10.9.0.9"]);
	});
});

test.each([1, 2])(
	"that come to /admin of a router with %i worker(s) are 401s, however many, and told once in the log; the right one is taken",
	async (workers) => {
		const config = {
			server: { workers, trusted_proxies: ["127.0.0.1"] },
			admin: { keys: [{ name: "ops", key: "the-right-one" }] },
		};
		const router = await startRouter({ config });
		try {
			const statusOf = async (key: string, address: string) => {
				const headers = { authorization: `Bearer ${key}`, "x-forwarded-for": address };
				return (await fetch(`${router.url}/admin/keys`, { headers })).status;
			};
			expect(await statusOf("wrong", "203.0.113.1")).toBe(401);
			for (let at = 0; at < 15; at++) expect(await statusOf(`wrong-${at}`, "203.0.113.7")).toBe(401);
			expect(await statusOf("the-right-one", "203.0.113.7")).toBe(200);
			const line = /too many wrong keys came to \/admin/;
			await router.printed(line);
			const told = router
				.output()
				.split("\n")
				.filter((text) => line.test(text));
			expect(told).toHaveLength(1);
			expect(told[0]).toContain("203.0.113.7");
			expect(told[0]).not.toContain("wrong-");
		} finally {
			await router.stop();
		}
	},
);

test.each([1, 2])(
	"at the sign-in of a router with %i worker(s) the right key is taken after any number of wrong ones",
	async (workers) => {
		const config = { server: { workers }, admin: { keys: [{ name: "ops", key: "the-right-one" }] } };
		const router = await startRouter({ config });
		try {
			const signIn = async (key: string) => {
				const headers = { "content-type": "application/json", "sec-fetch-site": "same-origin" };
				const body = JSON.stringify({ key });
				return (await fetch(`${router.url}/console/session`, { method: "POST", headers, body })).status;
			};
			const statuses: number[] = [];
			for (let at = 0; at < 12; at++) statuses.push(await signIn(`wrong-${at}`));
			expect(statuses).toEqual([...Array(10).fill(401), 429, 429]);
			expect(await signIn("the-right-one")).toBe(200);
		} finally {
			await router.stop();
		}
	},
);
