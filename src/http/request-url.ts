/** URLs of requests. Bun has them as they came: a path alone where a client names no Host (HTTP/1.0), and text that is no URL where it names an odd one. */

/** Stands for a host that nobody looks at. */
const ANY_ORIGIN = "http://localhost";
const ORIGIN = /^[a-z]+:\/\/[^/?#]*/i;

/** The URL of a request as text that `URL` takes, its path and query as they came. */
export function wholeUrl(url: string): string {
	if (URL.canParse(url)) return url;
	const path = url.replace(ORIGIN, "");
	return ANY_ORIGIN + (path.startsWith("/") ? path : `/${path}`);
}

/** The same, parsed. Never throws. */
export const urlOf = ({ url }: Pick<Request, "url">): URL => new URL(wholeUrl(url));

/** A part of a path as its client meant it: Elysia decodes `:name`, and leaves `*` as it came. What is wrongly encoded stays as it is. */
export function decodedPart(part: string): string {
	try {
		return decodeURIComponent(part);
	} catch {
		return part;
	}
}
