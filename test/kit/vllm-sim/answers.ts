/** The JSON of answers and of stream events, field by field as vLLM writes them. */
import type { Usage } from "./counts.ts";
import type { Plan } from "./plan.ts";
import type { Json } from "./request.ts";
import type { Said } from "./serving.ts";

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

/** Pieces of a chat that go out together. `begun`: kinds of parts of which some went out before. */
export function chatChunk(head: Head, pieces: readonly Said[], plan: Plan, begun: ReadonlySet<string>): Json {
	const { choice: index, last } = pieces.at(-1)!;
	const { reasoning, content, calls } = collect(pieces, index);
	const has = (kind: string) => pieces.some(({ part }) => part.kind === kind);
	const isFirst = !begun.has("call");
	const call = { index: 0, function: { ...(isFirst && { name: calls?.name }), arguments: calls?.args } };
	const delta = {
		...(has("reasoning") && { reasoning, reasoning_content: reasoning }),
		...((has("content") || has("end")) && { content }),
		...(has("call") && {
			tool_calls: [isFirst ? { id: toolId(head, index), type: "function", ...call } : call],
		}),
	};
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

/** Pieces of a completion that go out together. */
export function textChunk(head: Head, index: number, pieces: readonly Said[], plan: Plan): Json {
	const { last } = pieces.at(-1)!;
	return {
		...objectHead(head, "text_completion"),
		choices: [
			{
				index,
				text: pieces.map(({ piece }) => piece).join(""),
				logprobs: null,
				finish_reason: last ? plan.finish : null,
				stop_reason: last ? plan.stopped : null,
			},
		],
	};
}

/** The event with usage, and no choice. */
export const usageChunk = (head: Head, object: string, usage: Usage): Json => ({
	...objectHead(head, object),
	choices: [],
	usage,
});

const objectHead = ({ id, created, model }: Head, object: string) => ({ id, object, created, model });
const toolId = ({ id }: Head, index: number) => `chatcmpl-tool-${id.slice(-12)}${index}`;
