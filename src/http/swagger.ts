/** `/swagger/json`, the API's description made from the routes themselves, and `/swagger`, the page that shows it. */
import { swagger as elysiaSwagger } from "@elysiajs/swagger";
import { Elysia, type InternalRoute } from "elysia";
import { finishDocument } from "./openapi.ts";
import { swaggerPage } from "./swagger-page.ts";

const SPEC = "/swagger/json";

/** The document's `info`. */
export interface ApiInfo {
	readonly title: string;
	readonly version: string;
	readonly description: string;
}

/**
 * Both routes. The document is made at its first reading, 10 ms, and again when routes were added.
 * @param routes the server's routes at the time of the call
 */
export function swagger(info: ApiInfo, routes: () => InternalRoute[]) {
	let made: { text: string; routes: number } | undefined;
	const document = async () => {
		const count = routes().length;
		if (made?.routes !== count) made = { text: JSON.stringify(await generate(info, routes())), routes: count };
		return new Response(made.text, { headers: { "content-type": "application/json", "cache-control": "no-cache" } });
	};
	return new Elysia({ name: "http/swagger" })
		.get(SPEC, document, { detail: { hide: true } })
		.use(swaggerPage(info.title, SPEC));
}

/**
 * @elysiajs/swagger as a generator: never mounted, because its page loads scripts from a CDN (runtime traps). It asks
 * its own instance for the server's routes, so that instance is told them.
 */
async function generate(info: ApiInfo, routes: InternalRoute[]): Promise<Record<string, unknown>> {
	const generator = elysiaSwagger({ documentation: { info: { ...info } }, excludeStaticFile: false });
	Object.assign(generator, { getGlobalRoutes: () => routes.map(named) });
	const response = await generator.handle(new Request(`http://localhost${SPEC}`));
	return finishDocument((await response.json()) as Record<string, unknown>);
}

/** The plugin leaves out paths with a `*`: one that has a name (`wildcard` in docs.ts) becomes a parameter. */
function named(route: InternalRoute): InternalRoute {
	const name = route.hooks.detail?.["x-wildcard"];
	return typeof name === "string" ? { ...route, path: route.path.replace(/\*$/, `:${name}`) } : route;
}
