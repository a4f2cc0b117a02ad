/** One call beside the load, whose answer is compared with the one that it must be. */
import { addressOf, type Scenario } from "./loads.ts";
import { KEY } from "./subject.ts";
import { CONTENT, STAMP_DIGITS, TOKENS } from "./wire.ts";

/** What is wrong with a whole answer's text; undefined where nothing is. */
export function judgeWhole(text: string): string | undefined {
	const answer = JSON.parse(text) as {
		choices?: { message?: { content?: string }; finish_reason?: string }[];
		usage?: { total_tokens?: number };
	};
	const choice = answer.choices?.[0];
	if (choice?.message?.content !== CONTENT) return "its content is another";
	if (choice.finish_reason !== "stop") return `its finish reason is ${choice.finish_reason}`;
	return answer.usage?.total_tokens === 398 ? undefined : `its usage is ${JSON.stringify(answer.usage)}`;
}

interface Chunk {
	choices?: { delta?: { content?: string }; finish_reason?: string | null }[];
}

/** What is wrong with a stream's text, however its tokens are packed into events; undefined where nothing is. */
export function judgeStream(text: string): string | undefined {
	const data = text.match(/(?<=^data: ).*$/gm) ?? [];
	if (data.at(-1) !== "[DONE]") return "it has no [DONE]";
	const choices = data.slice(0, -1).flatMap((event) => (JSON.parse(event) as Chunk).choices ?? []);
	const content = choices.map(({ delta }) => delta?.content ?? "").join("");
	const wrong = judgeTokens(content);
	return wrong ?? (choices.at(-1)?.finish_reason === "stop" ? undefined : "it has no finish reason");
}

/** What is wrong with the text that a stream's tokens come to; undefined where nothing is. */
export function judgeTokens(content: string): string | undefined {
	const tokens = content.match(/ \d{16}/g)?.length ?? 0;
	return tokens === TOKENS && content.length === TOKENS * (STAMP_DIGITS + 1) ? undefined : `it has ${tokens} tokens`;
}

/** A process that hangs must not hang the bench. */
const DEADLINE_MS = 20_000;

/**
 * Sends the scenario's request once. Says what is wrong with the answer; undefined where nothing is. `slow` streams have no
 * end: their client counts for itself. `isRouter` looks at the header that tells of the cache, too.
 */
export async function sample(url: string, scenario: Scenario, isRouter: boolean): Promise<string | undefined> {
	if (scenario.mode === "slow") return undefined;
	const answer = await fetch(addressOf(url, scenario), {
		method: "POST",
		headers: { "content-type": "application/json", authorization: `Bearer ${KEY}` },
		body: scenario.body,
		signal: AbortSignal.timeout(DEADLINE_MS),
	});
	const text = await answer.text();
	if (answer.status !== 200) return `status ${answer.status}: ${text.slice(0, 300)}`;
	const cache = answer.headers.get("x-router-cache");
	if (isRouter && (cache === "hit") !== scenario.cached) return `x-router-cache: ${cache}`;
	return (scenario.faultIn ?? (scenario.stream ? judgeStream : judgeWhole))(text);
}
