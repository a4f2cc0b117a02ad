/** The JSON of answers and of stream events, field by field as vLLM writes them. */
import type { Plan } from "./plan.ts";
import type { Json } from "./request.ts";
import type { Said, Usage } from "./serving.ts";

/** What all chunks and the answer of a call share. */
export interface Head {
	readonly id: string;
	readonly created: number;
	readonly model: string;
}

/** A choice while it is said. */
interface ChoiceText {
	readonly reasoning: string;
	readonly content: string;
	readonly calls: { readonly name: string; readonly args: string } | undefined;
}

/** Puts pieces together again. */
export function collect(pieces: readonly Said[], choice: number): ChoiceText {
	const text = (kind: string) =>
		pieces
			.filter((said) => said.choice === choice && said.part.kind === kind)
			.map(({ piece }) => piece)
			.join("");
	const name = pieces.find((said) => said.choice === choice && said.part.kind === "call")?.part.tool;
	return {
		reasoning: text("reasoning"),
		content: text("content"),
		calls: name === undefined ? undefined : { name, args: text("call") },
	};
}

/** `chat.completion`. */
export function chatAnswer(
	head: Head,
	plans: readonly Plan[],
	pieces: readonly Said[],
	usage: Usage,
	aborted: boolean,
): Json {
	return {
		...objectHead(head, "chat.completion"),
		choices: plans.map((plan, index) => {
			const { reasoning, content, calls } = collect(pieces, index);
			return {
				index,
				message: {
					role: "assistant",
					content: calls ? null : content,
					refusal: null,
					annotations: null,
					audio: null,
					function_call: null,
					...(calls
						? {
								tool_calls: [
									{ id: toolId(head, index), type: "function", function: { name: calls.name, arguments: calls.args } },
								],
							}
						: { tool_calls: [] }),
					reasoning: reasoning || null,
					reasoning_content: reasoning || null,
				},
				logprobs: null,
				finish_reason: aborted ? "abort" : plan.finish,
				stop_reason: plan.stopped,
				token_ids: null,
			};
		}),
		service_tier: null,
		system_fingerprint: null,
		usage,
		prompt_logprobs: null,
		prompt_token_ids: null,
		kv_transfer_params: null,
	};
}

/** `text_completion`. */
export function textAnswer(
	head: Head,
	texts: readonly { readonly text: string; readonly plan: Plan; readonly aborted: boolean }[],
	usage: Usage,
): Json {
	return {
		...objectHead(head, "text_completion"),
		choices: texts.map(({ text, plan, aborted }, index) => ({
			index,
			text,
			logprobs: null,
			finish_reason: aborted ? "abort" : plan.finish,
			stop_reason: plan.stopped,
			token_ids: null,
			prompt_logprobs: null,
			prompt_token_ids: null,
		})),
		service_tier: null,
		system_fingerprint: null,
		usage,
		kv_transfer_params: null,
	};
}

/** The first event of each choice. */
export const roleChunk = (head: Head, index: number): Json => ({
	...objectHead(head, "chat.completion.chunk"),
	choices: [{ index, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null }],
	prompt_token_ids: null,
});

/** One piece of a chat. `first`: of its part. */
export function chatChunk(head: Head, said: Said, plan: Plan, first: boolean): Json {
	const { choice: index, part, piece, last } = said;
	const call = { index: 0, function: { ...(first && { name: part.tool }), arguments: piece } };
	const delta = {
		reasoning: { reasoning: piece, reasoning_content: piece },
		content: { content: piece },
		end: { content: "" },
		call: { tool_calls: [first ? { id: toolId(head, index), type: "function", ...call } : call] },
	}[part.kind];
	return {
		...objectHead(head, "chat.completion.chunk"),
		choices: [
			{
				index,
				delta,
				logprobs: null,
				finish_reason: last ? plan.finish : null,
				...(last && { stop_reason: plan.stopped }),
				token_ids: null,
			},
		],
	};
}

/** One piece of a completion. */
export const textChunk = (head: Head, index: number, said: Said, plan: Plan): Json => ({
	...objectHead(head, "text_completion"),
	choices: [
		{
			index,
			text: said.piece,
			logprobs: null,
			finish_reason: said.last ? plan.finish : null,
			stop_reason: said.last ? plan.stopped : null,
		},
	],
});

/** The event with usage, and no choice. */
export const usageChunk = (head: Head, object: string, usage: Usage): Json => ({
	...objectHead(head, object),
	choices: [],
	usage,
});

const objectHead = ({ id, created, model }: Head, object: string) => ({ id, object, created, model });
const toolId = ({ id }: Head, index: number) => `chatcmpl-tool-${id.slice(-12)}${index}`;
