/** What is known of each model's files: looked up once, and again where the answer may change. */
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { steadyTime } from "../../steady-time.ts";
import type { ModelSpec } from "../models/model-spec.ts";
import type { Notifier } from "../notify.ts";
import { flagsOf } from "../vllm/vllm-args.ts";
import type { ModelSource } from "./model-size.ts";
import { type ModelInfo, modelInfo } from "./model-size.ts";

/** Time until an answer that may change is looked up again, ms. */
const RETRY_MS = 60_000;
/** The same of a directory of this host, ms: somebody may be about to make it. */
const LOCAL_RETRY_MS = 2000;

/** A model's size, and the free space for what is still to be downloaded; both of one moment, as a download changes both. */
export interface ModelFacts extends ModelInfo {
	/** Free bytes on the disk of the cache; absent where not known. */
	readonly freeDisk?: number;
}

interface CacheEntry {
	info: ModelFacts | undefined;
	askedAt: number;
	isAsking: boolean;
}

/** The infos of all models of this host. */
export class ModelInfoCache {
	readonly #entries = new Map<string, CacheEntry>();

	/** @param host for tests: a clock, ms, and the free bytes of a directory */
	constructor(
		private readonly source: ModelSource,
		/** Notified when a look-up has ended. */
		private readonly tick: Notifier,
		private readonly host = { now: steadyTime, freeBytes },
	) {}

	/**
	 * What is known now; undefined while it is looked up for the first time. Where the model is to be started, anything but the
	 * size of a model that is wholly in the cache is looked up again after a while.
	 */
	get(spec: ModelSpec, isToStart: boolean): ModelFacts | undefined {
		const revision = flagsOf(spec.args ?? []).get("--revision");
		const key = `${spec.model}@${revision ?? ""}`;
		let known = this.#entries.get(key);
		if (!known) {
			known = { info: undefined, askedAt: 0, isAsking: false };
			this.#entries.set(key, known);
		}
		const isFinal = known.info?.size?.download === 0 && !known.info.refused;
		const isLate = this.host.now() - known.askedAt >= (spec.model.startsWith("/") ? LOCAL_RETRY_MS : RETRY_MS);
		const isDue = known.info === undefined || (isToStart && !isFinal && isLate);
		if (isDue && !known.isAsking) void this.#lookUp(spec.model, revision, known);
		return known.info;
	}

	async #lookUp(model: string, revision: string | undefined, known: CacheEntry): Promise<void> {
		known.isAsking = true;
		const freeDisk = await this.host.freeBytes(this.source.cacheDir);
		const info = await modelInfo(model, { ...this.source, ...(revision && { revision }) });
		// Without an answer of the Hub the last one counts.
		if (info.size || info.refused || !known.info?.size) {
			known.info = { ...info, ...(freeDisk !== undefined && { freeDisk }) };
		}
		known.askedAt = this.host.now();
		known.isAsking = false;
		this.tick.notify();
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
