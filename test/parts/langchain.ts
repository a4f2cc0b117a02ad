/** LangChain for Python, from PyPI, in a folder of its own: what `make langchain` installs, and `make test` where it may install. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Its virtual environment. */
const VENV = join(import.meta.dir, "../../node_modules/.langchain");
/** The tests that it runs, and what these need: each package with its version. */
export const LANGCHAIN_TESTS = join(import.meta.dir, "../kit/langchain");
const REQUIREMENTS = join(LANGCHAIN_TESTS, "requirements.txt");
/** The requirements that were installed, written last. */
const STAMP = join(VENV, "installed.txt");

/** Its Python. */
export const PYTHON = join(VENV, "bin/python");

/** Why it can't be used here; `undefined` where it can. */
export function langchainProblem(): string | undefined {
	if (!existsSync(STAMP)) return "it is not installed";
	return readFileSync(STAMP, "utf8") === readFileSync(REQUIREMENTS, "utf8")
		? undefined
		: "another version is installed";
}

/** Installs it where it is not there; needs python3 and pip3. What fails is said. */
export async function installLangChain(say: (line: string) => void = console.log): Promise<void> {
	if (!langchainProblem() || !Bun.which("python3") || !Bun.which("pip3")) return;
	say("installing LangChain for Python from PyPI");
	rmSync(VENV, { recursive: true, force: true });
	// Debian's Python has no pip of its own to put in.
	const commands = [
		["python3", "-m", "venv", "--without-pip", VENV],
		["pip3", "--python", PYTHON, "install", "--quiet", "--disable-pip-version-check", "--no-input", "-r", REQUIREMENTS],
	];
	for (const command of commands) {
		const child = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
		const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
		if ((await child.exited) !== 0) {
			say(`${command[0]} failed:\n${(out + err).trim().split("\n").slice(-5).join("\n")}`);
			return;
		}
	}
	writeFileSync(STAMP, readFileSync(REQUIREMENTS));
}
