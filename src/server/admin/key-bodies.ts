/** The bodies by which keys are made, changed and rotated. */
import { type Static, type TSchema, Type } from "@sinclair/typebox";

const MOST = 1_000_000_000;
const closed = { additionalProperties: false } as const;
const limit = Type.Optional(Type.Integer({ minimum: 1, maximum: MOST }));
const shortText = (description: string) =>
	Type.String({
		minLength: 1,
		maxLength: 64,
		pattern: "^[^\\u0000-\\u001f\\u007f]*$",
		description,
		expects: "a text of 1 to 64 characters in one line",
	});

/** The body of `POST /admin/keys`. */
export const NewKeyBody = Type.Object(
	{
		name: shortText("Shown in logs and usage; no other key that is in use may have it."),
		team: Type.Optional(shortText("Whose usage it counts as, too.")),
		models: Type.Optional(
			Type.Array(Type.String({ minLength: 1, maxLength: 200 }), {
				minItems: 1,
				maxItems: 1000,
				description: "Default: all.",
			}),
		),
		rpm: limit,
		tpm: limit,
		concurrency: limit,
		input: limit,
		session_usd: Type.Optional(
			Type.Number({
				minimum: 0,
				maximum: MOST,
				description: "USD that one session may spend within 24 hours.",
			}),
		),
		engine_fields: Type.Optional(
			Type.Boolean({
				description: "Whether it may send chat templates and grammars of any size to inference servers of your own.",
			}),
		),
		trace_contents: Type.Optional(
			Type.Boolean({
				description:
					"Whether what its calls ask and are answered goes to whoever collects traces, in their spans. Default: false.",
			}),
		),
		role: Type.Optional(
			Type.Literal("viewer", {
				expects: "viewer, or left out",
				description: "`viewer`: it sees the console and /admin, changes nothing, and makes no calls.",
			}),
		),
		budget: Type.Optional(
			Type.Object(
				{
					usd: Type.Number({ minimum: 0, maximum: 1_000_000_000 }),
					per: Type.Optional(Type.Union([Type.Literal("day"), Type.Literal("month"), Type.Literal("total")])),
				},
				closed,
			),
		),
	},
	closed,
);
/** A key that is asked for. */
export type NewKeyBody = Static<typeof NewKeyBody>;

/** The body of `POST /admin/keys/{key}/rotate`. */
export const RotateBody = Type.Object(
	{
		overlap: Type.Optional(Type.String({ pattern: "^\\d+(\\.\\d+)?(ms|s|m|h|d)$", expects: "a duration such as 24h" })),
	},
	closed,
);

const newLimit = orNull(Type.Integer({ minimum: 1, maximum: MOST }), `a whole number from 1 to ${MOST}, or null`);

function orNull<S extends TSchema>(schema: S, expects: string) {
	return Type.Optional(Type.Union([schema, Type.Null()], { expects, description: "null: none." }));
}

const { team, models, session_usd, engine_fields, trace_contents, budget } = NewKeyBody.properties;

/** The body of `POST /admin/keys/{key}/change`: what is absent stays, what is null goes. */
export const KeyChangeBody = Type.Object(
	{
		team: orNull(team, "a text of 1 to 64 characters in one line, or null"),
		models: Type.Optional(models),
		rpm: newLimit,
		tpm: newLimit,
		concurrency: newLimit,
		input: newLimit,
		session_usd: orNull(session_usd, "an amount of USD, or null"),
		engine_fields: Type.Optional(engine_fields),
		trace_contents: Type.Optional(trace_contents),
		budget: orNull(budget, "a budget such as {usd: 50, per: month}, or null"),
	},
	{ additionalProperties: false },
);
/** A change that is asked for. */
export type KeyChangeBody = Static<typeof KeyChangeBody>;
