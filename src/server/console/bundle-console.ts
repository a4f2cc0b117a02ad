/**
 * The console's page as files: its script and its style sheet, bundled and compressed. `make build` has this done before it compiles, so that
 * the executable holds the files; a router that runs from source does it when the page is first asked for.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";

const BROWSER = join(import.meta.dir, "browser");

/** A file of the page. */
export interface BundledFile {
	/** With a hash of what is in it: `console-1a2b3c4d.js`. */
	readonly name: string;
	/** Compressed. */
	readonly gzip: Uint8Array<ArrayBuffer>;
}

/**
 * Bundles them. Each file in `browser/pages/` is a page of the console, so that who adds one changes no list.
 * @throws {Error} naming each mistake of the source
 */
export async function bundleConsole(): Promise<BundledFile[]> {
	const names = readdirSync(join(BROWSER, "pages"))
		.filter((name) => name.endsWith(".tsx"))
		.sort();
	const pages = names.map((name, at) => `import { page as page${at} } from "./pages/${name}";`);
	const entry = `import "./console.css";
import { startConsole } from "./console.tsx";
${pages.join("\n")}
startConsole([${pages.map((_, at) => `page${at}`).join(", ")}]);
`;
	const built = await Bun.build({
		entrypoints: [join(BROWSER, "entry.ts")],
		files: { [join(BROWSER, "entry.ts")]: entry },
		target: "browser",
		minify: true,
		define: { "process.env.NODE_ENV": '"production"' },
		naming: "console-[hash].[ext]",
	});
	return Promise.all(
		built.outputs.map(async (output) => ({
			name: output.path.replace(/^.*\//, ""),
			gzip: Bun.gzipSync(new Uint8Array(await output.arrayBuffer()), { level: 9 }),
		})),
	);
}
