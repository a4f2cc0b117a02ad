/** What is known of each model's files: asked once, and again where the answer may change. */
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import type { ModelSource } from "./model-size.ts";
import { type ModelInfo, modelInfo } from "./model-size.ts";
import type { ModelSpec } from "./spec.ts";
import { flagsOf } from "./vllm-args.ts";

/** When an answer that says no, or nothing, is asked for again, ms. */
const AGAIN_MS = 60_000;

interface Known {
	info: ModelInfo | undefined;
	askedAt: number;
	isAsking: boolean;
}

/** The infos of all models of this host. */
export class ModelInfos {
	readonly #known = new Map<string, Known>();
	/** Free bytes where the cache lies; undefined where that can't be told. */
	freeDisk: number | undefined;

	constructor(
		private readonly source: ModelSource,
		private readonly onNews: () => void,
	) {}

	/**
	 * What is known now; undefined while it is being looked up for the first time. An answer that says no, or nothing, is asked
	 * for again where the model is to be started.
	 */
	of(spec: ModelSpec, isToStart: boolean): ModelInfo | undefined {
		const revision = flagsOf(spec.args ?? []).get("--revision");
		const key = `${spec.model}@${revision ?? ""}`;
		let known = this.#known.get(key);
		if (!known) {
			known = { info: undefined, askedAt: 0, isAsking: false };
			this.#known.set(key, known);
		}
		const isGood = known.info?.size !== undefined && !known.info.refused;
		const isDue = known.askedAt === 0 || (isToStart && !isGood && Date.now() - known.askedAt >= AGAIN_MS);
		if (isDue && !known.isAsking) void this.#ask(spec.model, revision, known);
		return known.info;
	}

	async #ask(model: string, revision: string | undefined, known: Known): Promise<void> {
		known.isAsking = true;
		this.freeDisk = await freeBytes(this.source.cacheDir);
		known.info = await modelInfo(model, { ...this.source, ...(revision && { revision }) });
		known.askedAt = Date.now();
		known.isAsking = false;
		this.onNews();
	}
}

/** Of the directory, or of the nearest one above it that exists. */
async function freeBytes(directory: string): Promise<number | undefined> {
	try {
		const { bavail, bsize } = await statfs(directory);
		return bavail * bsize;
	} catch {
		const above = dirname(directory);
		return above === directory ? undefined : freeBytes(above);
	}
}
