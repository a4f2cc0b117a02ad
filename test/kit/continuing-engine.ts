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
	if (!whole.startsWith(begun))
		return Response.json({ error: { message: `not of this answer: ${begun}` } }, { status: 400 });
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
export function readChatStream(text: string): {
	readonly content: string;
	readonly isDone: boolean;
	readonly error: unknown;
} {
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

/** A vLLM of one model that answers streams so: the first message says how many words, with a pause of 10 ms between them. */
export function continuingEngine(model: string): { readonly url: string; stop(): Promise<void> } {
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		idleTimeout: 0,
		async fetch(request) {
			const { pathname } = new URL(request.url);
			if (pathname === "/v1/models") return Response.json({ object: "list", data: [{ id: model, object: "model" }] });
			if (request.method === "GET") return new Response("");
			const call = (await request.json()) as FakeCall;
			const words = Number(call.messages[0]!.content);
			if (call.stream) return continuingStream(call, words, 10);
			const choice = { index: 0, message: { role: "assistant", content: answerOf(words) }, finish_reason: "stop" };
			return Response.json({ id: "x", object: "chat.completion", created: 1, model, choices: [choice] });
		},
	});
	return { url: server.url.origin, stop: () => server.stop(true) };
}
