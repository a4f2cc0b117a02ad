/** The answer to a call for a conversation in short. */
import { objectIn } from "../../openai/usage.ts";
import { literalText } from "../content-template.ts";
import type { ItemStatus, ResponseIds } from "./output-items.ts";
import type { WriteEvent } from "./streamed-message.ts";
import { compactionItem } from "./summary.ts";

/** The output of a compaction as it comes: nothing until it is whole, then the one item that clients want. */
export class CompactionOutput {
	readonly items: string[] = [];
	#text = "";

	constructor(
		private readonly ids: ResponseIds,
		private readonly event: WriteEvent,
	) {}

	/** No words go on before all are there. */
	get openWords(): undefined {
		return undefined;
	}

	get openThoughts(): undefined {
		return undefined;
	}

	openArguments(): undefined {
		return undefined;
	}

	say(literal: string): string {
		this.#text += literalText(literal);
		return "";
	}

	/** What it is made by is none of it. */
	sayThoughts(): string {
		return "";
	}

	/** It calls nothing. */
	sayArguments(): string {
		return "";
	}

	/** Takes a piece of the summary. */
	push({ content }: Readonly<Record<string, unknown>>): string {
		if (typeof content === "string") this.#text += content;
		return "";
	}

	/** The item. A summary that says nothing, or was cut off, is none: the client goes on with what it has. */
	end(status: ItemStatus): string {
		if (status !== "completed" || this.#text.trim() === "") return "";
		const item = JSON.stringify(compactionItem(this.ids.item("compaction"), this.#text));
		this.items.push(item);
		const fields = `"output_index":0,"item":${item}`;
		return this.event("response.output_item.added", fields) + this.event("response.output_item.done", fields);
	}

	/** Half a summary is none. */
	soFar(): readonly string[] {
		return this.items;
	}
}

/** The output of a whole answer. */
export function compactionOutput(message: unknown, ids: ResponseIds, status: ItemStatus): object[] {
	if (status !== "completed") return [];
	const content = objectIn(message)?.["content"];
	return typeof content === "string" && content.trim() !== "" ? [compactionItem(ids.item("compaction"), content)] : [];
}
