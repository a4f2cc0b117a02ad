#!/bin/sh
# Continue, the coding assistant, loses the rest of an answer that arrives in one read with the comment ": ping".
#
# Seen with @continuedev/fetch 1.9.0, whose streamSse its model adapters read answers with, on 2026-11-30.
# The guess: a comment, which servers send to keep a slow answer's connection open (FastAPI writes ": ping", sse-starlette ": ping - " and the time), is
# passed over, as the specification of event streams says (https://html.spec.whatwg.org/multipage/server-sent-events.html). What is so: a line that begins with
# ": ping" is taken for the end of the stream, as `data: [DONE]` is, but ends only the work on the lines read so far. They are kept until the next read; without
# one, as from a proxy that collects an answer, they are lost, and nothing says so. A comment of any other word is passed over.
# Output seen:
#   no comment: "one two three"
#   ": keep-alive" behind the first event: "one two three"
#   ": ping" behind the first event, all in one read: "one "
#   ": ping" in a read of its own: "one two three"
#   ": ping" in one read with the last event: "one two "
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true, "type": "module" }' >package.json
npm install --ignore-scripts --no-audit --no-fund --silent @continuedev/fetch@1.9.0
cat >seen.js <<'JS'
import { streamSse } from "@continuedev/fetch";
const event = (content) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`;
const [one, two, three, done] = [event("one "), event("two "), event("three"), "data: [DONE]\n\n"];
async function show(what, ...reads) {
	const bytes = reads.map((read) => new TextEncoder().encode(read)).values();
	const pull = (controller) => {
		const { done, value } = bytes.next();
		if (done) controller.close();
		else controller.enqueue(value);
	};
	let text = "";
	const answer = new Response(new ReadableStream({ pull }), { headers: { "content-type": "text/event-stream" } });
	for await (const chunk of streamSse(answer)) text += chunk.choices[0].delta.content;
	console.log(`${what}: ${JSON.stringify(text)}`);
}
await show("no comment", one + two + three + done);
await show('": keep-alive" behind the first event', `${one}: keep-alive\n\n${two}${three}${done}`);
await show('": ping" behind the first event, all in one read', `${one}: ping\n\n${two}${three}${done}`);
await show('": ping" in a read of its own', one, ": ping\n\n", two, three, done);
await show('": ping" in one read with the last event', one, two, `: ping\n\n${three}${done}`);
JS
node seen.js | tee seen
printf '%s\n' 'no comment: "one two three"' '": keep-alive" behind the first event: "one two three"' \
	'": ping" behind the first event, all in one read: "one "' '": ping" in a read of its own: "one two three"' \
	'": ping" in one read with the last event: "one two "' | cmp -s - seen || { echo "changed: see above" >&2; exit 1; }
