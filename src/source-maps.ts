/**
 * Where errors of an executable come from. Its source maps are a file of its own (`.ci/build.ts`), not those of `bun build --sourcemap`, which hold the source
 * once more and are 4 MB: they say where each line begins, and are read once there is an error to tell of.
 */
import { readFileSync } from "node:fs";
import type { SourceMap } from "node:module";
import { gunzipSync } from "node:zlib";

/** Maps of an executable's scripts (version 3) by their file names: of lines alone, without the text of the source. */
export type SourceMaps = Readonly<Record<string, { readonly sources: readonly string[]; readonly mappings: string }>>;

/** `bun build` puts a hash of what is in the file before its extension. */
const MAPS = /^source-maps-[0-9a-z]+\.gz$/;
/** A position in a script of the executable: `/$bunfs/root/main-5e6f7a8b.js:1:234`, on Windows `B:\~BUN\root\main-5e6f7a8b.js:1:234`. */
const POSITION =
	/(?:file:\/{2})?(?:\/?[A-Z]:)?[\\/](?:\$bunfs|~BUN)[\\/]root[\\/](?:[^\s():]*[\\/])?([^\s():\\/]+):(\d+):(\d+)/g;

let maps: SourceMaps | undefined;
const used = new Map<string, SourceMap>();

/**
 * A stack (`error.stack`, or lines of one) with positions as the repository has them: `src/proxy/relay.ts:123`. Columns are left out. From source, and where
 * there is no map, it stays as it is.
 */
export function inSource(stack: string): string {
	if (!Bun.isStandaloneExecutable) return stack;
	maps ??= embeddedMaps();
	return withPositions(stack, maps, used);
}

/** The same by maps that are given; `used` keeps those that were read. */
export function withPositions(stack: string, maps: SourceMaps, used = new Map<string, SourceMap>()): string {
	return stack.replace(POSITION, (position, script: string, line: string, column: string) => {
		const found = mapOf(script, maps, used)?.findEntry(Number(line) - 1, Number(column) - 1);
		return found && "originalSource" in found ? `${found.originalSource}:${found.originalLine + 1}` : position;
	});
}

function mapOf(script: string, maps: SourceMaps, used: Map<string, SourceMap>): SourceMap | undefined {
	const known = used.get(script);
	const map = maps[script];
	if (known || !map) return known;
	// Not by an import: a start need not wait for it.
	const { SourceMap } = process.getBuiltinModule("node:module");
	const read = new SourceMap({
		version: 3,
		file: script,
		sourceRoot: "",
		sourcesContent: [],
		names: [],
		...map,
		sources: [...map.sources],
	});
	used.set(script, read);
	return read;
}

/** Those of the executable; none where they can't be read: an error is told then with the positions that it has. */
function embeddedMaps(): SourceMaps {
	try {
		const file = Bun.embeddedFiles.find((blob) => MAPS.test((blob as File).name)) as File;
		return JSON.parse(gunzipSync(readFileSync(`${import.meta.dir}/${file.name}`)).toString());
	} catch {
		return {};
	}
}
