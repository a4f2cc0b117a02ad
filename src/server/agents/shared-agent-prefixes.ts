/** What agents report of their engines' prefix caches, to the routers that share a Redis: an agent reports to one of them. */
import { type Static, Type } from "@sinclair/typebox";
import { MAX_MODELS, PrefixReport } from "../../protocol/agent.ts";
import type { AgentPrefixes } from "./agent-prefixes.ts";
import type { AgentRecord } from "./agent-record.ts";
import { messageReader, type RouterChannel } from "./router-channel.ts";

const Message = Type.Object({
	v: Type.Literal(1),
	from: Type.String({ maxLength: 64 }),
	agent: Type.String({ maxLength: 64 }),
	/** As the agent sent them; null: it reports nothing any more. */
	reports: Type.Optional(Type.Union([Type.Array(PrefixReport, { maxItems: MAX_MODELS * 2 }), Type.Null()])),
	/** Replicas of which the sender lacks what came before: whoever hears of the agent next asks for all. */
	lacks: Type.Optional(Type.Array(Type.String({ maxLength: 300 }), { maxItems: MAX_MODELS * 2 })),
});
const parsed = messageReader(Message);

/** Tells the others what this router's agents report, and hears what theirs do. To be called before Redis is opened. */
export function sharePrefixes(
	channel: RouterChannel,
	agents: ReadonlyMap<string, Pick<AgentRecord, "models">>,
	prefixes: AgentPrefixes,
): void {
	const tell = (said: Omit<Static<typeof Message>, "v" | "from">) =>
		channel.publish(JSON.stringify({ v: 1, from: channel.router, ...said }));
	prefixes.onReported = (agent, reports) => tell({ agent, reports: reports ? [...reports] : null });
	channel.listen((text) => {
		const message = parsed(text);
		if (!message || message.from === channel.router) return;
		const { agent, reports, lacks } = message;
		if (lacks) prefixes.wanted(agent, lacks);
		const known = agents.get(agent);
		if (reports === undefined || !known) return;
		const missing = prefixes.heard(agent, known.models, reports ?? undefined);
		if (missing.length > 0) tell({ agent, lacks: [...missing] });
	});
}
