/** Files of pages that the executable holds compressed, and answers that send them: as they are to who takes gzip, unpacked to who does not. */
import { promisify } from "node:util";
import { gunzip } from "node:zlib";

const unpack = promisify(gunzip);

/**
 * The executable's files whose names fit, by the pattern's first group; none where the router runs from source.
 * `bun build` puts a hash of what is in a file before its extension: `name.js-5e6f7a8b.gz`.
 */
export function embeddedFiles(pattern: RegExp): ReadonlyMap<string, Blob> {
	const named = Bun.embeddedFiles.flatMap((blob) => {
		const [, name] = pattern.exec((blob as File).name) ?? [];
		return name === undefined ? [] : [[name, blob] as const];
	});
	return new Map(named);
}

/** An answer to `request` with what `gzip` holds. */
export async function compressedAnswer(
	request: Request,
	gzip: Uint8Array<ArrayBuffer>,
	headers: Readonly<Record<string, string>>,
): Promise<Response> {
	const known = { ...headers, vary: "accept-encoding" };
	return takesGzip(request.headers)
		? new Response(gzip, { headers: { ...known, "content-encoding": "gzip" } })
		: new Response(await unpack(gzip), { headers: known });
}

const takesGzip = (headers: Headers): boolean =>
	/\bgzip\b(?!;\s*q=0(?:\.0*)?(?:,|$))/.test(headers.get("accept-encoding") ?? "");
