/** Routers of a Redis that can decide of replicas, and what the one that does has decided: an agent's heartbeat may come to any of them. */
import { type Static, Type } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import { ModelGoal } from "../../protocol/agent.ts";
import type { ReplicaScaler, ScalingPeers } from "./replica-scaler.ts";
import type { FleetGoals } from "./scaling-election.ts";
import type { RouterChannel } from "./shared-agent-prefixes.ts";

/** Longer messages are nobody's that sends such, characters. */
const LONGEST = 2_000_000;

const Message = Type.Object({
	v: Type.Literal(1),
	from: Type.String({ maxLength: 64 }),
	/** Absent: the sender can decide, and does not. */
	goals: Type.Optional(Type.Record(Type.String(), Type.Record(Type.String(), Type.Omit(ModelGoal, ["model"])))),
});
const check = TypeCompiler.Compile(Message);

/** The part of Redis's features that is used. */
interface GoalFeatures {
	readonly isUp: boolean;
	channel(name: string): RouterChannel;
}

/** The other routers, as a scaler knows them. To be called before Redis is opened. @param scaler hears what they say */
export function scalingPeers(redis: GoalFeatures, scaler: () => Pick<ReplicaScaler, "hear">): ScalingPeers {
	const channel = redis.channel("agent-goals");
	channel.listen((text) => {
		const message = parsed(text);
		if (message && message.from !== channel.router) scaler().hear(message.from, message.goals);
	});
	return {
		router: channel.router,
		get isUp() {
			return redis.isUp;
		},
		tell: (goals: FleetGoals | undefined) => channel.publish(JSON.stringify({ v: 1, from: channel.router, goals })),
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
