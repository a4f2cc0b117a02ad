/** Ollama's client, with the loop of tools that its documentation shows. */
import { Ollama } from "ollama";
import { DESCRIPTION, key, model, prompt, readNote, TOOL, tell, url } from "./task.mjs";

const client = new Ollama({ host: url, headers: { authorization: `Bearer ${key}` } });
const parameters = { type: "object", required: ["name"], properties: { name: { type: "string" } } };
const tools = [{ type: "function", function: { name: TOOL, description: DESCRIPTION, parameters } }];

/** One answer, put together of its pieces where it is streamed. */
async function answer(messages, stream) {
	const asked = { model, messages, tools };
	if (!stream) return (await client.chat(asked)).message;
	const whole = { role: "assistant", content: "", tool_calls: [] };
	for await (const { message } of await client.chat({ ...asked, stream })) {
		whole.content += message.content;
		whole.tool_calls.push(...(message.tool_calls ?? []));
	}
	return whole;
}

for (const stream of [false, true]) {
	const messages = [{ role: "user", content: prompt }];
	for (let turn = 0; turn < 6; turn++) {
		const message = await answer(messages, stream);
		messages.push(message);
		if (!message.tool_calls?.length) break;
		for (const { function: call } of message.tool_calls) {
			messages.push({ role: "tool", tool_name: call.name, content: readNote(call.arguments) });
		}
	}
	tell(stream ? "streamed" : "whole", messages.at(-1).content);
}
