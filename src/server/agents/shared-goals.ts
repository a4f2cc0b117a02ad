/** What the router that decides has decided of replicas, told to the others of its Redis: an agent's heartbeat may come to any of them. */
import { type Static, Type } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import { ModelGoal } from "../../protocol/agent.ts";
import type { FleetGoals, ReplicaScaler, ScalingPeers } from "./replica-scaler.ts";
import type { RouterChannel } from "./shared-agent-prefixes.ts";

/** Longer messages are nobody's that sends such, characters. */
const LONGEST = 2_000_000;

const Message = Type.Object({
	v: Type.Literal(1),
	from: Type.String({ maxLength: 64 }),
	goals: Type.Record(Type.String(), Type.Record(Type.String(), Type.Omit(ModelGoal, ["model"]))),
});
const check = TypeCompiler.Compile(Message);

/** The part of Redis's features that is used. */
interface GoalFeatures {
	readonly isUp: boolean;
	others(): readonly string[];
	channel(name: string): RouterChannel;
}

/** The other routers, as a scaler knows them. To be called before Redis is opened. @param scaler hears what another one has decided */
export function scalingPeers(redis: GoalFeatures, scaler: () => Pick<ReplicaScaler, "take">): ScalingPeers {
	const channel = redis.channel("agent-goals");
	channel.listen((text) => {
		const message = parsed(text);
		if (message && message.from !== channel.router) scaler().take(message.goals);
	});
	return {
		router: channel.router,
		get isUp() {
			return redis.isUp;
		},
		others: () => redis.others(),
		tell: (goals: FleetGoals) => channel.publish(JSON.stringify({ v: 1, from: channel.router, goals })),
	};
}

function parsed(text: string): Static<typeof Message> | undefined {
	if (text.length > LONGEST) return undefined;
	try {
		const value: unknown = JSON.parse(text);
		return check.Check(value) ? value : undefined;
	} catch {
		// Another program publishes there.
		return undefined;
	}
}
