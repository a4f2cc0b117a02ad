/** Which methods a path answers to: tells a wrong method (405) from an unknown path (404), which Elysia does not. */

/** A route as Elysia keeps it: `/v1/models/:id`, `/v1/models/*`. */
export interface HttpRoute {
	readonly method: string;
	readonly path: string;
}

/**
 * The methods of the routes that match `path`, sorted, or none. GET brings HEAD with it, as Bun serves it.
 * @param path as the client sent it, without the query; a trailing slash is overlooked, as Elysia does
 */
export function methodsAt(path: string, routes: readonly HttpRoute[]): string[] {
	const wanted = segments(path);
	const methods = new Set<string>();
	for (const route of routes) if (matches(segments(route.path), wanted)) methods.add(route.method);
	if (methods.has("GET")) methods.add("HEAD");
	return [...methods].sort();
}

function segments(path: string): string[] {
	return path.replace(/^\/|\/$/g, "").split("/");
}

function matches(pattern: string[], wanted: string[]): boolean {
	const open = pattern.at(-1) === "*";
	if (open ? wanted.length < pattern.length : wanted.length !== pattern.length) return false;
	return pattern.every((part, at) => part === "*" || part.startsWith(":") || part === wanted[at]);
}
