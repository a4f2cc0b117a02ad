/** How far a pull is, from what docker and podman print without a terminal. */
import { expect, test } from "bun:test";
import { pullProgress } from "../src/agent/docker/docker-output.ts";

const after = (lines: string[]) => lines.map(pullProgress()).at(-1);

test("docker: layers that are there, fetched, and unpacked", () => {
	const lines = [
		"v0.30.0: Pulling from vllm/vllm-openai",
		"a3ed95caeb02: Already exists",
		"0f3c95caeb02: Pulling fs layer",
		"1f3c95caeb02: Pulling fs layer",
		"2f3c95caeb02: Waiting",
	];
	expect(after(lines.slice(0, 1))).toBeUndefined();
	expect(after(lines)).toBe(25);
	const more = [...lines, "0f3c95caeb02: Verifying Checksum", "0f3c95caeb02: Download complete"];
	expect(after(more)).toBe(45);
	const most = [...more, "0f3c95caeb02: Pull complete", "1f3c95caeb02: Pull complete", "2f3c95caeb02: Pull complete"];
	expect(after(most)).toBe(100);
	expect(after([...most, "Digest: sha256:0f3c", "Status: Downloaded newer image for vllm/vllm-openai:v0.30.0"])).toBe(
		100,
	);
});

test("never goes back by a line of a layer that is further", () => {
	const lines = ["0f3c95caeb02: Download complete", "0f3c95caeb02: Extracting"];
	expect(after(lines)).toBe(80);
	expect(after([...lines, "0f3c95caeb02: Pull complete", "0f3c95caeb02: Downloading"])).toBe(100);
});

test("podman names blobs, and is through when it comes to the configuration", () => {
	const blob = (start: string) => `Copying blob sha256:${start}${"0".repeat(64 - start.length)}`;
	const lines = [
		"Trying to pull docker.io/vllm/vllm-openai:v0.30.0...",
		"Getting image source signatures",
		blob("97f5c0f51d43"),
		blob("417c4bccf534"),
	];
	expect(after(lines)).toBe(0);
	expect(after([...lines, "Copying blob 97f5c0f51d43 skipped: already exists  "])).toBe(50);
	expect(after([...lines, `Copying config sha256:${"a".repeat(64)}`])).toBe(100);
});
