/** What spans are called and what they hold, against OpenTelemetry's conventions. */
import { describe, expect, test } from "bun:test";
import { OPERATIONS, type Operation } from "../src/openai/operations.ts";
import { attemptSpan, callSpans, FRACTIONS, type Span } from "../src/telemetry/otel/call-spans.ts";
import { operationName, providerName } from "../src/telemetry/otel/gen-ai-names.ts";
import { type ProviderType, VENDORS } from "../src/vendors.ts";
import { CONTENTS, CONVENTIONAL, OPERATIONS_OF_MODELS, PROVIDERS_OF_MODELS } from "./kit/genai-conventions.ts";
import { tracedAttempt, tracedCall } from "./kit/spans.ts";

/** Spans with all that they can have. */
function fullSpans(): Span[] {
	const tokens = { input: 9, output: 4, cached: 6, reasoning: 2, cacheWrite: 1 };
	const steps = (["queue", "cache", "resume"] as const).map((name) => ({
		name,
		spanId: "00f067aa0ba902b7",
		startedAt: 1,
		ms: 2,
	}));
	const call = tracedCall(
		{
			stream: true,
			firstTokenMs: 5,
			cache: "hit",
			agent: "gpu-1",
			energyJ: 0,
			tokens,
			status: 503,
			error: "overloaded",
			reason: "gpt-*",
		},
		{ steps },
	);
	const attempt = tracedAttempt(
		{ agent: "gpu-1", failure: "timeout", tokens, cost: 0, isUnused: true },
		{ firstTokenMs: 3, reason: "hedge", vendor: "openai" },
	);
	return [...callSpans(call, call.trace!.span!), attemptSpan(attempt, attempt.span!)];
}
const attributes = fullSpans().flatMap((span) =>
	Object.entries(span.attributes).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const])),
);

describe("an attribute", () => {
	test("is one of the conventions, or has the router's own name", () => {
		const names = new Set(attributes.map(([name]) => name));
		expect([...names].filter((name) => !(name in CONVENTIONAL) && !name.startsWith("router."))).toEqual([]);
		expect([...names].filter((name) => CONTENTS.includes(name))).toEqual([]);
		// All that is said of models and servers is said in one way or another.
		expect([...names].filter((name) => name.startsWith("gen_ai.")).length).toBeGreaterThanOrEqual(9);
	});

	test("has the type that the conventions give it", () => {
		const typeOf = (name: string, value: unknown) =>
			typeof value !== "number"
				? typeof value
				: FRACTIONS.has(name)
					? "double"
					: Number.isInteger(value)
						? "int"
						: "fraction";
		const wrong = attributes.filter(
			([name, value]) => typeOf(name, value) !== (CONVENTIONAL[name] ?? typeOf(name, value)),
		);
		expect(wrong).toEqual([]);
		expect(attributes.filter(([name, value]) => typeOf(name, value) === "fraction")).toEqual([]);
	});
});

describe("gen_ai.operation.name", () => {
	test.each([
		["chat", "chat"],
		["completions", "text_completion"],
		["embeddings", "embeddings"],
		["image_generations", "generate_content"],
		["rerank", "rerank"],
	] as [Operation, string][])("of %s is %s", (operation, name) => expect(operationName(operation)).toBe(name));

	test("of all that a model generates is one of the conventions', but for what reads sound", () => {
		const generating = (Object.keys(OPERATIONS) as Operation[]).filter((each) => OPERATIONS[each].generates);
		const own = generating.filter((each) => !OPERATIONS_OF_MODELS.includes(operationName(each)));
		expect(own).toEqual(["transcriptions", "translations"]);
	});
});

describe("gen_ai.provider.name", () => {
	test.each([
		["openai", "openai"],
		["anthropic", "anthropic"],
		["gemini", "gcp.gemini"],
		["xai", "x_ai"],
	] as [ProviderType, string][])("of the vendor %s is %s, whatever the configuration calls it", (type, name) => {
		expect(providerName("of-our-own", VENDORS[type].priceId)).toBe(name);
		expect(PROVIDERS_OF_MODELS).toContain(name);
	});

	test("of what no convention knows is its name in the configuration", () => {
		expect([providerName("local", undefined), providerName("box", undefined)]).toEqual(["local", "box"]);
	});
});

describe("a name of a model that is longer than anybody reads", () => {
	test("is clipped, wherever it stands", () => {
		const long = "m".repeat(5000);
		const call = tracedCall({ requested: long });
		const attempt = tracedAttempt({}, { model: long });
		const [span, tried] = [callSpans(call, call.trace!.span!)[0]!, attemptSpan(attempt, attempt.span!)];
		for (const text of [
			span.attributes["gen_ai.request.model"],
			tried.attributes["gen_ai.request.model"],
			tried.name,
		]) {
			expect(String(text).length).toBeLessThan(220);
		}
	});
});

test.each([
	["https://api.openai.com", "api.openai.com", 443],
	["http://10.0.0.1", "10.0.0.1", 80],
	["http://[::1]:8000", "::1", 8000],
	["http://container", undefined, undefined],
	["tunnel://gpu-1", undefined, undefined],
	["dummy:", undefined, undefined],
])("the server at %s is %p, port %p", (origin, address, port) => {
	const attempt = tracedAttempt({}, { origin });
	const span = attemptSpan(attempt, attempt.span!);
	expect([span.attributes["server.address"], span.attributes["server.port"]]).toEqual([address, port]);
});
