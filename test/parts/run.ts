/**
 * `make test`: installs the real parts where it may, runs the tests, and says at the end what was missing.
 *
 *     bun test/parts/run.ts [arguments of `bun test`]
 *
 * Ends with bun's own code; with 1 where `CI=true` and a test was skipped.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dockerProblem, startDockerEngine } from "../kit/docker.ts";
import { createNamespace } from "../kit/namespace.ts";
import { podmanProblem, startPodmanHost } from "../kit/podman.ts";
import { installClients } from "./clients.ts";
import { install, THIS_MACHINE } from "./install.ts";
import { LANGCHAIN } from "./langchain.ts";
import { lines, skippedIn } from "./report.ts";
import { OF_TESTS } from "./table.ts";
import { ZEROMQ } from "./zeromq.ts";

/** On two slow cores they take 35. */
const MOST_MINUTES = 65;

await install([...OF_TESTS, "pip"]);
if (THIS_MACHINE.mayInstall) {
	await LANGCHAIN.install();
	await ZEROMQ.install();
	await installClients();
}
const problem = dockerProblem() ?? (await tried(tryDocker));
const podman = podmanProblem() ?? (await tried(tryPodman));
const problems = {
	...(problem && { ROUTER_TEST_DOCKER: problem }),
	...(podman && { ROUTER_TEST_PODMAN: podman }),
};
const scratch = mkdtempSync(join(tmpdir(), "router-tests-"));
const report = join(scratch, "report.xml");
// Each file in a global object of its own, two at a time: many tests wait for what is real.
const flags = ["--parallel=2", "--timeout", "30000", "--reporter=junit", `--reporter-outfile=${report}`];
const child = Bun.spawn([process.execPath, "--no-env-file", "test", ...flags, ...process.argv.slice(2)], {
	env: { ...process.env, ...problems },
	stdio: ["inherit", "inherit", "inherit"],
});
// A loop that keeps its event loop is ended by no timeout of a test: bun then names the files that were still running.
const bound = setTimeout(() => {
	console.error(`\nThe tests did not end within ${MOST_MINUTES} minutes, and are told to.`);
	child.kill("SIGTERM");
}, MOST_MINUTES * 60_000);
// A terminal's Ctrl-C reaches the tests, too: they end, and the report follows.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => child.kill("SIGTERM"));
let code = await child.exited;
clearTimeout(bound);
if (existsSync(report)) {
	Object.assign(process.env, problems);
	const skipped = skippedIn(readFileSync(report, "utf8"));
	const told = lines(skipped);
	if (told.length > 0) console.error(`\n${told.join("\n")}`);
	if (told.length > 0 && process.env["CI"] === "true") {
		console.error("CI may skip no test");
		code ||= 1;
	}
}
rmSync(scratch, { recursive: true, force: true });
process.exit(code);

/** Where the programs are there a container may still not start: no cgroups, no mounts. One is tried before the tests. */
async function tried(start: () => Promise<void>): Promise<string | undefined> {
	try {
		await start();
		return undefined;
	} catch (error) {
		return `no container starts here: ${String(error instanceof Error ? error.message : error)
			.trim()
			.split("\n")
			.at(-1)}`;
	}
}

async function tryDocker(): Promise<void> {
	await using engine = await startDockerEngine();
	await engine.importSim();
	// Detached: all that matters is that it starts.
	await engine.docker("run", "--detach", "vllm-sim:test", "Qwen/Qwen3-8B");
}

async function tryPodman(): Promise<void> {
	await using namespace = await createNamespace();
	await using host = await startPodmanHost({ user: "user", namespace });
	await host.importSim();
	await host.podman("run", "--detach", "vllm-sim:test", "Qwen/Qwen3-8B");
}
