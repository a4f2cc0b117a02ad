/**
 * The table of vendors' list prices, by @pydantic/genai-prices. It is asked once a day for each model, and is a sixth of the objects that each thread has
 * and each full garbage collection looks at: so it is there while it is asked, and for a moment after.
 */
import { readFileSync } from "node:fs";
import type * as GenaiPrices from "@pydantic/genai-prices";
// Its own file, which the package does not export: it is a single one that imports nothing, table and code.
import * as file from "../../../node_modules/@pydantic/genai-prices/dist/index.cjs" with { type: "file" };

/** How long it stays after it was asked, ms. To make it anew takes some 20 ms. */
const KEPT_MS = 10_000;

const path = (file as unknown as { readonly default: string }).default;

let table: typeof GenaiPrices | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;

/** What the package exports. To be used at once, and not to be kept. */
export function listPrices(): typeof GenaiPrices {
	table ??= made();
	clearTimeout(timer);
	timer = setTimeout(forget, KEPT_MS);
	timer.unref();
	return table;
}

/** Lets go of it. Tests do it at once. */
export function forget(): void {
	clearTimeout(timer);
	table = undefined;
}

/** Runs the package's file as a function, as loaders of CommonJS do: what a loader has run it keeps for as long as the thread lives. */
function made(): typeof GenaiPrices {
	const module = { exports: {} };
	new Function("module", "exports", readFileSync(path, "utf8"))(module, module.exports);
	return module.exports as typeof GenaiPrices;
}
