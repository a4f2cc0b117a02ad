/** A client as it is tried: unmodified, from its package, with a home and a folder of its own, and nothing but the router to talk to. */
import { join, resolve } from "node:path";

/** Where the packages of ./package.json lie, with a copy of ./drivers beside them. */
export const INSTALLED = resolve(import.meta.dir, "../../node_modules/.clients");

/** A file of an installed package. */
export const packaged = (path: string): string => join(INSTALLED, "node_modules", path);

/** One try of a client. */
export interface Try {
	/** The router's address, without `/v1`. */
	readonly url: string;
	readonly key: string;
	readonly model: string;
	/** An empty home. */
	readonly home: string;
	/** A git repository with the files that the steps speak of. */
	readonly folder: string;
	/** The proxy that counts whoever calls anything but the router. */
	readonly proxy: string;
	/** Steps of the fake model that find the word, by a tool to which `args` gives the name of a file. */
	prompt(tool: string, args: (file: string) => Readonly<Record<string, unknown>>): string;
}

/** A client. */
export interface Client {
	/** Its row of the table. */
	readonly name: string;
	/** Its package, whose version the table shows. */
	readonly package: string;
	/** Puts its settings into the home where it has any, has it do the task, and gives what it printed. Throws where it fails, or does it in another way. */
	run(at: Try): Promise<string>;
	/** What is wrong with what it printed, where it has something else to do than the task. */
	readonly problem?: (printed: string) => string | undefined;
}

/** A client that says nothing for so long hangs. */
const LONGEST_MS = 90_000;

/** Runs a client's process to its end and gives what it printed. Throws with that where it fails. */
export async function runProcess(
	command: readonly string[],
	{ home, folder, proxy }: Pick<Try, "home" | "folder" | "proxy">,
	env: Readonly<Record<string, string>> = {},
): Promise<string> {
	const child = Bun.spawn([...command], {
		cwd: folder,
		env: {
			HOME: home,
			PATH: `${resolve(process.execPath, "..")}:/usr/local/bin:/usr/bin:/bin`,
			TMPDIR: home,
			TERM: "dumb",
			NO_COLOR: "1",
			CI: "1",
			DO_NOT_TRACK: "1",
			HTTP_PROXY: proxy,
			HTTPS_PROXY: proxy,
			NO_PROXY: "127.0.0.1,localhost",
			...env,
		},
		stdin: "ignore",
		stdout: "pipe",
		stderr: "pipe",
		timeout: LONGEST_MS,
		killSignal: "SIGKILL",
	});
	const [out, err, code] = await Promise.all([
		new Response(child.stdout).text(),
		new Response(child.stderr).text(),
		child.exited,
	]);
	if (code !== 0) throw new Error(`ended with ${child.signalCode ?? code}: ${`${out}\n${err}`.trim().slice(-1500)}`);
	return `${out}\n${err}`;
}
