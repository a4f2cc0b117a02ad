/** What shells offer behind `router`: each of them is run, and asked. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FLAG_NAMES, FLAG_TEXTS } from "../src/cli/command-texts.ts";
import { completions } from "../src/cli/completions.ts";
import { FLAGS, SHELLS, type ShellName, SUBCOMMANDS } from "../src/cli/flag-table.ts";
import { needing } from "./kit/needing.ts";
import { command } from "./kit/router.ts";

/** A letter and the way back over it, by which a terminal of old made the next one bold. */
const OVERSTRUCK = new RegExp(`.${String.fromCharCode(8)}`, "g");

/** The script of a shell in a file, as long as it is asked. */
async function asking<T>(shell: ShellName, ask: (file: string, directory: string) => Promise<T>): Promise<T> {
	const directory = mkdtempSync(join(tmpdir(), "completions-"));
	try {
		const file = join(directory, shell === "zsh" ? "_router" : "router");
		writeFileSync(file, completions(shell));
		return await ask(file, directory);
	} finally {
		rmSync(directory, { recursive: true, force: true });
	}
}

async function run(words: readonly string[], cwd: string): Promise<string> {
	const child = Bun.spawn([...words], {
		cwd,
		env: { PATH: process.env["PATH"]!, HOME: cwd, TERM: "xterm", LC_ALL: "C" },
		stdin: "ignore",
		stdout: "pipe",
		stderr: "pipe",
	});
	const [out, error] = await Promise.all([child.stdout.text(), child.stderr.text()]);
	expect(error).toBe("");
	return out;
}

/** What bash offers for a line, whose last word is the one that is being typed. */
const bash = (...line: string[]) =>
	asking("bash", async (file, directory) => {
		const words = line.map((word) => `'${word}'`).join(" ");
		const script = `source '${file}'; COMP_WORDS=(router ${words}); COMP_CWORD=${line.length}; _router; printf '%s\\n' "\${COMPREPLY[@]}"`;
		return (await run(["bash", "--norc", "-c", script], directory)).split("\n").filter((word) => word !== "");
	});

/** What fish offers. */
const fish = (line: string) =>
	asking("fish", async (file, directory) => {
		const out = await run(["fish", "--no-config", "-c", `source ${file}; complete -C '${line}'`], directory);
		return out.split("\n").flatMap((each) => each.split("\t")[0] || []);
	});

/** What becomes of a line in zsh when the tab key is pressed behind it. */
const zsh = (line: string) =>
	asking("zsh", async (_, directory) => {
		const script = `zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; fpath=(${directory} \\$fpath); autoload -Uz compinit; compinit -u -D; router() { print -r -- \\"got<\\$*>\\"; }; print rea''dy"
zpty -r -m shell text '*ready*'
zpty -w -n shell ${JSON.stringify(line)}$'\\t\\n'
zpty -r -m shell text '*got<*>*'
print -r -- $text
zpty -d shell`;
		writeFileSync(join(directory, "ask"), script);
		const out = await run(["zsh", "-f", "ask"], directory);
		return /got<([^>]*)>/.exec(out)![1]!.trim();
	});

describe("bash", () => {
	test("offers nothing behind an unknown command, nor behind --", async () => {
		expect(await bash("nonsense", "")).toEqual([]);
		expect(await bash("--agent", "--", "--ho")).toEqual([]);
	});

	test("offers commands, their words and their flags, and none of another command's", async () => {
		expect(await bash("")).toEqual([...SUBCOMMANDS]);
		expect(await bash("ch")).toEqual(["check"]);
		expect(await bash("keys", "r")).toEqual(["rotate", "revoke"]);
		expect(await bash("keys", "rotate", "--ov")).toEqual(["--overlap"]);
		expect(await bash("check", "--ov")).toEqual([]);
		expect(await bash("--stop")).toEqual(["--stop-containers"]);
		expect(await bash("docs", "met")).toEqual(["metrics"]);
	});

	test("takes no flag's value for a command, however it is written", async () => {
		expect(await bash("--config", "keys", "us")).toEqual(["usage"]);
		expect(await bash("--config", "=", "keys", "us")).toEqual(["usage"]);
		expect(await bash("usage", "--by", "")).toEqual(["key", "team", "user", "model", "provider", "day"]);
		expect(await bash("usage", "--by", "=")).toHaveLength(6);
		expect(await bash("usage", "--by", "=", "mo")).toEqual(["model"]);
		expect(await bash("--config", "")).toEqual([]);
	});
});

{
	const { describe, test } = needing("zsh");
	describe("zsh", () => {
		test.each([
			["router che", "check"],
			["router keys rot", "keys rotate"],
			["router keys rotate a --ov", "keys rotate a --overlap"],
			["router --stop", "--stop-containers"],
			["router completions f", "completions fish"],
			["router usage --by=mo", "usage --by=model"],
			["router docs met", "docs metrics"],
			["router upgrade --to ./_rou", "upgrade --to ./_router"],
		])("%s", async (line, completed) => {
			expect(await zsh(line)).toBe(completed);
		});
	});
}

{
	const { describe, test } = needing("fish");
	describe("fish", () => {
		test("takes no word behind the command for one, nor a flag's value, nor what is behind --", async () => {
			expect(await fish("router docs usage --b")).toEqual([]);
			expect(await fish("router usage docs --b")).toEqual(["--by"]);
			expect(await fish("router --config keys us")).toEqual(["usage"]);
			expect(await fish("router keys create rotate rev")).toEqual([]);
			expect(await fish("router -- che")).toEqual([]);
		});

		test("offers commands, their words and their flags, and none of another command's", async () => {
			expect((await fish("router ")).sort()).toEqual([...SUBCOMMANDS].sort());
			expect(await fish("router che")).toEqual(["check"]);
			expect((await fish("router keys r")).sort()).toEqual(["revoke", "rotate"]);
			expect(await fish("router keys rotate a --ov")).toEqual(["--overlap"]);
			expect(await fish("router check --ov")).toEqual([]);
			expect(await fish("router usage --by mo")).toEqual(["model"]);
			expect(await fish("router docs met")).toEqual(["metrics"]);
			expect(await fish("router upgrade --to ./rou")).toEqual(["./router"]);
			expect(await fish("router usage --to ./rou")).toEqual([]);
		});
	});
}

{
	const { test } = needing("mandoc");
	test("the manual page is one, and has every command and flag", async () => {
		const child = Bun.spawn([...command(process.env["ROUTER_TEST"] === "binary" ? "binary" : "source"), "man"], {
			stdout: "pipe",
		});
		const page = await child.stdout.text();
		expect(await child.exited).toBe(0);
		const directory = mkdtempSync(join(tmpdir(), "man-"));
		try {
			const file = join(directory, "router.1");
			writeFileSync(file, page);
			// A page that is printed on any day has no date.
			const found = Bun.spawnSync(["mandoc", "-T", "lint", "-W", "warning", file]).stdout.toString().trim().split("\n");
			expect(found.filter((line) => line !== "" && !line.includes("missing date"))).toEqual([]);
			const shown = Bun.spawnSync(["mandoc", "-T", "ascii", file]).stdout.toString().replaceAll(OVERSTRUCK, "");
			for (const name of SUBCOMMANDS) expect(shown).toContain(`router ${name}`);
			for (const name of Object.keys(FLAGS)) expect(shown).toMatch(new RegExp(`^ +(-., )?--${name}( |$)`, "m"));
		} finally {
			rmSync(directory, { recursive: true, force: true });
		}
	});
}

test("a flag has a value there where the command line wants one", () => {
	for (const name of FLAG_NAMES) {
		expect([name, FLAG_TEXTS[name].value !== undefined]).toEqual([name, FLAGS[name].type === "string"]);
	}
});

test.each([[[]], [["tcsh"]], [["bash", "zsh"]]])("`completions %j` is told which shells there are", (words) => {
	const child = Bun.spawnSync([...command("source"), "completions", ...words]);
	expect(child.exitCode).toBe(2);
	const wanted = words.length === 2 ? /one word too many/ : /router completions bash\|zsh\|fish/;
	expect(child.stderr.toString()).toMatch(wanted);
});

test("every shell's script is printed by the command", async () => {
	for (const shell of SHELLS) {
		const child = Bun.spawnSync([...command("source"), "completions", shell]);
		expect(child.stdout.toString()).toBe(completions(shell));
	}
});
