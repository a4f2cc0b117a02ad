/**
 * Chat templates in the structure of those that model families are published with, written for this project, and what vLLM makes of a chat request
 * before it applies one: arguments of calls become objects, `chat_template_kwargs` and the effort are variables, parts of text are joined.
 */
import { Template } from "@huggingface/jinja";
import { encode as encodeCl100k } from "gpt-tokenizer/encoding/cl100k_base";
import { encode as encodeHarmony } from "gpt-tokenizer/encoding/o200k_harmony";
import type { Loose } from "./exchange.ts";

/** Qwen 3's structure: tools in the system message, results of tools in turns of the user's, thoughts only behind the user's last question. */
const QWEN = `
{%- if tools %}
	{{- '<|im_start|>system\\n' }}
	{%- if messages[0].role == 'system' %}
		{{- messages[0].content + '\\n\\n' }}
	{%- endif %}
	{{- '# Tools\\n\\nFunctions that may help with the question are described below, between <tools> and </tools>:\\n<tools>' }}
	{%- for tool in tools %}
		{{- '\\n' }}
		{{- tool | tojson }}
	{%- endfor %}
	{{- '\\n</tools>\\n\\nA call is a JSON object with a name and arguments, between <tool_call> and </tool_call>.<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
	{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set state = namespace(is_searching=true, last_question=messages|length - 1) %}
{%- for message in messages[::-1] %}
	{%- set index = (messages|length - 1) - loop.index0 %}
	{%- if state.is_searching and message.role == 'user' and message.content is string and not (message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
		{%- set state.is_searching = false %}
		{%- set state.last_question = index %}
	{%- endif %}
{%- endfor %}
{%- for message in messages %}
	{%- if message.content is string %}
		{%- set content = message.content %}
	{%- else %}
		{%- set content = '' %}
	{%- endif %}
	{%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
		{{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
	{%- elif message.role == 'assistant' %}
		{%- set thought = '' %}
		{%- if message.reasoning_content is string %}
			{%- set thought = message.reasoning_content %}
		{%- endif %}
		{{- '<|im_start|>assistant\\n' }}
		{%- if loop.index0 > state.last_question and (loop.last or thought) %}
			{{- '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' }}
		{%- endif %}
		{{- content }}
		{%- if message.tool_calls %}
			{%- for call in message.tool_calls %}
				{%- if (loop.first and content) or not loop.first %}
					{{- '\\n' }}
				{%- endif %}
				{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
				{{- call.function.arguments | tojson }}
				{{- '}\\n</tool_call>' }}
			{%- endfor %}
		{%- endif %}
		{{- '<|im_end|>\\n' }}
	{%- elif message.role == 'tool' %}
		{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}
			{{- '<|im_start|>user' }}
		{%- endif %}
		{{- '\\n<tool_response>\\n' + content + '\\n</tool_response>' }}
		{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}
			{{- '<|im_end|>\\n' }}
		{%- endif %}
	{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
	{{- '<|im_start|>assistant\\n' }}
	{%- if enable_thinking is defined and enable_thinking is false %}
		{{- '<think>\\n\\n</think>\\n\\n' }}
	{%- endif %}
{%- endif %}`;

/** Llama 3.1's: the day in the system message, the tools in the first question, one call at a time. */
const LLAMA = `
{{- '<|begin_of_text|>' }}
{%- if messages[0].role == 'system' %}
	{%- set system = messages[0].content | trim %}
	{%- set messages = messages[1:] %}
{%- else %}
	{%- set system = '' %}
{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}
{%- if tools %}
	{{- 'Environment: ipython\\n' }}
{%- endif %}
{{- 'Knowledge ends: December 2023\\nToday: ' + strftime_at('%d %b %Y') + '\\n\\n' + system + '<|eot_id|>' }}
{%- if tools %}
	{%- if messages | length == 0 or messages[0].role != 'user' %}
		{{- raise_exception('There is no first question to put the tools into.') }}
	{%- endif %}
	{%- set question = messages[0].content | trim %}
	{%- set messages = messages[1:] %}
	{{- '<|start_header_id|>user<|end_header_id|>\\n\\nAnswer with the JSON of a call of one of these functions, with its name and parameters.\\n\\n' }}
	{%- for tool in tools %}
		{{- tool | tojson(indent=4) }}
		{{- '\\n\\n' }}
	{%- endfor %}
	{{- question + '<|eot_id|>' }}
{%- endif %}
{%- for message in messages %}
	{%- if message.tool_calls %}
		{%- if message.tool_calls | length != 1 %}
			{{- raise_exception('Only one call at a time is possible.') }}
		{%- endif %}
		{%- set call = message.tool_calls[0].function %}
		{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + call.name + '", "parameters": ' }}
		{{- call.arguments | tojson }}
		{{- '}<|eot_id|>' }}
	{%- elif message.role == 'tool' %}
		{{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' + (message.content | tojson) + '<|eot_id|>' }}
	{%- else %}
		{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + (message.content | trim) + '<|eot_id|>' }}
	{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
	{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}`;

/** gpt-oss's: day and effort in a system message of the model's own, instructions and tools in a developer's, thoughts only behind the last answer. */
const HARMONY = `
{{- '<|start|>system<|message|>You are a large language model.\\nKnowledge ends: 2024-06\\nCurrent date: ' + strftime_at('%Y-%m-%d') }}
{{- '\\n\\nReasoning: ' + (reasoning_effort if reasoning_effort is defined else 'medium') }}
{{- '\\n\\n# Valid channels: analysis, commentary, final.<|end|>' }}
{%- set instructions = '' %}
{%- if messages[0].role == 'system' or messages[0].role == 'developer' %}
	{%- set instructions = messages[0].content %}
	{%- set messages = messages[1:] %}
{%- endif %}
{%- if instructions or tools %}
	{{- '<|start|>developer<|message|>' }}
	{%- if instructions %}
		{{- '# Instructions\\n\\n' + instructions + '\\n\\n' }}
	{%- endif %}
	{%- if tools %}
		{{- '# Tools\\n\\n## functions\\n\\nnamespace functions {\\n\\n' }}
		{%- for tool in tools %}
			{%- set function = tool.function %}
			{{- '// ' + (function.description or '') + '\\ntype ' + function.name + ' = (_: {\\n' }}
			{%- for name, property in function.parameters.properties.items() %}
				{%- if property.description %}
					{{- '// ' + property.description + '\\n' }}
				{%- endif %}
				{{- name + ('' if name in function.parameters.required else '?') + ': ' + (property.type or 'any') + ',\\n' }}
			{%- endfor %}
			{{- '}) => any;\\n\\n' }}
		{%- endfor %}
		{{- '} // namespace functions' }}
	{%- endif %}
	{{- '<|end|>' }}
{%- endif %}
{%- set state = namespace(called=none) %}
{%- for message in messages %}
	{%- if message.role == 'assistant' %}
		{%- set later = namespace(has_answer=false) %}
		{%- for other in messages[loop.index:] %}
			{%- if other.role == 'assistant' and not other.tool_calls %}
				{%- set later.has_answer = true %}
			{%- endif %}
		{%- endfor %}
		{%- if message.tool_calls %}
			{%- if message.reasoning_content and not later.has_answer %}
				{{- '<|start|>assistant<|channel|>analysis<|message|>' + message.reasoning_content + '<|end|>' }}
			{%- endif %}
			{%- if message.content %}
				{{- '<|start|>assistant<|channel|>commentary<|message|>' + message.content + '<|end|>' }}
			{%- endif %}
			{%- for call in message.tool_calls %}
				{%- set state.called = call.function.name %}
				{{- '<|start|>assistant to=functions.' + call.function.name + '<|channel|>commentary json<|message|>' }}
				{{- call.function.arguments | tojson }}
				{{- '<|call|>' }}
			{%- endfor %}
		{%- else %}
			{{- '<|start|>assistant<|channel|>final<|message|>' + message.content + '<|end|>' }}
		{%- endif %}
	{%- elif message.role == 'tool' %}
		{%- if state.called is none %}
			{{- raise_exception('A result stands there without a call.') }}
		{%- endif %}
		{{- '<|start|>functions.' + state.called + ' to=assistant<|channel|>commentary<|message|>' + (message.content | tojson) + '<|end|>' }}
	{%- else %}
		{{- '<|start|>' + message.role + '<|message|>' + message.content + '<|end|>' }}
	{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
	{{- '<|start|>assistant' }}
{%- endif %}`;

/** A model family: how its prompts are written, and cut into tokens. */
export interface ModelFamily {
	/**
	 * The prompt's tokens. Throws where the template refuses the conversation.
	 * @param chat the body that the server got
	 * @param opensAnswer what stands before the answer is part of it, as in a prompt that is answered
	 */
	tokens(chat: Loose, opensAnswer?: boolean): readonly number[];
}

type Encode = (text: string, options: { allowedSpecial: "all" }) => number[];

function family(text: string, encode: Encode): ModelFamily {
	const template = new Template(text);
	return {
		tokens: (chat, opensAnswer = true) =>
			encode(template.render(variablesOf(chat, opensAnswer)), { allowedSpecial: "all" }),
	};
}

/** By the family's name. Qwen's and Llama's own vocabularies grew out of the one that stands for them here. */
export const MODEL_FAMILIES: Readonly<Record<string, ModelFamily>> = {
	"Qwen 3": family(QWEN, encodeCl100k as Encode),
	"Llama 3.1": family(LLAMA, encodeCl100k as Encode),
	"gpt-oss": family(HARMONY, encodeHarmony as Encode),
};

function variablesOf({ messages, tools, reasoning_effort, chat_template_kwargs }: Loose, opensAnswer: boolean): Loose {
	return {
		messages: (messages as Loose[]).map(templateMessage),
		...(tools ? { tools } : {}),
		...(reasoning_effort ? { reasoning_effort } : {}),
		...chat_template_kwargs,
		add_generation_prompt: opensAnswer,
		// The templates' `strftime_now`, on one day: a new day is a new prompt for those that say it.
		strftime_at: (format: string) =>
			format.replace("%d", "30").replace("%b", "Nov").replace("%m", "11").replace("%Y", "2026"),
	};
}

function templateMessage({ content, tool_calls, reasoning, ...message }: Loose): Loose {
	const calls = (tool_calls as Loose[] | undefined)?.map(({ function: called, ...call }) => ({
		...call,
		function: { ...called, arguments: JSON.parse(called.arguments) },
	}));
	const text = Array.isArray(content) ? content.map((part) => part.text).join("\n") : content;
	return {
		...message,
		content: text,
		...(calls ? { tool_calls: calls } : {}),
		...(reasoning ? { reasoning_content: reasoning } : {}),
	};
}
