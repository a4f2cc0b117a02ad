/** A registry that has the sim's image, for `docker pull`: at a chosen pace, or stuck, or with no such image. */
import { createHash } from "node:crypto";
import { SIM_IMAGE, simRoot } from "./vllm-sim-binary.ts";

const MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
const CHUNK = 256 * 1024;

/** The registry. */
export interface Registry {
	/** `127.0.0.1:<port>`: Docker speaks plain HTTP with that address. `${host}/vllm/vllm-openai:v1` is an image. */
	readonly host: string;
	/** For the engine's `mirror`: then `vllm/vllm-openai:v1` is one, too. */
	readonly origin: string;
	/** `GET /v2/vllm/vllm-openai/manifests/v1`, as they came. */
	readonly received: readonly string[];
	/** Bytes a second of each layer from now on; 0 sends no more, infinity doesn't wait. */
	pace(bytesPerSecond: number): void;
	/** Images of other names than these are unknown from now on. Default: every name is the sim. */
	only(...names: readonly string[]): void;
	stop(): Promise<void>;
	[Symbol.asyncDispose](): Promise<void>;
}

interface Blob {
	readonly digest: string;
	readonly bytes: Uint8Array;
}

/** Starts one. Two layers: libraries, and the executable. */
export async function startRegistry(): Promise<Registry> {
	const layers = await Promise.all([tar("--exclude=./usr/local/bin/vllm", "."), tar("./usr/local/bin/vllm")]);
	const config = blob(
		Buffer.from(
			JSON.stringify({
				architecture: process.arch === "arm64" ? "arm64" : "amd64",
				os: "linux",
				created: "2026-01-01T00:00:00Z",
				config: SIM_IMAGE,
				rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) },
				history: layers.map(() => ({ created: "2026-01-01T00:00:00Z", created_by: "test/kit/registry.ts" })),
			}),
		),
	);
	const manifest = blob(
		Buffer.from(
			JSON.stringify({
				schemaVersion: 2,
				mediaType: MANIFEST,
				config: describe(config, "application/vnd.docker.container.image.v1+json"),
				layers: layers.map((layer) => describe(layer, "application/vnd.docker.image.rootfs.diff.tar")),
			}),
		),
	);
	const received: string[] = [];
	let pace = Number.POSITIVE_INFINITY;
	let names: readonly string[] | undefined;
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		idleTimeout: 0,
		fetch(request) {
			const { pathname } = new URL(request.url);
			received.push(`${request.method} ${pathname}`);
			if (pathname === "/v2/") return Response.json({});
			const [, name, kind, reference] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(pathname) ?? [];
			if (!name || (names && !names.includes(name)))
				return refuse("NAME_UNKNOWN", "repository name not known to registry");
			if (kind === "manifests") {
				if (reference!.startsWith("sha256:") && reference !== manifest.digest) {
					return refuse("MANIFEST_UNKNOWN", "manifest unknown");
				}
				return answer(request, manifest, MANIFEST);
			}
			const found = [config, ...layers].find(({ digest }) => digest === reference);
			if (!found) return refuse("BLOB_UNKNOWN", "blob unknown to registry");
			return answer(request, found, "application/octet-stream", () => pace);
		},
	});
	const stop = () => server.stop(true);
	return {
		host: `127.0.0.1:${server.port}`,
		origin: `http://127.0.0.1:${server.port}`,
		received,
		pace: (bytesPerSecond) => {
			pace = bytesPerSecond;
		},
		only: (...allowed) => {
			names = allowed;
		},
		stop,
		[Symbol.asyncDispose]: stop,
	};
}

function answer(request: Request, { bytes, digest }: Blob, type: string, pace?: () => number): Response {
	const headers = { "content-type": type, "content-length": String(bytes.length), "docker-content-digest": digest };
	if (request.method === "HEAD") return new Response(null, { headers });
	let at = 0;
	const body = new ReadableStream<Uint8Array>({
		async pull(controller) {
			while (pace?.() === 0 && !request.signal.aborted) await Bun.sleep(20);
			const next = bytes.subarray(at, at + CHUNK);
			at += next.length;
			const rate = pace?.() ?? Number.POSITIVE_INFINITY;
			if (Number.isFinite(rate) && rate > 0) await Bun.sleep((next.length / rate) * 1000);
			controller.enqueue(next);
			if (at >= bytes.length) controller.close();
		},
	});
	return new Response(body, { headers });
}

const refuse = (code: string, message: string) =>
	Response.json({ errors: [{ code, message, detail: null }] }, { status: 404 });

const describe = ({ digest, bytes }: Blob, mediaType: string) => ({ mediaType, size: bytes.length, digest });

const blob = (bytes: Uint8Array): Blob => ({
	bytes,
	digest: `sha256:${createHash("sha256").update(bytes).digest("hex")}`,
});

/** The same bytes on every run: the digests are the image's name. */
async function tar(...args: readonly string[]): Promise<Blob> {
	const fixed = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
	const child = Bun.spawn(["tar", "-C", await simRoot(), ...fixed, "-c", ...args], { stdout: "pipe" });
	return blob(new Uint8Array(await new Response(child.stdout).arrayBuffer()));
}
