/**
 * A model that does what its prompt tells it, step by step: the prompt holds a list of steps, and how many results of tools stand behind it says which
 * one is due. So four fakes of different wires, and one in a process of its own, play the same model without sharing any state.
 */

/** One answer of the model: a call of a tool, or its last words. `FOUND` in them is the last code that stands in the last result. */
export type Step =
	| { readonly call: string; readonly args: Readonly<Record<string, unknown>> }
	| { readonly say: string };

/** Part of a prompt, in letters that no client escapes. */
export const stepsPrompt = (steps: readonly Step[]): string =>
	`Do these steps: <steps>${Buffer.from(JSON.stringify(steps)).toString("base64url")}</steps>`;

/** What a code looks like: names of files and the word that is looked for. */
const CODE = /\b(?:clue|word)-[0-9a-f]{8}\b/g;

/** A conversation in words of no vendor: what its messages say, in order. */
export type Said = { readonly user: string } | { readonly result: string };

/**
 * What a model says now; undefined where nobody told it any steps, or they are over. One that may call no tool sums up what it was told and found, as
 * agents have it do before they forget the rest.
 */
export function dueStep(said: readonly Said[], mayCall: boolean): Step | undefined {
	const at = said.findLastIndex((each) => "user" in each && each.user.includes("<steps>"));
	if (at === -1) return undefined;
	const encoded = /<steps>([\w-]+)<\/steps>/.exec((said[at] as { user: string }).user)?.[1];
	if (encoded === undefined) return undefined;
	const text = Buffer.from(encoded, "base64url").toString();
	let results: string[] = [];
	for (const each of said.slice(at)) {
		if ("result" in each) results.push(each.result);
		else {
			const summary = /<found>(.*?)<\/found>/s.exec(each.user)?.[1];
			if (summary !== undefined) results = JSON.parse(summary) as string[];
		}
	}
	const codes = results.map((result) => result.match(CODE)?.at(-1) ?? "nothing");
	if (!mayCall) return { say: `So far: <found>${JSON.stringify(codes)}</found>` };
	return (JSON.parse(text.replaceAll("FOUND", codes.at(-1) ?? "nothing")) as Step[])[results.length];
}
