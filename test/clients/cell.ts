/** One cell of the table: a client does a task with a model. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Step, stepsPrompt } from "../kit/scripted-steps.ts";
import type { Client, Try } from "./client.ts";
import { KEY, KINDS, type Kind, type RouterOfFour } from "./router-of-four.ts";

/** What became of it. */
export interface CellResult {
	/** Why it failed; undefined where it did not. */
	readonly problem: string | undefined;
	/** What vendors refused, whatever became of the call. */
	readonly refusals: readonly string[];
	/** Hosts other than the router that the client tried to reach. */
	readonly strays: readonly string[];
}

const breaksOff = (kind: Kind) => KINDS[kind] === "breaking";
const code = () => crypto.randomUUID().slice(0, 8);

/**
 * Has the client find a word: a note names another, that one the word, and the model reads both by the client's own tool. The word is new with each
 * cell and stands nowhere but in the last note, so a client says it only where calls, results and words went there and back, three turns long.
 */
export async function tryCell(client: Client, kind: Kind, four: RouterOfFour): Promise<CellResult> {
	const root = mkdtempSync(join(tmpdir(), "router-client-"));
	const [home, folder] = [join(root, "home"), join(root, "notes")];
	const [first, second, word] = [`clue-${code()}`, `clue-${code()}`, `word-${code()}`];
	try {
		for (const path of [home, folder]) mkdirSync(path);
		// Agents ask no questions in a repository.
		await Bun.spawn(["git", "init", "--quiet", folder], { stdout: "ignore", stderr: "ignore" }).exited;
		writeFileSync(join(folder, first), `It goes on in ${second}\n`);
		writeFileSync(join(folder, second), `It is ${word}\n`);
		const prompt: Try["prompt"] = (tool, args) => {
			const steps: Step[] = [
				{ call: tool, args: args(first) },
				{ call: tool, args: args("FOUND") },
				{ say: "The word is: FOUND" },
			];
			return stepsPrompt(steps);
		};
		const at = { url: four.router.url, key: KEY, model: KINDS[kind], home, folder, proxy: four.proxy, prompt };
		four.refusals();
		four.strays();
		four.breaks();
		const problem = await client.run(at).then(
			(printed) =>
				client.problem
					? client.problem(printed)
					: (problemWith(printed, word) ??
						(breaksOff(kind) && four.breaks() === 0 ? "no stream broke off" : undefined)),
			(error) => String(error instanceof Error ? error.message : error),
		);
		return { problem, refusals: four.refusals(), strays: four.strays() };
	} finally {
		rmSync(root, { recursive: true, force: true });
	}
}

/** A library says it once whole and once streamed, an agent once. */
function problemWith(printed: string, word: string): string | undefined {
	const ways = printed.match(/^(?:whole|streamed):.*$/gm) ?? [printed];
	const silent = ways.find((way) => !way.includes(`The word is: ${word}`));
	return silent === undefined ? undefined : `did not say the word: ${silent.trim().slice(-1500)}`;
}
