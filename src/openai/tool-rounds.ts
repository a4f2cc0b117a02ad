/**
 * Rounds of an agent, as the history of its call shows them: a model's calls of tools with what these gave. An agent that makes the same calls
 * and gets the same results goes round in a circle. Read of whatever wire: chats, Anthropic's messages, Responses, Gemini's contents. Pure.
 */
import { itemsOf } from "./json.ts";

/** What an agent's last rounds are, where they brought nothing new. */
export interface RepeatedRounds {
	/** Rounds at the end, at least 1, each of which had been there before: same calls, same results. */
	readonly count: number;
	/** Different ones among them: 1 where it is one round again and again. */
	readonly distinct: number;
	/**
	 * The last round that was new and the first that was not, with the ids of their calls: the same for all calls of one circle, and after the next
	 * new round, or in another conversation, another.
	 */
	readonly run: bigint;
}

/** The messages of a call that brings tools. */
export interface ToolHistory {
	/** Their list as JSON, UTF-8, that was parsed before; whatever else the call says stands outside of it. */
	readonly list: Buffer;
	/** The fields in which a call of a tool has its arguments there, as they stand in it: `"arguments"`. */
	readonly argumentFields: readonly Buffer[];
}

/** As chats, Anthropic's messages, Responses and Gemini's contents have them. In a text, a backslash would stand before the second quote. */
const [ARGUMENTS, INPUT, ARGS] = ['"arguments"', '"input"', '"args"'].map((name) => Buffer.from(name)) as [
	Buffer,
	Buffer,
	Buffer,
];
export const ARGUMENT_FIELDS = {
	chat: [ARGUMENTS],
	messages: [INPUT],
	responses: [ARGUMENTS, INPUT],
	gemini: [ARGS],
} as const;

/** Messages that are looked at, the last ones: an older circle has long been seen. */
const MOST_MESSAGES = 512;
/** Bytes of arguments by which a call is looked for before. */
const LONGEST_NEEDLE = 512;
const QUOTE = 34;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;
const BACKSLASH = 92;

/** What the last rounds of a history are; undefined where the last one is new, or the last word is somebody's that is. */
export function repeatedRounds(history: ToolHistory): RepeatedRounds | undefined {
	return mayRepeat(history) ? repeatsOf(stepsIn(history.list.toString())) : undefined;
}

/**
 * Whether the last call of a tool stands there once more, with the same arguments: false is certain. A native search over the bytes: to make a
 * text of them, or to pass over it, would take ten times as long.
 */
function mayRepeat({ list, argumentFields }: ToolHistory): boolean {
	let at = -1;
	for (const field of argumentFields) at = Math.max(at, list.lastIndexOf(field));
	if (at === -1) return false;
	const end = argumentsEnd(list, at);
	return list.subarray(0, end - 1).includes(list.subarray(at, end));
}

/** Past the arguments in the field that stands there, as far as that can be seen at once: of an object past what ends first in it. */
function argumentsEnd(list: Buffer, at: number): number {
	const most = Math.min(list.length, at + LONGEST_NEEDLE);
	let from = list.indexOf(":", at) + 1;
	while (from < most && list[from] !== QUOTE && list[from] !== OPEN_BRACE) from++;
	const last = list[from] === QUOTE ? QUOTE : CLOSE_BRACE;
	for (let end = from + 1; end < most; end++) if (list[end] === last && list[end - 1] !== BACKSLASH) return end + 1;
	return most;
}

/** A step of a conversation: a round of tools, or a word of its user's; by its hash. */
interface Step {
	readonly hash: bigint;
	readonly isRound: boolean;
	/** Of its calls; "" where clients give them none, as Google's do. */
	readonly ids: string;
}

function repeatsOf(steps: readonly Step[]): RepeatedRounds | undefined {
	if (steps.at(-1)?.isRound !== true) return undefined;
	const seen = new Set<bigint>();
	let newest = 0;
	for (const [at, { hash }] of steps.entries()) {
		if (seen.has(hash)) continue;
		seen.add(hash);
		newest = at;
	}
	const repeated = steps.slice(newest + 1).filter(({ isRound }) => isRound);
	if (repeated.length === 0) return undefined;
	const distinct = new Set(repeated.map(({ hash }) => hash)).size;
	const run = Bun.hash.wyhash([steps[newest]!, repeated[0]!].map(({ hash, ids }) => `${hash} ${ids}`).join("\n"));
	return { count: repeated.length, distinct, run };
}

/** Gathers what messages say until a step is complete. */
class Steps {
	readonly all: Step[] = [];
	#calls: string[] = [];
	#results: string[] = [];
	#ids: (string | undefined)[] = [];

	call(name: unknown, input: unknown, id: unknown): void {
		// The model's next turn.
		if (this.#results.length > 0) this.end();
		this.#ids.push(textOf(id));
		this.#calls.push(`${textOf(name)}\0${textOf(input)}`);
	}

	result(content: unknown): void {
		this.#results.push(plainText(content).replace(VOLATILE, ""));
	}

	said(text: string): void {
		if (text === "" || text.startsWith(REMINDER)) return;
		this.end();
		this.all.push({ hash: Bun.hash.wyhash(text), isRound: false, ids: "" });
	}

	/** The round at hand is complete. Calls that nothing has answered are none. */
	end(): void {
		const isRound = this.#calls.length > 0 && this.#results.length > 0;
		// Tools that run at once answer in any order.
		const text = isRound ? JSON.stringify([this.#calls.sort(), this.#results.sort()]) : "";
		if (isRound) this.all.push({ hash: Bun.hash.wyhash(text), isRound, ids: this.#ids.join(" ") });
		this.#ids = [];
		this.#calls = [];
		this.#results = [];
	}
}

/** What Claude Code says of its own accord beside a result. */
const REMINDER = "<system-reminder>";
/**
 * What is another one each time a command gives the same: Codex's number of the output and its time, gemini-cli's of the process. Between them
 * the results say what has come of the call.
 */
const VOLATILE = /(?:Chunk ID|Wall time|Process Group PGID): [^\n\\]*|\\?"duration_seconds\\?":\s*[\d.]+/g;

/** A text as it is, anything else as JSON: to make a string of an object is to call what its client has named `toString`. */
const textOf = (value: unknown): string | undefined => (typeof value === "string" ? value : JSON.stringify(value));

/** Any object of a message. */
type Part = Readonly<Record<string, unknown>>;

const isPart = (value: unknown): value is Part => typeof value === "object" && value !== null && !Array.isArray(value);
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

function stepsIn(list: string): readonly Step[] {
	const steps = new Steps();
	if (list[0] !== "[") return steps.all;
	for (const { start, end } of itemsOf(list, 0).slice(-MOST_MESSAGES)) {
		const message: unknown = JSON.parse(list.slice(start, end));
		if (isPart(message)) addMessage(steps, message);
	}
	steps.end();
	return steps.all;
}

/** A message of a chat, of Anthropic's or of Gemini's; or an item of Responses. */
function addMessage(steps: Steps, message: Part): void {
	const { role, type, content } = message;
	if (typeof type === "string" && type !== "message") {
		if (type.endsWith("_call_output")) steps.result(message["output"]);
		else if (type.endsWith("_call")) steps.call(message["name"] ?? type, argumentsOf(message), message["call_id"]);
		return;
	}
	if (role === "tool" || role === "function") {
		steps.result(content);
		return;
	}
	for (const call of [...listOf(message["tool_calls"]), message["function_call"]]) {
		const called = isPart(call) ? (call["function"] ?? call["custom"] ?? call) : undefined;
		if (isPart(called)) steps.call(called["name"], argumentsOf(called), (call as Part)["id"]);
	}
	const said: string[] = [];
	if (typeof content === "string") said.push(content);
	for (const part of [...listOf(content), ...listOf(message["parts"])]) {
		if (isPart(part) && !addPart(steps, part) && typeof part["text"] === "string") said.push(part["text"]);
	}
	// In one message it stands before the results as well as behind them, and answers what came before.
	if (role === "user" || role === undefined) for (const text of said) steps.said(text);
}

const argumentsOf = (call: Part): unknown => call["arguments"] ?? call["input"] ?? call["action"];

/** A part of Anthropic's messages or of Gemini's. False where it is neither a call nor a result. */
function addPart(steps: Steps, part: Part): boolean {
	const call = part["functionCall"] ?? part["function_call"];
	const response = part["functionResponse"] ?? part["function_response"];
	if (isPart(call)) steps.call(call["name"], call["args"], call["id"]);
	else if (isPart(response)) steps.result(response["response"]);
	else if (part["type"] === "tool_use") steps.call(part["name"], part["input"], part["id"]);
	else if (part["type"] === "tool_result") steps.result(part["content"]);
	else return false;
	return true;
}

/** What a result says, whether it is a text, a block or several; marks of what is to be cached are no part of it. */
function plainText(content: unknown): string {
	if (typeof content === "string") return content;
	if (Array.isArray(content)) return content.map(plainText).join("\n");
	if (isPart(content) && typeof content["text"] === "string") return content["text"];
	return JSON.stringify(content) ?? "";
}
