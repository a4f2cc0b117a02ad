/**
 * `/swagger/json`, the API's description made from the routes themselves, and `/swagger`, the page that shows it: Swagger UI from files
 * inside the binary. The page loads nothing from other hosts and sends nothing to them. All its addresses are relative, and so is the
 * document's server: a proxy may have put the whole API under a path, of which the router sees nothing.
 */
import { Elysia, type InternalRoute } from "elysia";
import favicon from "swagger-ui-dist/favicon-32x32.png" with { type: "file" };
import { version } from "swagger-ui-dist/package.json";
import { compressedAnswer } from "./compressed-files.ts";
import { finishDocument } from "./openapi.ts";
import { pagePolicy } from "./page-policy.ts";
import { urlOf } from "./request-url.ts";
import { type SwaggerFile, swaggerFile } from "./swagger-files.ts";

const SPEC = "/swagger/json";

/** The document's `info`. */
export interface ApiInfo {
	readonly title: string;
	readonly version: string;
	readonly description: string;
}

/**
 * Both routes. The document is made when it is first read, and again when routes were added.
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
 * @elysiajs/swagger as a generator: never mounted, because its page loads scripts from a CDN. It reads
 * the routes of its own instance, so that instance gets the server's.
 */
async function generate(info: ApiInfo, routes: InternalRoute[]): Promise<Record<string, unknown>> {
	// Loaded when it is first asked for: it takes some MB.
	const { swagger: elysiaSwagger } = await import("@elysiajs/swagger");
	const generator = elysiaSwagger({ documentation: { info: { ...info } }, excludeStaticFile: false });
	Object.assign(generator, { getGlobalRoutes: () => routes.map(named) });
	const response = await generator.handle(new Request(`http://localhost${SPEC}`));
	return finishDocument((await response.json()) as Record<string, unknown>);
}

/** The plugin leaves out paths with a `*`: one that has a name (`wildcard` in route-docs.ts) becomes a parameter. */
function named(route: InternalRoute): InternalRoute {
	const name = route.hooks.detail?.["x-wildcard"];
	return typeof name === "string" ? { ...route, path: route.path.replace(/\*$/, `:${name}`) } : route;
}

/** The version is in the path, so browsers may keep the files for ever. */
const BASE = `/swagger/${version}`;
const FOREVER = "public, max-age=31536000, immutable";

/** Swagger UI sets `style` attributes. */
const POLICY = pagePolicy(true);

/**
 * `/swagger` and its files. The files are read at each request (Bun sends them from disk or from the binary), so
 * they do not take memory.
 * @param spec path of the OpenAPI document
 */
function swaggerPage(title: string, spec: string) {
	const page = html(title);
	const script = init(spec);
	return new Elysia({ name: "http/swagger-page" })
		.get("/swagger", ({ request }) => (endsInSlash(request) ? withoutSlash() : show(page)), HIDDEN)
		.get("/swagger/init.js", () => text(script, "text/javascript; charset=utf-8"), HIDDEN)
		.get(`${BASE}/swagger-ui.css`, ({ request }) => file(request, "swagger-ui.css", "text/css"), HIDDEN)
		.get(
			`${BASE}/swagger-ui-bundle.js`,
			({ request }) => file(request, "swagger-ui-bundle.js", "text/javascript"),
			HIDDEN,
		)
		.get(`${BASE}/favicon-32x32.png`, () => new Response(Bun.file(favicon), { headers: kept("image/png") }), HIDDEN);
}

const show = (page: string) => text(page, "text/html; charset=utf-8", { "content-security-policy": POLICY });

/** Elysia takes `/swagger/` for `/swagger`; the page's addresses are right under one of them. */
const endsInSlash = (request: Request) => urlOf(request).pathname.endsWith("/");
const withoutSlash = () => new Response(null, { status: 308, headers: { location: "../swagger" } });

const HIDDEN = { detail: { hide: true } };

function text(body: string, type: string, more: Record<string, string> = {}): Response {
	const headers = { "content-type": type, "cache-control": "no-cache", "x-content-type-options": "nosniff" };
	return new Response(body, { headers: { ...headers, ...more } });
}

const kept = (type: string) => ({
	"content-type": type,
	"cache-control": FOREVER,
	"x-content-type-options": "nosniff",
});

const file = async (request: Request, name: SwaggerFile, type: string): Promise<Response> =>
	compressedAnswer(request, await swaggerFile(name), kept(`${type}; charset=utf-8`));

/** A path as `/swagger` refers to it: the page lies at the API's root. */
const relative = (path: string): string => path.slice(1);

function html(title: string): string {
	return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${Bun.escapeHTML(title)}</title>
<link rel="icon" type="image/png" href="${relative(BASE)}/favicon-32x32.png">
<link rel="stylesheet" href="${relative(BASE)}/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="${relative(BASE)}/swagger-ui-bundle.js"></script>
<script src="${relative("/swagger/init.js")}"></script>
</body>
</html>
`;
}

/** `validatorUrl: null`: the page would otherwise send the document's address to a validator on the internet. */
function init(spec: string): string {
	const options = {
		url: relative(spec),
		dom_id: "#swagger-ui",
		validatorUrl: null,
		deepLinking: true,
		tryItOutEnabled: true,
	};
	return `window.ui = SwaggerUIBundle(${JSON.stringify(options)});\n`;
}
