/** Turns of a model that looks for something by its tool `look`, as strict servers of Claude's and Gemini's wire say them. */
import type { Loose } from "./exchange.ts";

const text = (said: string) => ({ type: "text", text: said });
const thinking = (thought: string) => ({ type: "thinking", thinking: thought });
const use = (id: string, input: Loose = {}) => ({ type: "tool_use", id: `toolu_${id}`, name: "look", input });

/** Five turns: plain, redacted, several calls with thoughts and words between them, thoughts whose text is kept back, the end. */
export const CLAUDE_TURNS = [
	[thinking("Where is it?"), use("1", { at: "home" })],
	[{ type: "redacted_thinking" }, text("Not at home. "), use("2", { at: "work", floor: 12 })],
	[
		thinking("Two places at once."),
		text("Ah, "),
		thinking("No, three — 🙂."),
		text("three places."),
		use("3a"),
		thinking("And then?"),
		use("3b", { at: "car" }),
		use("3c", { at: "park" }),
	],
	[thinking(""), use("4a", { at: "bag" }), thinking("Sure?"), use("4b")],
	[thinking("There."), text("It was in the bag.")],
];

const calling = (id: string | undefined, args: Loose, sign = true) => ({
	functionCall: { ...(id ? { id } : {}), name: "look", args },
	...(sign ? { sign } : {}),
});
/** Four turns with calls, one of them without an id, and the end. */
export const GEMINI_TURNS = [
	[{ text: "Where is it?", thought: true }, calling("a1", { at: "home" })],
	[{ text: "Not at home. " }, calling("a2", { at: "work", floor: 12 })],
	[calling("a3", { at: "car" }), calling("a4", { at: "park" }, false), calling("a5", {}, false)],
	[calling(undefined, { at: "bag" })],
	[{ text: "It was in the bag.", sign: true }],
];
