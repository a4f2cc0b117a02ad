/** Packages from PyPI that tests use, each set in a virtual environment of its own under node_modules. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** One set. */
export class PythonVenv {
	/** Its Python. */
	readonly python: string;
	readonly #directory: string;
	/** The requirements that were installed, written last. */
	readonly #stamp: string;

	/**
	 * @param what it is called where its installation is told
	 * @param name of its directory
	 * @param requirements path of the list of its packages, each with its version
	 * @param flags further ones of `pip install`
	 */
	constructor(
		private readonly what: string,
		name: string,
		private readonly requirements: string,
		private readonly flags: readonly string[] = [],
	) {
		this.#directory = join(import.meta.dir, "../../node_modules", name);
		this.python = join(this.#directory, "bin/python");
		this.#stamp = join(this.#directory, "installed.txt");
	}

	/** Why it can't be used here; `undefined` where it can. */
	problem(): string | undefined {
		if (!existsSync(this.#stamp)) return "it is not installed";
		return readFileSync(this.#stamp, "utf8") === readFileSync(this.requirements, "utf8")
			? undefined
			: "another version is installed";
	}

	/** Installs it where it is not there; needs python3 and pip3. What fails is said. */
	async install(say: (line: string) => void = console.log): Promise<void> {
		if (!this.problem() || !Bun.which("python3") || !Bun.which("pip3")) return;
		say(`installing ${this.what} from PyPI`);
		rmSync(this.#directory, { recursive: true, force: true });
		const pip = [
			"install",
			"--quiet",
			"--disable-pip-version-check",
			"--no-input",
			...this.flags,
			"-r",
			this.requirements,
		];
		// Debian's Python has no pip of its own to put in.
		const commands = [
			["python3", "-m", "venv", "--without-pip", this.#directory],
			["pip3", "--python", this.python, ...pip],
		];
		for (const command of commands) {
			const child = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
			const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
			if ((await child.exited) !== 0) {
				say(`${command[0]} failed:\n${(out + err).trim().split("\n").slice(-5).join("\n")}`);
				return;
			}
		}
		writeFileSync(this.#stamp, readFileSync(this.requirements));
	}
}
