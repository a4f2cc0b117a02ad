/**
 * The script and the style sheet of Swagger UI, compressed: 0.5 MB of the executable instead of 1.9. `make build` has them compressed before it
 * compiles; a router that runs from source does it when one is asked for.
 */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { embeddedFiles } from "./compressed-files.ts";

/** Names of the files within swagger-ui-dist, and here. */
export const SWAGGER_FILES = ["swagger-ui.css", "swagger-ui-bundle.js"] as const;
/** One of them. */
export type SwaggerFile = (typeof SWAGGER_FILES)[number];

const EMBEDDED = /(?:^|\/)(swagger-ui(?:-bundle)?\.(?:js|css))-[0-9a-z]+\.gz$/;
const compress = promisify(gzip);

/** A file, gzipped. It is read at each call, so that it takes no memory. */
export async function swaggerFile(name: SwaggerFile): Promise<Uint8Array<ArrayBuffer>> {
	const embedded = embeddedFiles(EMBEDDED).get(name);
	return embedded ? embedded.bytes() : compressSwaggerFile(name);
}

/** A file of the installed package, gzipped as small as it gets. */
export async function compressSwaggerFile(name: SwaggerFile): Promise<Uint8Array<ArrayBuffer>> {
	// Not by an import: the executable would hold the file once more, as it is.
	const path = Bun.resolveSync(`swagger-ui-dist/${name}`, import.meta.dir);
	return new Uint8Array(await compress(await Bun.file(path).bytes(), { level: 9 }));
}
