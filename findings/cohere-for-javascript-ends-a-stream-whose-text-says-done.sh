#!/bin/sh
# Cohere's client for JavaScript ends a stream, without an error, at the first event whose text holds "[DONE]".
#
# Seen with cohere-ai 8.1.0 for JavaScript and cohere 7.3.1 for Python on 2026-11-30.
# The guess: a stream ends at an event whose data is `[DONE]` and nothing else, so that a model may write these letters, as it does whenever it
# is asked for code that reads event streams. What is so: the client for JavaScript looks for them anywhere in the event's JSON. The answer stops there,
# and neither the reason it finished nor its usage comes; a tool's arguments are cut the same way. The one for Python compares the whole data.
# Output seen:
#   JavaScript, "DONE" in a text: "It ends with DONE, always.", last event message-end
#   JavaScript, "[DONE]" in a text: "It ends with ", last event content-delta
#   Python, "DONE" in a text: "It ends with DONE, always.", last event message-end
#   Python, "[DONE]" in a text: "It ends with [DONE], always.", last event message-end
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true, "type": "module" }' >package.json
npm install --ignore-scripts --no-audit --no-fund --silent cohere-ai@8.1.0
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check cohere==7.3.1
cat >seen.js <<'JS'
import { writeFileSync } from "node:fs";
import { CohereClientV2 } from "cohere-ai";
const message = { role: "assistant", content: [], tool_plan: "", tool_calls: [], citations: [] };
for (const marker of ["DONE", "[DONE]"]) {
	const stream = [
		{ type: "message-start", id: "x", delta: { message } },
		{ type: "content-start", index: 0, delta: { message: { content: { type: "text", text: "" } } } },
		...["It ends with ", marker, ", always."].map((text) => ({ type: "content-delta", index: 0, delta: { message: { content: { text } } } })),
		{ type: "content-end", index: 0 },
		{ type: "message-end", delta: { finish_reason: "COMPLETE", usage: { tokens: { input_tokens: 1, output_tokens: 3 } } } },
	].map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
	const body = `${stream.join("")}data: [DONE]\n\n`;
	writeFileSync(marker, body);
	const client = new CohereClientV2({ token: "k", fetch: async () => new Response(body) });
	let text = "";
	let last;
	for await (const event of await client.chatStream({ model: "m", messages: [{ role: "user", content: "hi" }] })) {
		last = event.type;
		if (last === "content-delta") text += event.delta.message.content.text;
	}
	console.log(`JavaScript, "${marker}" in a text: ${JSON.stringify(text)}, last event ${last}`);
}
JS
cat >seen.py <<'PY'
import json, cohere, httpx

for marker in ["DONE", "[DONE]"]:
    answer = lambda _: httpx.Response(200, headers={"content-type": "text/event-stream"}, content=open(marker).read())
    client = cohere.ClientV2(api_key="k", httpx_client=httpx.Client(transport=httpx.MockTransport(answer)))
    events = list(client.chat_stream(model="m", messages=[{"role": "user", "content": "hi"}]))
    text = "".join(event.delta.message.content.text for event in events if event.type == "content-delta")
    print(f'Python, "{marker}" in a text: {json.dumps(text)}, last event {events[-1].type}')
PY
{ node seen.js; python/bin/python seen.py; } | tee seen
whole='"It ends with DONE, always.", last event message-end'
printf '%s\n' "JavaScript, \"DONE\" in a text: $whole" 'JavaScript, "[DONE]" in a text: "It ends with ", last event content-delta' \
	"Python, \"DONE\" in a text: $whole" 'Python, "[DONE]" in a text: "It ends with [DONE], always.", last event message-end' | cmp -s - seen ||
	{ echo "changed: see above" >&2; exit 1; }
