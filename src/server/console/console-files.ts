/** `GET /`, the console's page, and the files that it loads: those in the executable, or, from source, those that are bundled at the first request. */
import { RouterError } from "../../errors.ts";
import { compressedAnswer, embeddedFiles } from "../../http/compressed-files.ts";
import { pagePolicy } from "../../http/page-policy.ts";

/** Names have a hash of what is in them, so browsers may keep the files for ever. */
const FOREVER = "public, max-age=31536000, immutable";
const EMBEDDED = /(?:^|\/)(console-[0-9a-z]+\.(?:js|css))-[0-9a-z]+\.gz$/;
const TYPES: Readonly<Record<string, string>> = {
	js: "text/javascript; charset=utf-8",
	css: "text/css; charset=utf-8",
	svg: "image/svg+xml",
};

const FAVICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#2456c9"/><path d="M7 16h6m0 0c5 0 4-7 10-7m-10 7c5 0 4 7 10 7m-10-7h11" fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round"/></svg>`;

/** Nothing inline. */
const POLICY = pagePolicy(false);

const SAFE = {
	"x-content-type-options": "nosniff",
	"referrer-policy": "no-referrer",
	"cross-origin-opener-policy": "same-origin",
	"cross-origin-resource-policy": "same-origin",
};

/** Compressed files by name. */
type Files = ReadonlyMap<string, Uint8Array<ArrayBuffer>>;

/** The page and its files. */
export class ConsoleFiles {
	#files: Promise<Files> | undefined;

	/** @param load where they come from */
	constructor(private readonly load: () => Promise<Files> = filesOfConsole) {}

	/** The page. */
	async page(request: Request): Promise<Response> {
		const page = pageOf([...(await this.#loaded()).keys()]);
		const etag = `"${Bun.hash(page).toString(36)}"`;
		const headers = { ...SAFE, "content-security-policy": POLICY, "cache-control": "no-cache", vary: "accept", etag };
		if (request.headers.get("if-none-match") === etag) return new Response(null, { status: 304, headers });
		return new Response(page, { headers: { ...headers, "content-type": "text/html; charset=utf-8" } });
	}

	/** A file of the page. Throws `unknown_path`. */
	async file(name: string, request: Request): Promise<Response> {
		if (name === "favicon.svg") return new Response(FAVICON, { headers: headersOf("svg") });
		const gzip = (await this.#loaded()).get(name);
		if (!gzip)
			throw new RouterError("unknown_path", `The console has no file ${name.slice(0, 100)}: load its page anew.`);
		return compressedAnswer(request, gzip, headersOf(name.slice(name.lastIndexOf(".") + 1)));
	}

	/** What could not be loaded is tried again at the next request. */
	#loaded(): Promise<Files> {
		if (!this.#files) {
			const files = this.load();
			this.#files = files;
			files.catch(() => {
				this.#files = undefined;
			});
		}
		return this.#files;
	}
}

/** Whether a request wants a page: of all clients only browsers ask for HTML. */
export const wantsPage = ({ headers }: Pick<Request, "headers">): boolean =>
	headers.get("accept")?.includes("text/html") === true;

const headersOf = (extension: string) => ({ ...SAFE, "content-type": TYPES[extension]!, "cache-control": FOREVER });

/** Those in the executable; where there is none, bundled now. */
async function filesOfConsole(): Promise<Files> {
	const embedded = [...embeddedFiles(EMBEDDED)];
	if (embedded.length > 0) {
		return new Map(await Promise.all(embedded.map(async ([name, blob]) => [name, await blob.bytes()] as const)));
	}
	// In an executable nothing is bundled: it is loaded where that is needed.
	const { bundleConsole } = await import("./bundle-console.ts");
	return new Map((await bundleConsole()).map(({ name, gzip }) => [name, gzip]));
}

/** All addresses are relative: a proxy may have put the router under a path, of which it sees nothing. */
function pageOf(names: readonly string[]): string {
	const scripts = names.filter((name) => name.endsWith(".js"));
	const styles = names.filter((name) => name.endsWith(".css"));
	return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>router</title>
<link rel="icon" type="image/svg+xml" href="console/favicon.svg">
${styles.map((name) => `<link rel="stylesheet" href="console/${name}">`).join("\n")}
${scripts.map((name) => `<script type="module" src="console/${name}"></script>`).join("\n")}
</head>
<body>
<div id="console"></div>
<noscript>The console needs JavaScript. All that it shows is in <a href="admin/keys">/admin</a>, <a href="metrics">/metrics</a> and <a href="swagger">/swagger</a>, too.</noscript>
</body>
</html>
`;
}
