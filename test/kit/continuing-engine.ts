/** An engine that writes one known answer, word by word, and goes on from whatever beginning of it a request brings. */
import { DONE, finishEvent, textEvent, usageEvent } from "./events.ts";
import type { FakeCall } from "./fake-agent.ts";

/** The answer: so many words. */
export const answerOf = (words: number): string => Array.from({ length: words }, (_, at) => `word${at} `).join("");

/**
 * Its answer to a stream: the words behind the beginning that the request ends with, each after a pause. A request with a beginning that is
 * none of this answer is refused.
 */
export function continuingStream({ messages }: FakeCall, words: number, pauseMs: number): Response {
	const last = messages.at(-1)!;
	const begun = last.role === "assistant" ? last.content : "";
	const whole = answerOf(words);
	if (!whole.startsWith(begun)) return Response.json({ error: { message: `not of this answer: ${begun}` } }, { status: 400 });
	const pieces = whole.slice(begun.length).match(/\S* /g) ?? [];
	const events = [...pieces.map(textEvent), finishEvent() + usageEvent() + DONE];
	let at = 0;
	const body = new ReadableStream({
		async pull(controller) {
			if (at > 0) await Bun.sleep(pauseMs);
			controller.enqueue(Buffer.from(events[at++]!));
			if (at === events.length) controller.close();
		},
	});
	return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

/** The text of a chat stream, and how it ended. */
export function readChatStream(text: string): { readonly content: string; readonly isDone: boolean; readonly error: unknown } {
	let content = "";
	let error: unknown;
	for (const line of text.split("\n")) {
		if (!line.startsWith("data: {")) continue;
		const event = JSON.parse(line.slice(6)) as { choices?: { delta?: { content?: string } }[]; error?: unknown };
		content += event.choices?.[0]?.delta?.content ?? "";
		error ??= event.error;
	}
	return { content, isDone: text.includes("data: [DONE]"), error };
}
