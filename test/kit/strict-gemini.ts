/**
 * A `generateContent` that plays a tool loop and is as strict as Gemini about what it is asked, and about signatures and results
 * (ai.google.dev, thought signatures; recorded and reported refusals in `wire/observed-errors.md`).
 */
import { createHash } from "node:crypto";
import type { Loose } from "./exchange.ts";
import { refusalOf } from "./gemini-rules.ts";

/** The parts of each answer in turn. `sign: true` on a part asks for a signature. */
export type Script = readonly (readonly Loose[])[];

/** The fake. */
export interface StrictGemini {
	readonly origin: string;
	readonly bodies: Loose[];
	readonly refusals: string[];
	play(script: Script): void;
	stop(): Promise<void>;
}

/** What Google takes where nobody has the signature any more. */
export const SKIP = Buffer.from("skip_thought_signature_validator").toString("base64");

/** Bound to all that stood before the part. */
const signatureFor = (before: readonly Loose[], part: Loose): string => {
	const { thoughtSignature: _, sign: __, ...said } = part;
	const { text, functionCall } = said;
	return createHash("sha256")
		.update(JSON.stringify([before, functionCall?.name ?? text ?? ""]))
		.digest("base64");
};

/**
 * Starts it.
 * @param reply what it answers where no script is played, or that is over; with one, models before Gemini 3 do without signatures, as they do
 */
export function startStrictGemini(reply?: (body: Loose) => readonly Loose[]): StrictGemini {
	const state = { script: [] as Script, bodies: [] as Loose[], refusals: [] as string[] };
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		async fetch(request) {
			// Its list of models, which the fake has none of.
			if (request.method === "GET") return Response.json({ models: [] });
			const body = (await request.json()) as Loose;
			if (request.url.includes(":countTokens")) return Response.json({ totalTokens: JSON.stringify(body).length >> 2 });
			const problem = problemWith(body, request, reply === undefined);
			if (problem) {
				state.refusals.push(problem);
				const error = { code: 400, message: problem, status: "INVALID_ARGUMENT" };
				return Response.json({ error }, { status: 400 });
			}
			const step = state.bodies.push(body) - 1;
			const parts = state.script[step] ?? reply?.(body) ?? [{ text: "The script is over." }];
			return answer(body, parts, step, new URL(request.url));
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
		play: (script) => void Object.assign(state, { script, bodies: [], refusals: [] }),
		stop: () => server.stop(true),
	};
}

function problemWith(body: Loose, request: Request, alwaysSigned: boolean): string | undefined {
	if (request.headers.get("x-goog-api-key") !== "AIza-strict") return "API key not valid. Please pass a valid API key.";
	const model = modelIn(new URL(request.url));
	return refusalOf(body, model) ?? problemWithCalls(body, alwaysSigned || !model.startsWith("gemini-2"));
}

const modelIn = ({ pathname }: URL): string => /models\/([^:]+):/.exec(decodeURIComponent(pathname))?.[1] ?? "";

/** Each call's result is wanted, and from Gemini 3 on the signatures (earlier ones send them, and do without). */
function problemWithCalls({ contents }: Loose, needsSignatures: boolean): string | undefined {
	for (const [index, { role, parts }] of (contents as Loose[]).entries()) {
		const calls = (parts as Loose[]).filter(({ functionCall }) => functionCall);
		if (role !== "model") continue;
		const [first] = calls;
		if (needsSignatures && first && !first["thoughtSignature"]) {
			return `Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly. Additional data, function call \`default_api:${first["functionCall"].name}\`, position ${index}.`;
		}
		for (const part of parts as Loose[]) {
			const { thoughtSignature } = part;
			if (!thoughtSignature || thoughtSignature === SKIP) continue;
			if (thoughtSignature !== signatureFor(contents.slice(0, index), part)) return "Corrupted thought signature.";
		}
		const answers = (contents[index + 1]?.parts ?? []).flatMap((part: Loose) => part["functionResponse"] ?? []);
		const asked = calls.map(({ functionCall: { id, name } }) => `${id} ${name}`);
		if (asked.join() !== answers.map(({ id, name }: Loose) => `${id} ${name}`).join()) {
			return "Please ensure that the number of function response parts is equal to the number of function call parts.";
		}
	}
	return undefined;
}

function answer({ contents }: Loose, script: readonly Loose[], step: number, url: URL): Response {
	const parts = script.map(({ sign, ...part }) =>
		sign ? { ...part, thoughtSignature: signatureFor(contents, part) } : part,
	);
	const piece = (content: Loose[], more: Loose) => ({
		candidates: [{ content: { role: "model", parts: content }, index: 0, ...more }],
		usageMetadata: {
			promptTokenCount: 10,
			candidatesTokenCount: 4,
			thoughtsTokenCount: 3,
			totalTokenCount: 17,
			serviceTier: "standard",
		},
		modelVersion: modelIn(url),
		responseId: `response-${step}`,
	});
	if (!url.pathname.endsWith(":streamGenerateContent")) return Response.json(piece(parts, { finishReason: "STOP" }));
	const pieces = parts.map((part, index) => piece([part], index === parts.length - 1 ? { finishReason: "STOP" } : {}));
	const sse = pieces.map((each) => `data: ${JSON.stringify(each)}\r\n\r\n`).join("");
	return new Response(sse, { headers: { "content-type": "text/event-stream" } });
}
