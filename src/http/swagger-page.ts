/** Swagger UI from files inside the binary: nothing on the page comes from elsewhere, and nothing it does goes there. */
import { Elysia } from "elysia";
import favicon from "swagger-ui-dist/favicon-32x32.png" with { type: "file" };
import { version } from "swagger-ui-dist/package.json";
import styles from "swagger-ui-dist/swagger-ui.css" with { type: "file" };
import bundle from "swagger-ui-dist/swagger-ui-bundle.js" with { type: "file" };

/** The version is in the path, so browsers may keep the files for ever. */
const BASE = `/swagger/${version}`;
const FOREVER = "public, max-age=31536000, immutable";

/**
 * No inline script, no other host. Styles may be inline because Swagger UI sets `style` attributes; images may be
 * `data:` because its style sheet holds its arrows so.
 */
const POLICY = [
	"default-src 'none'",
	"script-src 'self'",
	"style-src 'self' 'unsafe-inline'",
	"img-src 'self' data:",
	"connect-src 'self'",
	"base-uri 'none'",
	"form-action 'none'",
	"frame-ancestors 'none'",
].join("; ");

/**
 * `/swagger` and its files. The files are read at each request (Bun sends them from disk or from the binary), so
 * that 1.9 MB nobody looks at is not held in memory.
 * @param spec path of the OpenAPI document
 */
export function swaggerPage(title: string, spec: string) {
	const page = html(title);
	const script = init(spec);
	return new Elysia({ name: "http/swagger-page" })
		.get("/swagger", () => text(page, "text/html; charset=utf-8", { "content-security-policy": POLICY }), HIDDEN)
		.get("/swagger/init.js", () => text(script, "text/javascript; charset=utf-8"), HIDDEN)
		.get(`${BASE}/swagger-ui.css`, () => file(styles, "text/css; charset=utf-8"), HIDDEN)
		.get(`${BASE}/swagger-ui-bundle.js`, () => file(bundle, "text/javascript; charset=utf-8"), HIDDEN)
		.get(`${BASE}/favicon-32x32.png`, () => file(favicon, "image/png"), HIDDEN);
}

const HIDDEN = { detail: { hide: true } };

function text(body: string, type: string, more: Record<string, string> = {}): Response {
	const headers = { "content-type": type, "cache-control": "no-cache", "x-content-type-options": "nosniff" };
	return new Response(body, { headers: { ...headers, ...more } });
}

function file(path: string, type: string): Response {
	const headers = { "content-type": type, "cache-control": FOREVER, "x-content-type-options": "nosniff" };
	return new Response(Bun.file(path), { headers });
}

function html(title: string): string {
	return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${Bun.escapeHTML(title)}</title>
<link rel="icon" type="image/png" href="${BASE}/favicon-32x32.png">
<link rel="stylesheet" href="${BASE}/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="${BASE}/swagger-ui-bundle.js"></script>
<script src="/swagger/init.js"></script>
</body>
</html>
`;
}

/** `validatorUrl: null`: the page would otherwise send the document's address to a validator on the internet. */
function init(spec: string): string {
	const options = { url: spec, dom_id: "#swagger-ui", validatorUrl: null, deepLinking: true, tryItOutEnabled: true };
	return `window.ui = SwaggerUIBundle(${JSON.stringify(options)});\n`;
}
