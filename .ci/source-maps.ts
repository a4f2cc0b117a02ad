/** Source maps as an executable holds them: small. */
import { decode, encode } from "@jridgewell/sourcemap-codec";
import type { SourceMaps } from "../src/source-maps.ts";

/** A map as `bun build` writes it. */
interface WrittenMap {
	readonly sources: readonly string[];
	readonly mappings: string;
}

/** A script's map with nothing but where a line of the source begins: no text of the source, no names, no columns. */
export function smallMap({ sources, mappings }: WrittenMap): SourceMaps[string] {
	const small = decode(mappings).map((segments) => {
		let known = "";
		return segments.flatMap(([column, source, line]): ([number] | [number, number, number, number])[] => {
			const position = `${source}:${line}`;
			if (position === known) return [];
			known = position;
			return [source === undefined || line === undefined ? [column] : [column, source, line, 0]];
		});
	});
	return { sources, mappings: encode(small) };
}
