/** `router explain MODEL`: asks a running router where a call would go, and why. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Config } from "../config/schema.ts";
import { StartError } from "../errors.ts";
import { type Explanation, type Inputs, seconds } from "../routing/explain.ts";
import { askRouter, callerKey } from "./ask-router.ts";
import { plainText, table } from "./table.ts";

/** What is to be explained. */
export interface ExplainOptions {
	readonly model: string;
	/** A request's body, as JSON. */
	readonly file?: string;
	/** Where it would be sent; what its fields say where that is absent. */
	readonly path?: string;
	/** The router to ask. */
	readonly url?: string;
}

/** The explanation as a table. Throws StartError. */
export async function explainText(
	{ model, file, path, url }: ExplainOptions,
	config: Config,
	cwd: string,
): Promise<string> {
	const body = JSON.stringify({ ...(file === undefined ? {} : bodyIn(file, cwd)), model });
	const router = askRouter(url, config);
	const query = path === undefined ? "" : `?path=${encodeURIComponent(path)}`;
	const answer = await router.ask<Partial<Explanation> | null>(`/v1/route${query}`, callerKey(config), body);
	if (!Array.isArray(answer?.candidates) || !answer.call) {
		throw new StartError(`${router.url}/v1/route answers something else than a router does: --url names one`);
	}
	return explanationText(answer as Explanation);
}

function bodyIn(file: string, cwd: string): object {
	let text: string;
	try {
		text = readFileSync(file === "-" ? 0 : resolve(cwd, file), "utf8");
	} catch (error) {
		throw new StartError(`--file ${file} can't be read (${(error as NodeJS.ErrnoException).code ?? "unknown reason"})`);
	}
	try {
		const body: unknown = JSON.parse(text);
		if (typeof body === "object" && body !== null && !Array.isArray(body)) return body;
	} catch {
		// Thrown below.
	}
	throw new StartError(`--file ${file} holds no JSON object, such as {"messages": …}`);
}

/** As a table for people, with a line end. */
export function explanationText({
	model,
	route,
	policy,
	max_wait_ms,
	call,
	suspicion,
	candidates,
}: Explanation): string {
	const needs = call.needs.length > 0 ? `, needs ${call.needs.join(", ")}` : "";
	const wait = max_wait_ms === undefined ? "" : `, max_wait ${seconds(max_wait_ms)}`;
	const rows = candidates.map(({ rank, id, score, inputs, reason }) => [
		String(rank ?? "–"),
		id,
		String(score ?? ""),
		inputsText(inputs),
		reason,
	]);
	// The model's name is whatever the user typed, and agents name targets.
	return [
		`${plainText(model)}: ${plainText(route)}, policy ${policy}${wait}`,
		`${call.operation}${call.stream ? ", streamed" : ""}, about ${call.tokens} tokens${needs}`,
		...(suspicion === undefined ? [] : [plainText(suspicion)]),
		"",
		table([["", "TARGET", "SCORE", "INPUTS", "WHY"], ...rows].map((row) => row.map(plainText))),
	].join("\n");
}

const INPUT_NAMES: Record<keyof Inputs, string> = {
	in_flight: "in flight",
	queued_characters: "queued",
	uncached_characters: "uncached",
	wait_ms: "wait ms",
	time_ms: "time ms",
	cost_usd: "USD",
	context: "context",
	breaker: "breaker",
	weight: "weight",
	cached_tokens: "cached tokens",
	saved_usd: "saved USD",
	cached_key: "cached by",
};

function inputsText(inputs: Inputs): string {
	return Object.entries(inputs)
		.map(([name, value]) => `${INPUT_NAMES[name as keyof Inputs] ?? name} ${value}`)
		.join(", ");
}
