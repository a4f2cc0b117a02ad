/** `router models roll`: a rolling change at every agent that has the model, one agent after the other. */
import type { ModelView } from "../agent/models/model-view.ts";
import type { RollView } from "../agent/models/roll-view.ts";
import type { Config } from "../config/schema.ts";
import { StartError } from "../errors.ts";
import type { ShownAgent } from "../server/agents/agent-record.ts";
import { askRouter, plainKey, type RouterResponse } from "./ask-router.ts";
import type { RollOptions } from "./roll-args.ts";
import { plainText } from "./table.ts";

/** How often an agent is asked how far it is, ms. */
const POLL_MS = 2000;
/** The same before the first answer: the agent decides with its next tick, mostly at once. */
const FIRST_POLL_MS = 200;
/**
 * So many answers without the roll: the agent can't decide, as while its Docker Engine does not answer. One of a version that does not say whether it has
 * decided has had nothing to roll by then.
 */
const MOST_WITHOUT = 15;
/** So many questions in a row may fail: an agent that restarts goes on with its roll. */
const MOST_FAILURES = 30;

const NO_ADMIN_KEY =
	"models roll needs an admin key, and this command knows none. A router without keys has none either: name one under `admin.keys` (or ROUTER_ADMIN_KEYS) of the router's configuration, and set ROUTER_ADMIN_KEYS here to the same";

/** An agent's model, asked through the router. */
interface Place {
	readonly agent: string;
	readonly model: string;
	/** The order; how the model was before it. */
	order(): Promise<ModelView>;
	view(): Promise<ModelView>;
}

/**
 * Prints what becomes of each agent's roll; an agent is asked once the roll of the one before it was promoted, unless `isWaiting` is false. Throws
 * StartError where none has the model, one refuses, can't begin, or has taken its roll back: those behind it are left alone.
 */
export async function rollModel(
	options: RollOptions,
	url: string | undefined,
	config: Config,
	print: (text: string) => void,
	pollMs = POLL_MS,
): Promise<void> {
	const places = await placesOf(options, askRouter(url, config), config);
	const tell = ({ agent, model }: Place, what: string) => print(plainText(`${agent}: ${model} ${what}`));
	for (const [at, place] of places.entries()) {
		const before = await place.order();
		if (!options.isWaiting) {
			tell(place, `is to be rolled (it is ${before.state}); \`router models\` says how far it is`);
			continue;
		}
		tell(place, `is to be rolled (it is ${before.state})`);
		const end = await rollEnd(place, before, (what) => tell(place, what), pollMs);
		if (end === "over") continue;
		const left = places.slice(at + 1).map(({ agent }) => agent);
		const others = left.length === 0 ? "" : `; not asked: ${left.join(", ")}`;
		throw new StartError(plainText(`${place.agent}: the roll of ${place.model} ${end}${others}`));
	}
}

/** Waits until the roll that was ordered is over, or none was needed. Else why those of other agents are not ordered: a clause. */
async function rollEnd(
	place: Place,
	{ roll: before, roll_ordered: saysOrdered = false }: ModelView,
	tell: (what: string) => void,
	pollMs: number,
): Promise<string> {
	let told = "";
	let without = 0;
	for (;;) {
		await Bun.sleep(without === 0 ? Math.min(pollMs, FIRST_POLL_MS) : pollMs);
		const { roll, state, reason, roll_ordered: isOrdered = false } = await viewOf(place, pollMs);
		// Until the agent's next tick it shows the roll before this one.
		if (isOrdered || roll === undefined || roll.at === before?.at) {
			const isLate = ++without >= MOST_WITHOUT;
			if (isOrdered && isLate) return `has not begun${reason === undefined ? "" : `: ${reason}`}`;
			const isDecided = saysOrdered ? !isOrdered : isLate && (!roll || isOver(roll));
			if (!isDecided) continue;
			// Of a model that serves each order begins a roll; orders are kept in the agent's memory alone.
			const isForgotten = saysOrdered && told === "" && state === "ready";
			if (isForgotten) return "was forgotten, as by a restart of the agent: order it again";
			tell(`has nothing to roll: it is ${state}, and starts with what is new`);
			return "over";
		}
		const text = rollText(roll);
		if (text !== told) tell(text);
		told = text;
		if (isOver(roll)) return roll.state === "promoted" ? "over" : "was taken back";
	}
}

const isOver = ({ state }: RollView): boolean => state === "promoted" || state === "taken back";

function rollText({ state, reason, canary = 0, in_place = false }: RollView): string {
	const share = state === "canary" ? ` (${Math.round(canary * 100)} % of calls)` : "";
	const place = in_place ? ", one replica at a time: there is no memory for one more" : "";
	return `${state}${share}${place}${reason === undefined ? "" : `: ${reason}`}`;
}

/** Throws what the last of many questions failed with. */
async function viewOf(place: Place, pollMs: number): Promise<ModelView> {
	for (let failures = 1; ; failures++) {
		try {
			return await place.view();
		} catch (error) {
			if (failures === MOST_FAILURES) throw error;
			await Bun.sleep(pollMs);
		}
	}
}

/** Where the model is, of agents that are there. Throws StartError where it is nowhere. */
async function placesOf(
	{ model, image, canary }: RollOptions,
	router: RouterResponse,
	config: Config,
): Promise<readonly Place[]> {
	const key = plainKey(config.admin.keys);
	if (key === undefined) throw new StartError(NO_ADMIN_KEY);
	const agents = (await router.list<ShownAgent>("/agents", key)) ?? [];
	const own = model.replace(/^local\//, "");
	const known = agents.filter(({ state }) => state !== "gone");
	const named = namesOf(own, known);
	const gone = namesOf(own, agents).map(([agent]) => agent);
	if (named.length === 0 && gone.length > 0) {
		const whose = `"${own}" is a model of ${gone.join(", ")}, not heard of any more`;
		throw new StartError(plainText(`${whose}: see whether its host is up and \`router --agent\` runs there`));
	}
	if (named.length === 0) {
		throw new StartError(
			`no agent of ${router.url} runs "${plainText(model)}" in containers; \`router models\` lists what there is`,
		);
	}
	const body = JSON.stringify({ ...(image !== undefined && { image }), ...(canary !== undefined && { canary }) });
	return named.map(([agent, name]): Place => {
		const path = `/agents/${encodeURIComponent(agent)}/models/${name.split("/").map(encodeURIComponent).join("/")}`;
		return {
			agent,
			model: name,
			order: () => router.ask<ModelView>(`${path}/roll`, key, body),
			view: () => router.ask<ModelView>(path, key),
		};
	});
}

/** Those of these agents that have the model itself, no adapter; of `agent/model` that one. */
function namesOf(model: string, known: readonly ShownAgent[]): readonly (readonly [agent: string, model: string])[] {
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
