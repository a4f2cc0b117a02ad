/**
 * A router's worker thread that a test can have hang, by messages that mean nothing to the router: it never comes back from `hang`, and
 * after 24 s from `sleep`, which the system keeps it in.
 */
import "../../src/server/threads/worker-thread.ts";
import { stay } from "./stay.ts";

declare const self: Worker;

self.addEventListener("message", ({ data }: MessageEvent) => {
	if (data === "sleep") Bun.sleepSync(24_000);
	if (data === "hang") stay(60_000);
});
