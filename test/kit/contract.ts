/**
 * What the router promises about the wire, written down once and independently of
 * its code: which bytes an upstream gets for a client's bytes, and a client for an
 * upstream's.
 */
import { expect } from "bun:test";
import { chunksOf, eventData, type Json } from "./exchange.ts";

/** The four fields of OpenAI's error object, all required (spec v2.3.0). */
export interface ClientError {
	message: string;
	type: string;
	param: string | null;
	code: string | null;
}

/** The error of a body or event; fails when it has another shape or further fields. */
export function clientError(text: string): ClientError {
	const body = JSON.parse(text);
	expect(Object.keys(body)).toEqual(["error"]);
	expect(Object.keys(body.error).sort()).toEqual(["code", "message", "param", "type"]);
	expect(body.error.message).toBeString();
	expect(body.error.message.length).toBeGreaterThan(0);
	expect(body.error.type).toBeString();
	return body.error;
}

/**
 * Checks what an upstream got against what the client sent: the same bytes but for
 * the documented splices. `sent` has no whitespace outside strings.
 */
export function expectForwarded(
	got: string,
	sent: string,
	{ model, venice = false }: { model: string; venice?: boolean },
): void {
	const body = JSON.parse(sent);
	const named = sent.replace(`"model":${JSON.stringify(body.model)}`, `"model":${JSON.stringify(model)}`);
	const asksUsage = body.stream === true && body.stream_options?.include_usage !== true;
	const addsVenice = venice && body.venice_parameters?.include_venice_system_prompt === undefined;
	if (!asksUsage && !addsVenice) {
		expect(got).toBe(named);
		return;
	}
	const wanted: Json = { ...body, model };
	if (asksUsage) wanted["stream_options"] = { ...body.stream_options, include_usage: true };
	if (addsVenice) {
		wanted["venice_parameters"] = { ...body.venice_parameters, include_venice_system_prompt: false };
	}
	expect(JSON.parse(got)).toEqual(wanted);
	// Added fields stand before or after what the client wrote, which stays one unbroken run of bytes.
	if (body.stream_options === undefined && body.venice_parameters === undefined) {
		expect(got).toContain(named.slice(1, -1));
	}
}

/** xAI's `completion_tokens` with reasoning counted in, everywhere in an answer's text; other usage is left alone. */
export function withReasoningCounted(text: string): string {
	return text.replace(
		/"prompt_tokens":(\d+),"completion_tokens":(\d+),"total_tokens":(\d+),.*?"reasoning_tokens":(\d+)/g,
		(match, prompt, completion, total, reasoning) =>
			Number(prompt) + Number(completion) + Number(reasoning) === Number(total)
				? match.replace(
						`"completion_tokens":${completion}`,
						`"completion_tokens":${Number(completion) + Number(reasoning)}`,
					)
				: match,
	);
}

/**
 * Checks a good stream: the upstream's events byte for byte, with the usage in one chunk of its own behind them when the client
 * asked for it (marked where the upstream counted nothing), and without any usage when it did not.
 */
export function expectStream(got: string, upstream: string, asked: boolean): void {
	const wanted = eventData(withReasoningCounted(upstream));
	const seen = eventData(got);
	expect(seen.at(-1)).toBe("[DONE]");
	if (asked) {
		const { choices, usage } = JSON.parse(seen.splice(-2, 1)[0]!);
		const told = wanted.flatMap((data) => (data === "[DONE]" ? [] : (JSON.parse(data).usage ?? [])));
		expect(choices).toEqual([]);
		if (told.length > 0) expect(usage).toEqual(told.at(-1));
		else expect(usage).toMatchObject({ estimated: true, total_tokens: usage.prompt_tokens + usage.completion_tokens });
	}
	expect(chunksOf(got).filter((chunk) => chunk["usage"] != null).length).toBe(asked ? 1 : 0);
	const kept = wanted.filter((data) => data === "[DONE]" || !isUsageOnly(JSON.parse(data)));
	expect(seen.map(withoutUsage)).toEqual(kept.map(withoutUsage));
	for (const [index, data] of kept.entries()) if (!data.includes('"usage"')) expect(seen[index]).toBe(data);
}

const isUsageOnly = (chunk: Json) => chunk["usage"] != null && (chunk["choices"] as unknown[]).length === 0;

function withoutUsage(data: string): unknown {
	if (data === "[DONE]") return data;
	const { usage: _, ...rest } = JSON.parse(data);
	return rest;
}

/** Checks a broken stream: its last event is an error in the OpenAI shape, and no `[DONE]` makes it look good. */
export function expectBroken(got: string, before: readonly string[]): ClientError {
	const seen = eventData(got);
	expect(seen).not.toContain("[DONE]");
	expect(seen.slice(0, -1).map(withoutUsage)).toEqual(before.map(withoutUsage));
	return clientError(seen.at(-1) ?? "");
}

/** The headers that say where a call went, after one attempt. `model` is what the upstream calls it. */
export function expectRouterHeaders(headers: Headers, provider: string, model: string): void {
	expect(headers.get("x-request-id")).toMatch(/^req_/);
	expect(headers.get("x-router-provider")).toBe(provider);
	expect(headers.get("x-router-model")).toBe(model);
	expect(headers.get("x-router-attempts")).toBe("1");
	expect(Number(headers.get("x-router-overhead-ms"))).toBeGreaterThanOrEqual(0);
	expect(headers.get("x-router-overhead-ms")).not.toBeNull();
}

const PASSED_ON = /^(x-ratelimit-|openai-|retry-after$|x-venice-)/;

/** Upstream headers that clients know how to read come through; those of the connection and cookies do not. */
export function expectHeadersPassed(
	got: Headers,
	upstream: Readonly<Record<string, string | readonly string[]>>,
): void {
	for (const [name, value] of Object.entries(upstream)) {
		if (PASSED_ON.test(name)) expect(got.get(name)).toBe(String(value));
	}
	for (const name of ["set-cookie", "connection", "keep-alive", "content-encoding"]) expect(got.get(name)).toBeNull();
}
