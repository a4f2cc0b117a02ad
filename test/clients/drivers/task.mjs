/** What the scripts share: where the router is, what to ask, and the tool. */
import { readFileSync } from "node:fs";
import { basename } from "node:path";

export const { ROUTER_URL: url, ROUTER_KEY: key, MODEL: model, PROMPT: prompt } = process.env;

export const TOOL = "read_note";
export const DESCRIPTION = "Gives the text of a note.";

/** The tool's work. */
export const readNote = ({ name }) => readFileSync(basename(name), "utf8");

/** Says what a loop came to. */
export function tell(how, text) {
	console.log(`${how}: ${text}`);
}
