/** `router models roll`: orders a rolling change at every agent that has the model. */
import type { ModelView } from "../agent/models/model-view.ts";
import type { Config } from "../config/schema.ts";
import { StartError } from "../errors.ts";
import type { ShownAgent } from "../server/agents/agent-record.ts";
import { askRouter, plainKey } from "./ask-router.ts";
import type { RollOptions } from "./flags.ts";
import { plainText } from "./table.ts";

/** What is told of each agent that began. Throws StartError where none has the model, or one refuses. */
export async function rollModel(
	{ model, image, canary }: RollOptions,
	url: string | undefined,
	config: Config,
): Promise<string> {
	const router = askRouter(url, config);
	const key = plainKey(config.admin.keys);
	if (key === undefined) throw new StartError("models roll needs an admin key: set ROUTER_ADMIN_KEYS to one");
	const agents = (await router.list<ShownAgent>("/agents", key)) ?? [];
	const places = placesOf(model.replace(/^local\//, ""), agents);
	if (places.length === 0) {
		throw new StartError(
			`no agent of ${router.url} runs "${plainText(model)}" in containers; \`router models\` lists what there is`,
		);
	}
	const body = JSON.stringify({ ...(image !== undefined && { image }), ...(canary !== undefined && { canary }) });
	const lines: string[] = [];
	// One after the other: where an image is bad, the first agent's canary finds out, and its state says so.
	for (const [agent, name] of places) {
		const path = `/agents/${encodeURIComponent(agent)}/models/${name.split("/").map(encodeURIComponent).join("/")}/roll`;
		const view = await router.ask<ModelView>(path, key, body);
		const how = view.roll ? `, the last change was ${view.roll.state}` : "";
		lines.push(
			plainText(`${agent}: ${name} is rolled (it is ${view.state}${how}); \`router models\` says how far it is`),
		);
	}
	return lines.map((line) => `${line}\n`).join("");
}

/** Agents that have the model itself, no adapter; of `agent/model` that one. */
function placesOf(model: string, agents: readonly ShownAgent[]): readonly (readonly [agent: string, model: string])[] {
	const known = agents.filter(({ state }) => state !== "gone");
	const having = (name: string, some: readonly ShownAgent[]) =>
		some
			.filter(({ models }) => models.some((each) => each.name === name && each.parent === undefined))
			.map((agent) => [agent.name, name] as const);
	const all = having(model, known);
	if (all.length > 0) return all;
	const slash = model.indexOf("/");
	return having(
		model.slice(slash + 1),
		known.filter(({ name }) => name === model.slice(0, slash)),
	);
}
