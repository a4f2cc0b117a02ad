/**
 * A Messages API that plays a tool loop and is as strict about its thinking as the real one: a block that comes back changed,
 * moved, or behind anything that was changed is a 400 (platform.claude.com, preserved thinking and extended thinking). What else a model
 * refuses is in `claude-refusals.ts`.
 */
import { createHash } from "node:crypto";
import { refusalOf } from "./claude-refusals.ts";
import type { Loose } from "./exchange.ts";

/**
 * The content of each answer in turn, without signatures; `{ type: "text" }` alone ends the loop. `{ type: "json", value }` is an answer in the form
 * that is asked for: text under a grammar, the input of the tool that is forced or named behind the system prompt, else text.
 */
export type Script = readonly (readonly Loose[])[];

/** The fake. */
export interface StrictClaude {
	readonly origin: string;
	/** Bodies that were answered, and what was wrong with those that were not. */
	readonly bodies: Loose[];
	readonly refusals: string[];
	/** Thoughts that were let go, since something before them had changed. */
	readonly dropped: number;
	/** Begins a new loop. */
	play(script: Script): void;
	stop(): Promise<void>;
}

const hash = (value: unknown) => createHash("sha256").update(JSON.stringify(value)).digest("base64");

/** Markers for the cache are no part of what was said. */
const plain = (value: unknown): unknown =>
	JSON.parse(JSON.stringify(value ?? null, (key, inner) => (key === "cache_control" ? undefined : inner)));

/** The signature of a block behind all that stands before it. */
function signatureFor(
	{ system, tools }: Loose,
	before: readonly Loose[],
	turn: readonly Loose[],
	block: Loose,
): string {
	const { signature: _, data: __, ...said } = block;
	return hash(plain([system, tools, before, turn, said]));
}

/** Starts it. @param reply what it answers where no script is played, or that is over */
export function startStrictClaude(reply?: (body: Loose) => readonly Loose[]): StrictClaude {
	const state = { script: [] as Script, bodies: [] as Loose[], refusals: [] as string[], dropped: 0 };
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		async fetch(request) {
			const { pathname } = new URL(request.url);
			if (request.method === "GET") return models(pathname);
			const body = inBlocks((await request.json()) as Loose);
			if (pathname.endsWith("/count_tokens")) return Response.json({ input_tokens: JSON.stringify(body).length >> 2 });
			const problem = problemWith(body, request, () => state.dropped++);
			if (problem) {
				state.refusals.push(problem);
				const error = { type: "invalid_request_error", message: problem };
				return Response.json({ type: "error", error, request_id: "req_1" }, { status: 400 });
			}
			const step = state.bodies.push(body) - 1;
			const over = [{ type: "text", text: "The script is over." }];
			return answer(body, state.script[step] ?? reply?.(body) ?? over, step);
		},
	});
	return {
		origin: `http://127.0.0.1:${server.port}`,
		get bodies() {
			return state.bodies;
		},
		get refusals() {
			return state.refusals;
		},
		get dropped() {
			return state.dropped;
		},
		play: (script) => void Object.assign(state, { script, bodies: [], refusals: [], dropped: 0 }),
		stop: () => server.stop(true),
	};
}

/** Its list of models, which the fake has none of. */
const models = (pathname: string): Response =>
	pathname.endsWith("/models")
		? Response.json({ data: [], has_more: false, first_id: null, last_id: null })
		: Response.json({ type: "error", error: { type: "not_found_error", message: pathname } }, { status: 404 });

/** A text is short for one block of it. */
const inBlocks = (body: Loose): Loose => ({
	...body,
	...(Array.isArray(body["messages"])
		? {
				messages: body["messages"].map((message: Loose) => ({
					...message,
					content:
						typeof message["content"] === "string" ? [{ type: "text", text: message["content"] }] : message["content"],
				})),
			}
		: {}),
});

const VERSIONS = new Set(["2023-06-01", "2026-10-21"]);

const isThought = ({ type }: Loose) => type === "thinking" || type === "redacted_thinking";

function problemWith(body: Loose, request: Request, drop: () => void): string | undefined {
	if (request.headers.get("x-api-key") !== "sk-ant-strict") return "invalid x-api-key";
	if (!VERSIONS.has(request.headers.get("anthropic-version") ?? "")) return "anthropic-version: header is required";
	if (!(body["max_tokens"] > 0)) return "max_tokens: Field required";
	const messages = body["messages"] as Loose[];
	const isDropping = body["thinking"]?.block_binding?.prefix_mismatch_behavior === "drop_block";
	if (
		isDropping &&
		!request.headers.get("anthropic-beta")?.split(",").includes("thinking-binding-controls-2026-08-01")
	) {
		return "thinking.block_binding: Extra inputs are not permitted";
	}
	const refusal = refusalOf(body);
	if (refusal) return refusal;
	for (const [index, { role, content }] of messages.entries()) {
		if (role === messages[index - 1]?.["role"]) return `messages.${index}: roles must alternate`;
		if (role === "system") continue;
		for (const [at, block] of (content as Loose[]).entries()) {
			if (block["type"] === "text" && block["text"] === "") return "messages: text content blocks must be non-empty";
			if (isThought(block)) {
				const signed = block["signature"] ?? block["data"];
				const isBound = signed === signatureFor(body, messages.slice(0, index), content.slice(0, at), block);
				if (!isBound && !isDropping) {
					return `messages.${index}.content.${at}: Invalid \`signature\` in \`thinking\` block. The block is bound to a different conversation.`;
				}
				if (!isBound) drop();
			}
		}
		const used = (role === "assistant" ? content : []).filter(({ type }: Loose) => type === "tool_use");
		const results = (messages[index + 1]?.["content"] ?? []).filter(({ type }: Loose) => type === "tool_result");
		const ids = results.map(({ tool_use_id }: Loose) => tool_use_id);
		if (used.some(({ id }: Loose) => !ids.includes(id))) {
			return `messages.${index}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after`;
		}
	}
	const last = messages.findLast(({ role }) => role === "assistant")?.["content"] as Loose[] | undefined;
	const isLoop = messages.at(-1)?.["content"].some(({ type }: Loose) => type === "tool_result");
	if (body["thinking"]?.type === "enabled" && isLoop && last && !isThought(last[0]!)) {
		return `Expected \`thinking\` or \`redacted_thinking\`, but found \`${last[0]!["type"]}\`. When \`thinking\` is enabled, a final \`assistant\` message must start with a thinking block`;
	}
	return undefined;
}

function answer(body: Loose, script: readonly Loose[], step: number): Response {
	const content: Loose[] = [];
	for (const each of script.filter(({ type }) => type !== "end")) {
		const block = each["type"] === "json" ? inForm(body, each["value"]) : each;
		const signature = signatureFor(body, body["messages"], content, block);
		content.push(
			block["type"] === "thinking"
				? { ...block, signature }
				: block["type"] === "redacted_thinking"
					? { ...block, data: signature }
					: block,
		);
	}
	const asked = script.find((block) => block["type"] === "end")?.["reason"];
	const stop_reason = asked ?? (content.some(({ type }) => type === "tool_use") ? "tool_use" : "end_turn");
	const usage = {
		input_tokens: 10,
		cache_read_input_tokens: 5,
		cache_creation_input_tokens: 2,
		output_tokens: 7,
		service_tier: "standard",
	};
	const message = {
		id: `msg_${step}`,
		type: "message",
		role: "assistant",
		model: body["model"],
		content,
		stop_reason,
		usage,
	};
	if (!body["stream"]) return Response.json(message);
	const events = [
		{ type: "message_start", message: { ...message, content: [], stop_reason: null } },
		...content.flatMap(blockEvents),
		{ type: "message_delta", delta: { stop_reason, stop_sequence: null }, usage: { output_tokens: 7 } },
		{ type: "message_stop" },
	];
	const sse = events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join("");
	return new Response(sse, { headers: { "content-type": "text/event-stream" } });
}

/** An answer as a model gives it that does as it is told. */
function inForm({ output_config, tool_choice, tools, system }: Loose, value: unknown): Loose {
	if (output_config?.format) return { type: "text", text: JSON.stringify(value) };
	const told = String(system?.at(-1)?.text);
	const name = tool_choice?.name ?? tools?.find(({ name: each }: Loose) => told.includes(`"${each}"`))?.name;
	const text = JSON.stringify(value);
	if (name === undefined)
		return { type: "text", text: told.includes("no code fence") ? text : `\`\`\`json\n${text}\n\`\`\`` };
	const { properties } = tools.find(({ name: each }: Loose) => each === name).input_schema;
	const isWrapped = Object.keys(properties ?? {}).join() === "answer";
	return { type: "tool_use", id: "toolu_answer", name, input: isWrapped ? { answer: value } : value };
}

/** A block as the API streams it: empty first, then in pieces. */
function blockEvents(block: Loose, index: number): Loose[] {
	const delta = (of: Loose) => ({ type: "content_block_delta", index, delta: of });
	const halves = (text: string) => [text.slice(0, text.length / 2), text.slice(text.length / 2)].filter(Boolean);
	const { type, text, thinking, signature, input, citations } = block;
	const [start, deltas]: [Loose, Loose[]] =
		type === "text"
			? [
					{ type, text: "" },
					[
						...(citations ?? []).map((citation: Loose) => delta({ type: "citations_delta", citation })),
						...halves(text).map((half) => delta({ type: "text_delta", text: half })),
					],
				]
			: type === "thinking"
				? [
						{ type, thinking: "", signature: "" },
						[
							...halves(thinking).map((half) => delta({ type: "thinking_delta", thinking: half })),
							delta({ type: "signature_delta", signature }),
						],
					]
				: type === "tool_use"
					? [
							{ ...block, input: {} },
							["", ...(Object.keys(input).length > 0 ? halves(JSON.stringify(input)) : [])].map((half) =>
								delta({ type: "input_json_delta", partial_json: half }),
							),
						]
					: [block, []];
	return [
		{ type: "content_block_start", index, content_block: start },
		{ type: "ping" },
		...deltas,
		{ type: "content_block_stop", index },
	];
}
