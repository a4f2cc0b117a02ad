/** Routers of a Redis that can decide of replicas, and what the one that does has decided: an agent's heartbeat may come to any of them. */
import { Type } from "@sinclair/typebox";
import { ModelGoal } from "../../protocol/agent.ts";
import type { Log } from "../../telemetry/log.ts";
import type { ReplicaScaler, ScalingPeers } from "./replica-scaler.ts";
import { LONGEST_MESSAGE, messageReader, type RouterChannel } from "./router-channel.ts";
import { HEARD_MS, type ScalingClaim } from "./scaling-election.ts";

/** How long a router that heard its own message hears the others, ms: shorter by more than the second between two messages than these are remembered, so that nobody is forgotten whom it can't hear. */
const PROVEN_MS = HEARD_MS - 2_000;

const Message = Type.Object({
	v: Type.Literal(1),
	from: Type.String({ maxLength: 64 }),
	/** Absent: the sender can't decide now. To others it says nothing; the sender learns that it is heard. */
	role: Type.Optional(Type.Union([Type.Literal("candidate"), Type.Literal("decider")])),
	/** Of a decider. Absent: they are too long. */
	goals: Type.Optional(Type.Record(Type.String(), Type.Record(Type.String(), Type.Omit(ModelGoal, ["model"])))),
});
const parsed = messageReader(Message);

/** The part of Redis's features that is used. */
interface GoalFeatures {
	/** Whether it takes messages. What it brings comes over another connection. */
	readonly isUp: boolean;
	channel(name: string): RouterChannel;
}

/** What is needed besides Redis. */
interface PeerOptions {
	/** A clock that never goes back, ms. */
	now(): number;
	readonly log: Pick<Log, "logger">;
}

/** The other routers, as a scaler knows them. To be called before Redis is opened. @param scaler hears what they say */
export function scalingPeers(
	redis: GoalFeatures,
	scaler: () => Pick<ReplicaScaler, "hear">,
	{ now, log }: PeerOptions,
): ScalingPeers {
	const channel = redis.channel("agent-goals");
	/** When its own message came last. */
	let heardAt = Number.NEGATIVE_INFINITY;
	/** When the first message was sent of those that have not come. */
	let unheardSince: number | undefined;
	let isTooLong = false;
	channel.listen((text) => {
		const message = parsed(text);
		if (message?.from === channel.router) {
			heardAt = now();
			unheardSince = undefined;
		} else if (message?.role === "decider") {
			scaler().hear(message.from, { role: "decider", goals: message.goals });
		} else if (message?.role === "candidate") scaler().hear(message.from, { role: "candidate" });
	});
	/** What fits a message. */
	const textOf = (claim: ScalingClaim | undefined): string => {
		const message = { v: 1, from: channel.router, ...claim };
		const text = JSON.stringify(message);
		const isOver = text.length > LONGEST_MESSAGE;
		if (isOver && !isTooLong) log.logger.warn({ characters: text.length, most: LONGEST_MESSAGE }, TOO_LONG);
		isTooLong = isOver;
		return isOver ? JSON.stringify({ ...message, goals: undefined }) : text;
	};
	return {
		router: channel.router,
		get link() {
			if (!redis.isUp) return "away";
			if (now() - heardAt <= PROVEN_MS) return "up";
			return unheardSince !== undefined && now() - unheardSince > HEARD_MS ? "unheard" : "unproven";
		},
		tell(claim) {
			if (!redis.isUp) {
				unheardSince = undefined;
				return;
			}
			unheardSince ??= now();
			channel.publish(textOf(claim));
		},
	};
}

const TOO_LONG =
	"What is decided of `agents.replicas` is too long for a message to the other routers: agents hear it from this one alone.";
