/** install.sh: what shells complete and the manual page come from the router itself, and replace nothing of another program's. */
import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256 } from "../.ci/release/source.ts";
import { completions } from "../src/cli/completions.ts";
import { SHELLS } from "../src/cli/flag-table.ts";
import { manPage } from "../src/cli/man-page.ts";
import { command } from "./kit/router.ts";

const directory = mkdtempSync(join(tmpdir(), "router-install-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Beside a folder of programs. */
const FILES = {
	bash: "share/bash-completion/completions/router",
	zsh: "share/zsh/site-functions/_router",
	fish: "share/fish/vendor_completions.d/router.fish",
} as const;
const MAN = "share/man/man1/router.1";

/** Installs a release whose only program is this one, into a folder of a prefix. */
function install(prefix: string, program: string, folder = "bin"): void {
	const name = "router-0.1.0-linux-x64";
	const release = mkdtempSync(join(directory, "release-"));
	writeFileSync(join(release, name), program);
	writeFileSync(join(release, "SHA256SUMS"), `${sha256(Buffer.from(program))}  ${name}\n`);
	const env = { PATH: process.env["PATH"]!, HOME: directory, ROUTER_RELEASES: release, ROUTER_TARGET: "linux-x64" };
	const script = join(import.meta.dir, "../install.sh");
	const child = Bun.spawnSync(["sh", script], { env: { ...env, ROUTER_INSTALL_DIR: join(prefix, folder) } });
	expect([child.exitCode, child.stderr.toString()]).toEqual([0, ""]);
}

const prefixed = (): string => mkdtempSync(join(directory, "prefix-"));
/** Is told by the name of a header, as every router. */
const ROUTER = `#!/bin/sh\n# x-router-overhead-ms\nexec ${command("source").join(" ")} "$@"\n`;
const OLDER = "#!/bin/sh\n# x-router-overhead-ms\n[ $1 = --version ] && echo 0.0.1 || exit 2\n";

test("an older router, which writes none, is installed all the same", () => {
	const prefix = prefixed();
	install(prefix, OLDER);
	expect(existsSync(join(prefix, "bin/router"))).toBe(true);
	expect(existsSync(join(prefix, "share"))).toBe(false);
});

test("beside a folder of another name nothing is written", () => {
	const prefix = prefixed();
	install(prefix, ROUTER, "programs");
	expect(existsSync(join(prefix, "share"))).toBe(false);
});

test("what another program has put there stays, what a router has is renewed", () => {
	const prefix = prefixed();
	for (const [file, text] of [
		[FILES.bash, "# of another program\n"],
		[FILES.fish, "# fish completion for router: written by `router completions fish`\nold\n"],
	] as const) {
		mkdirSync(join(prefix, file, ".."), { recursive: true });
		writeFileSync(join(prefix, file), text);
	}
	install(prefix, ROUTER);
	expect(readFileSync(join(prefix, FILES.bash), "utf8")).toBe("# of another program\n");
	expect(readFileSync(join(prefix, FILES.fish), "utf8")).toBe(completions("fish"));
});

test("shells and man find theirs where they look", () => {
	const prefix = prefixed();
	install(prefix, ROUTER);
	for (const shell of SHELLS) expect(readFileSync(join(prefix, FILES[shell]), "utf8")).toBe(completions(shell));
	expect(readFileSync(join(prefix, MAN), "utf8")).toBe(manPage());
});
