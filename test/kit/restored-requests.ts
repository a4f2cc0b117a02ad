/**
 * Recorded requests of clients at their full length: the recordings keep of a long text its beginning and how long it was, and of a list its first
 * item and the names of the others. What was cut is filled with words that are the same on each run; what a client sent was longer still.
 */
import { type ClientRequest, clientRequests } from "./client-recordings.ts";
import type { Loose } from "./exchange.ts";
import { random } from "./random.ts";

const WORDS =
	"a file the command path line when tool shows before after each list returns only user code folder text if not must name";

/** A text that was cut: its beginning, and its length in characters. */
const CUT_TEXT = /^(.*)… <(\d+) characters>$/s;

/** Words up to a length, the same for the same beginning. */
function filled(beginning: string, length: number): string {
	const words = WORDS.split(" ");
	const source = random(Bun.hash.crc32(beginning));
	let text = beginning;
	while (text.length < length) text += ` ${source.pick(words)}`;
	return text.slice(0, length);
}

const namesOf = (cut: Loose): readonly string[] => (cut["…more"] as string[]).map((name) => name.split(":").at(-1)!);
const isCut = (value: unknown): value is Loose => typeof value === "object" && value !== null && "…more" in value;

function restored(value: unknown): unknown {
	if (typeof value === "string") {
		const [, beginning, length] = CUT_TEXT.exec(value) ?? [];
		return beginning === undefined ? value : filled(beginning, Number(length));
	}
	if (Array.isArray(value))
		return value
			.filter((item) => !isCut(item))
			.map(restored)
			.concat(value.filter(isCut).flatMap((cut) => othersOf(value[0], cut)));
	if (typeof value !== "object" || value === null) return value;
	const properties = Object.entries(value).filter(([name]) => name !== "…more");
	const others = isCut(value) ? namesOf(value) : [];
	return Object.fromEntries([
		...properties.map(([name, inner]) => [name, restored(inner)]),
		...others.map((name) => [name, { description: filled(`The ${name}`, 60), type: "string" }]),
	]);
}

/** Items like the first one, under the names of those that were cut; its own name, and kinds without one, stand there already. */
function othersOf(first: unknown, cut: Loose): unknown[] {
	const kinds = (cut["…more"] as string[]).filter((each) => !/^namespace:|:None$/.test(each));
	const like = restored(first) as Loose;
	return namesOf({ "…more": kinds })
		.filter((name) => name !== like["name"])
		.map((name) => ({ ...like, name, description: filled(`${name} does`, String(like["description"]).length) }));
}

/** The requests of one file, restored. */
export const restoredRequests = (file: string): ClientRequest[] =>
	clientRequests(file, true).map((request) => ({ ...request, body: restored(request.body) as Loose }));
