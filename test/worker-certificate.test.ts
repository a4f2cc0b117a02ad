/** The certificate of a router with several workers: one for all, whose files the main thread alone reads. */
import { afterEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { certificate, shownName } from "./kit/certificate.ts";
import { directory } from "./kit/cli.ts";
import { until } from "./kit/until.ts";
import { recordWorkers, startHere, twoWorkers } from "./kit/worker-router.ts";

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

test("a broken file is logged once, and workers that begin meanwhile show what the others show; a new one reaches all, and is logged once", async () => {
	const home = directory();
	stops.push(() => home[Symbol.dispose]());
	const tls = { cert: join(home.path, "cert.pem"), key: join(home.path, "key.pem") };
	const write = ({ cert, key }: { cert: string; key: string }) => {
		writeFileSync(tls.cert, cert);
		writeFileSync(tls.key, key);
	};
	write(certificate("one"));
	using recorded = recordWorkers();
	const router = await startHere(twoWorkers({}, { tls }));
	stops.push(() => router.stop());
	const port = Number(new URL(router.url).port);
	const lines = (text: string) => router.log().split(text).length - 1;
	const shown = () => Promise.all(Array.from({ length: 24 }, () => shownName(port).catch(() => "reset")));
	expect(new Set(await shown())).toEqual(new Set(["one"]));

	write({ ...certificate("two"), cert: "half written" });
	await until(() => lines("holds no PEM certificate. The certificate in use stays.") > 0, "a word of the file");
	recorded.workers[0]!.worker.terminate();
	await until(() => lines("has taken the place") === 1, "another worker");
	expect(new Set(await shown())).toEqual(new Set(["one"]));

	write(certificate("three"));
	await until(async () => (await shown()).every((name) => name === "three"), "the other certificate");
	await until(() => lines("The TLS certificate was replaced.") > 0, "a line of the log");
	recorded.workers[1]!.worker.terminate();
	await until(() => lines("has taken the place") === 2, "another worker");
	expect(new Set(await shown())).toEqual(new Set(["three"]));
	expect([lines("holds no PEM"), lines("The TLS certificate was replaced."), lines("can't start")]).toEqual([1, 1, 0]);
});
