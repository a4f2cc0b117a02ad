#!/bin/sh
# The AI SDK's OpenAI provider throws a whole chat answer away for one annotation that is no citation.
#
# Seen with @ai-sdk/openai 4.0.118 on 2026-11-29.
# The guess: a client passes over what it does not know in an answer, as it does with fields, so that a server may add annotations of its
# own kinds (files, places) for clients that read them. What is so: `annotations` is a list of `url_citation` alone, and any other type,
# wherever it stands in the list, makes the call fail with "Invalid JSON response", though the answer's text is there.
# Output seen:
#   no annotations: hello
#   a url_citation: hello
#   a file_citation: Invalid JSON response
#   a file_citation behind a url_citation: Invalid JSON response
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true, "type": "module" }' >package.json
npm install --ignore-scripts --no-audit --no-fund --silent @ai-sdk/openai@4.0.118 zod@4.6.7
cat >seen.js <<'JS'
import { createOpenAI } from "@ai-sdk/openai";
const cited = { type: "url_citation", url_citation: { start_index: 0, end_index: 5, url: "https://example.com", title: "t" } };
const file = { type: "file_citation", file_citation: { file_id: "f", index: 0 } };
async function show(what, annotations) {
	const message = { role: "assistant", content: "hello", annotations };
	const answer = {
		id: "x", object: "chat.completion", created: 1, model: "m",
		choices: [{ index: 0, message, finish_reason: "stop" }],
		usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
	};
	const openai = createOpenAI({ apiKey: "k", fetch: async () => Response.json(answer) });
	const prompt = [{ role: "user", content: [{ type: "text", text: "hi" }] }];
	const seen = await openai.chat("m").doGenerate({ prompt }).then(({ content }) => content.find(({ type }) => type === "text").text, ({ message }) => message);
	console.log(`${what}: ${seen}`);
}
await show("no annotations", []);
await show("a url_citation", [cited]);
await show("a file_citation", [file]);
await show("a file_citation behind a url_citation", [cited, file]);
JS
node seen.js | tee seen
printf '%s\n' 'no annotations: hello' 'a url_citation: hello' 'a file_citation: Invalid JSON response' \
	'a file_citation behind a url_citation: Invalid JSON response' | cmp -s - seen || { echo "changed: see above" >&2; exit 1; }
