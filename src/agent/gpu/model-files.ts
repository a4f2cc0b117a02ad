/** The files of a model on this host: in the Hugging Face cache, or in a directory of their own. */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";

/** A model's files, as far as they are known. */
export interface ModelFiles {
	/** Name → bytes of all that belong to it; NaN where the size is not known. */
	readonly files: Readonly<Record<string, number>>;
	/** The same of those on this host. */
	readonly present: Readonly<Record<string, number>>;
	/** Its config.json. */
	readonly config?: Record<string, unknown>;
	/** Bytes of all tensors, by the index of the safetensors. */
	readonly indexed?: number;
}

/** The files of `model` on this host; undefined where there are none. Never rejects: a file that can't be read does not count. */
export async function cachedFiles(model: string, cacheDir: string, revision = "main"): Promise<ModelFiles | undefined> {
	if (revision.includes("..")) return undefined;
	const folder = model.startsWith("/") ? model : await snapshot(model.split(":")[0]!, cacheDir, revision);
	const names = folder && (await readdir(folder).catch(() => undefined));
	if (!names || names.length === 0) return undefined;
	const present: Record<string, number> = {};
	await Promise.all(
		names.map(async (name) => {
			// Follows the links to blobs; one without its blob is not there yet.
			const found = await stat(join(folder, name)).catch(() => undefined);
			if (found?.isFile()) present[name] = found.size;
		}),
	);
	const config = await json(join(folder, "config.json"));
	const index = await json(join(folder, "model.safetensors.index.json"));
	const indexed = Number((index?.["metadata"] as { total_size?: unknown } | undefined)?.total_size);
	return { files: present, present, ...(config && { config }), ...(indexed > 0 && { indexed }) };
}

/** `hub/models--Qwen--Qwen3-8B/snapshots/<commit>`, of the commit that the revision names. */
async function snapshot(model: string, cacheDir: string, revision: string): Promise<string> {
	const repository = join(cacheDir, "hub", `models--${model.replaceAll("/", "--")}`);
	const commit = await readFile(join(repository, "refs", revision), "utf8").catch(() => revision);
	return join(repository, "snapshots", commit.trim());
}

async function json(file: string): Promise<Record<string, unknown> | undefined> {
	try {
		const value: unknown = JSON.parse(await readFile(file, "utf8"));
		return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
	} catch {
		return undefined;
	}
}

/**
 * Bytes in the cache's folder of a Hub model, unfinished files included; 0 where there is none, or none that may be read. The progress
 * of a download: vLLM logs nothing meanwhile.
 */
export async function cachedBytes(cacheDir: string, model: string): Promise<number> {
	const blobs = join(cacheDir, "hub", `models--${model.replace(/:.*$/, "").replaceAll("/", "--")}`, "blobs");
	try {
		const sizes = await Promise.all((await readdir(blobs)).map((name) => sizeOf(join(blobs, name))));
		return sizes.reduce((sum, size) => sum + size, 0);
	} catch {
		return 0;
	}
}

/** 0 for a file that was just renamed. */
async function sizeOf(file: string): Promise<number> {
	try {
		return (await stat(file)).size;
	} catch {
		return 0;
	}
}
