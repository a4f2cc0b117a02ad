/**
 * `make clients`: every client on every kind of model, as a table in Markdown, and what went wrong below it. Ends with 1 where a cell failed.
 *
 *     bun test/clients/table.ts [part of a client's name] [a kind]
 */
import { readFileSync } from "node:fs";
import { copyDrivers } from "../parts/clients.ts";
import { CODEX_ROWS, claudeCode, claudeCodeContext, claudeCodeTitle, geminiCli, opencode } from "./agents.ts";
import { type CellResult, tryCell } from "./cell.ts";
import { type Client, packaged } from "./client.ts";
import { LIBRARIES } from "./libraries.ts";
import { KINDS, type Kind, startRouterOfFour } from "./router-of-four.ts";

/** All clients, in the order of the table. */
export const CLIENTS_TRIED: readonly Client[] = [
	claudeCode,
	claudeCodeContext,
	claudeCodeTitle,
	...CODEX_ROWS,
	geminiCli,
	opencode,
	...LIBRARIES,
];

const versionOf = ({ package: name }: Client): string =>
	JSON.parse(readFileSync(packaged(`${name}/package.json`), "utf8")).version;

if (import.meta.main) {
	const [wanted = "", kind = ""] = process.argv.slice(2);
	const clients = CLIENTS_TRIED.filter(({ name }) => name.toLowerCase().includes(wanted.toLowerCase()));
	const kinds = (Object.keys(KINDS) as Kind[]).filter((each) => each.toLowerCase().includes(kind.toLowerCase()));
	copyDrivers();
	const four = await startRouterOfFour();
	const told: string[] = [];
	console.log(`| client | version | ${kinds.map((each) => `${each} (\`${KINDS[each]}\`)`).join(" | ")} |`);
	console.log(`| --- | --- | ${kinds.map(() => "---").join(" | ")} |`);
	let failed = 0;
	for (const client of clients) {
		const cells: string[] = [];
		for (const each of kinds) {
			const { problem, refusals, strays }: CellResult = await tryCell(client, each, four);
			cells.push(problem === undefined ? "✓" : "✗");
			if (problem !== undefined) failed++;
			const more = { failed: problem, "refused upstream": refusals, "tried to reach": strays };
			for (const [what, said] of Object.entries(more)) {
				if (said?.length) told.push(`${client.name}, ${each}: ${what}: ${[said].flat().join("; ")}`);
			}
		}
		console.log(`| ${client.name} | ${versionOf(client)} | ${cells.join(" | ")} |`);
	}
	await four.stop();
	console.log(`\n${told.join("\n\n")}`);
	process.exit(failed > 0 ? 1 : 0);
}
