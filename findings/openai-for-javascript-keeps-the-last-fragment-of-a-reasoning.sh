#!/bin/sh
# OpenAI's client for JavaScript keeps only the last fragment of a streamed `reasoning_content`, and its tool loop sends none of it back.
#
# Seen with openai 6.49.0 for JavaScript and openai 3.57.0 for Python on 2026-11-30.
# The guess: the helper that puts a streamed chat answer together (`chat.completions.stream`) joins the fragments of a field that its types do
# not name (`reasoning_content` of DeepSeek, `reasoning` of vLLM), as it does with `content`, or leaves the field out; and that `runTools`, which
# calls the model again with a tool's result, sends the assistant's message back as it came. What is so: in JavaScript each fragment takes the
# place of the one before, in Python they are joined. `runTools` drops the field, streamed or not, so that a model that wants the reasoning
# behind a tool call back has to be called without it.
# Output seen:
#   JavaScript, streamed: "a tool."
#   JavaScript, not streamed: "This needs a tool."
#   JavaScript, sent back with a tool's result: undefined
#   Python, streamed: "This needs a tool."
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true, "type": "module" }' >package.json
npm install --ignore-scripts --no-audit --no-fund --silent openai@6.49.0
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check openai==3.57.0
cat >seen.js <<'JS'
import { writeFileSync } from "node:fs";
import OpenAI from "openai";
const call = { index: 0, id: "c", type: "function", function: { name: "now", arguments: "{}" } };
const answer = { id: "x", created: 1, model: "m" };
const chunk = (delta, finish_reason = null) =>
	`data: ${JSON.stringify({ ...answer, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
const fragments = ["This ", "needs ", "a tool."].map((reasoning_content) => chunk({ role: "assistant", reasoning_content }));
const stream = `${fragments.join("")}${chunk({ tool_calls: [call] })}${chunk({}, "tool_calls")}data: [DONE]\n\n`;
writeFileSync("stream", stream);
const message = { role: "assistant", content: null, reasoning_content: "This needs a tool.", tool_calls: [call] };
const whole = { ...answer, object: "chat.completion", choices: [{ index: 0, message, finish_reason: "tool_calls" }] };
let sent;
const fetch = async (_, { body }) => {
	sent = JSON.parse(body);
	return sent.stream ? new Response(stream, { headers: { "content-type": "text/event-stream" } }) : Response.json(whole);
};
const { completions } = new OpenAI({ apiKey: "k", fetch }).chat;
const show = (what, { reasoning_content }) => console.log(`JavaScript, ${what}: ${JSON.stringify(reasoning_content)}`);
const ask = { model: "m", messages: [{ role: "user", content: "hi" }] };
show("streamed", await completions.stream(ask).finalMessage());
show("not streamed", (await completions.create(ask)).choices[0].message);
const tools = [{ type: "function", function: { name: "now", function: () => "noon", parameters: { type: "object" } } }];
await completions.runTools({ ...ask, tools }, { maxChatCompletions: 2 }).done();
show("sent back with a tool's result", sent.messages[1]);
JS
cat >seen.py <<'PY'
import json, httpx2, openai

answer = lambda _: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=open("stream").read())
client = openai.OpenAI(api_key="k", http_client=httpx2.Client(transport=httpx2.MockTransport(answer)))
with client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "hi"}]) as stream:
    print("Python, streamed:", json.dumps(stream.get_final_completion().choices[0].message.reasoning_content))
PY
{ node seen.js; python/bin/python seen.py; } | tee seen
printf '%s\n' 'JavaScript, streamed: "a tool."' 'JavaScript, not streamed: "This needs a tool."' "JavaScript, sent back with a tool's result: undefined" \
	'Python, streamed: "This needs a tool."' | cmp -s - seen || { echo "changed: see above" >&2; exit 1; }
