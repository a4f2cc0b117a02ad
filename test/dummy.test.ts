/** The built-in model: what it refuses, since it computes inside the router's own process. */
import { expect, test } from "bun:test";
import { clientError } from "./kit/contract.ts";
import { pipeline } from "./kit/pipeline.ts";

const router = pipeline();
const embed = (body: object) => router.send({ model: "dummy", input: "hello", ...body }, { operation: "embeddings" });

test.each([
	["input", { input: Array(2049).fill("x") }],
	["dimensions", { dimensions: 4096 }],
	["dimensions", { dimensions: 0 }],
])("refuses more work than a try needs, naming %s", async (param, body) => {
	const answer = await embed(body);
	expect(answer.status).toBe(400);
	expect(clientError(await answer.text())).toMatchObject({ param, code: "invalid_value" });
});

test("vectors have length 1, differ with the text, are the same for the same text, and come as asked", async () => {
	const answer = (await (await embed({ input: ["a", "b", "a"], dimensions: 16 })).json()) as {
		data: { embedding: number[] }[];
	};
	const [a, b, again] = answer.data.map(({ embedding }) => embedding);
	expect(Math.hypot(...a!)).toBeCloseTo(1, 5);
	expect(a).toEqual(again!);
	expect(a).not.toEqual(b!);
	const packed = (await (await embed({ input: "a", dimensions: 16, encoding_format: "base64" })).json()) as {
		data: { embedding: string }[];
	};
	const bytes = Buffer.from(packed.data[0]!.embedding, "base64");
	expect(Array.from(new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + 64)))).toEqual(a!);
});
