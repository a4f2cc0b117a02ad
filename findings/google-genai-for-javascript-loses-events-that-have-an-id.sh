#!/bin/sh
# Google's client for JavaScript loses, without an error, each event of a stream that has a further field before its data.
#
# Seen with @google/genai 3.3.0 on 2026-11-30.
# The guess: a field that a client has no use for (`id`, `retry`, the event's name) is passed over, as the specification of event streams
# says (https://html.spec.whatwg.org/multipage/server-sent-events.html), or the call fails. What is so: the answer is empty, and complete as far as the caller can
# tell. A comment between events is passed over, one within an event loses it, too.
# Output seen:
#   data alone: ["hello"]
#   a comment between events: ["hello"]
#   a comment within the event: []
#   an id: []
#   a time to retry: []
#   the name that events have anyway: []
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true, "type": "module" }' >package.json
npm install --ignore-scripts --no-audit --no-fund --silent @google/genai@3.3.0
cat >seen.js <<'JS'
import { GoogleGenAI } from "@google/genai";
const answer = { candidates: [{ content: { role: "model", parts: [{ text: "hello" }] }, finishReason: "STOP", index: 0 }] };
const event = `data: ${JSON.stringify(answer)}\n\n`;
let stream = "";
globalThis.fetch = async () => new Response(stream, { headers: { "content-type": "text/event-stream" } });
const client = new GoogleGenAI({ apiKey: "k" });
async function show(what, text) {
	stream = text;
	const seen = [];
	for await (const chunk of await client.models.generateContentStream({ model: "m", contents: "hi" })) seen.push(chunk.text);
	console.log(`${what}: ${JSON.stringify(seen)}`);
}
await show("data alone", event);
await show("a comment between events", `: ping\n\n${event}`);
await show("a comment within the event", `: ping\n${event}`);
await show("an id", `id: 1\n${event}`);
await show("a time to retry", `retry: 1000\n${event}`);
await show("the name that events have anyway", `event: message\n${event}`);
JS
node seen.js | tee seen
printf '%s\n' 'data alone: ["hello"]' 'a comment between events: ["hello"]' 'a comment within the event: []' 'an id: []' \
	'a time to retry: []' 'the name that events have anyway: []' | cmp -s - seen || { echo "changed: see above" >&2; exit 1; }
