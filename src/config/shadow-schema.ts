/** `shadow:` of a model: copies of its calls to another model, whose answers are only compared. */
import { type Static, Type } from "@sinclair/typebox";
import { closed, share } from "./schema-parts.ts";

/** What copies may cost where nothing is said, USD a day. */
const USD_A_DAY = 1;

const budget = Type.Object(
	{
		usd: Type.Number({
			minimum: 0,
			maximum: 1_000_000_000,
			default: USD_A_DAY,
			description: "USD that copies may cost; 0: only where they cost nothing.",
		}),
		per: Type.Union([Type.Literal("day"), Type.Literal("month"), Type.Literal("total")], {
			default: "day",
			description: "In which time (UTC).",
		}),
	},
	{ ...closed, default: {}, description: "What copies may cost. A model whose price nobody knows gets none." },
);

/** The setting. */
export const shadow = Type.Object(
	{
		to: Type.String({
			minLength: 1,
			maxLength: 512,
			pattern: "^[^*]+$",
			expects: "one model's name, without a `*`",
			description: "The model that gets a copy, by any name that clients could ask for.",
		}),
		share: share({ default: "5%", description: "Share of the calls that are copied, by a hash of what they say." }),
		budget,
	},
	{
		...closed,
		description:
			"Sends a copy of some calls to another model once they are answered, and compares the answers: times, cost, length, finish reason, tool calls. Nothing of what they say is kept, and no caller pays for it or waits.",
	},
);

/** Of one model. */
export type ShadowConfig = Static<typeof shadow>;
