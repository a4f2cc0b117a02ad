/** `/v1/embeddings`: vectors that are a pure function of the text. */
import { random } from "../random.ts";
import type { Engine } from "./engine.ts";
import { engineDead } from "./errors.ts";
import { type Json, readPrompts } from "./request.ts";
import { EngineDead, run } from "./serving.ts";

const DIMENSIONS = 384;

/** One vector per input. */
export async function embeddings(body: Json, model: string, engine: Engine): Promise<Response> {
	const inputs = readPrompts({ prompt: body["input"] });
	const base64 = body["encoding_format"] === "base64";
	const size = Number(body["dimensions"] ?? DIMENSIONS);
	try {
		// Only the prompt costs time: one piece ends it.
		const parts = [{ parts: [{ kind: "end" as const, pieces: [""] }], finish: "stop" as const, stopped: null }];
		await Promise.all(
			inputs.map(async ({ tokens }) => {
				const said = run(engine, tokens, parts, false).said();
				while (!(await said.next()).done);
			}),
		);
	} catch (error) {
		if (error instanceof EngineDead) throw engineDead();
		throw error;
	}
	const count = inputs.reduce((sum, { tokens }) => sum + tokens.length, 0);
	return Response.json({
		id: `embd-${crypto.randomUUID().replaceAll("-", "")}`,
		object: "list",
		created: Math.floor(Date.now() / 1000),
		model,
		data: inputs.map(({ text }, index) => {
			const values = vector(text, size);
			return {
				index,
				object: "embedding",
				embedding: base64 ? Buffer.from(values.buffer).toString("base64") : [...values],
			};
		}),
		usage: { prompt_tokens: count, total_tokens: count, completion_tokens: 0, prompt_tokens_details: null },
	});
}

/** Of length 1. */
function vector(text: string, size: number): Float32Array {
	const draw = random(Number(Bun.hash(text) & 0xffff_ffffn));
	const values = Float32Array.from({ length: size }, () => draw.below(2001) / 1000 - 1);
	const length = Math.hypot(...values) || 1;
	return values.map((value) => value / length);
}
