/** How much of a model's weights lies in the Hugging Face cache: vLLM logs nothing while it downloads them. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

/** Bytes in the cache's folder of a Hub model, unfinished files included; 0 where there is none, or none that may be read. */
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
