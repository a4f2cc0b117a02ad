/** The sections of the configuration about upstreams: `timeouts:`, `providers:` and `models:`. */
import { type Static, Type } from "@sinclair/typebox";
import { PROVIDER_TYPES, VENDORS } from "../vendors.ts";
import { modelCache } from "./cache-schema.ts";
import { closed, duration, mayBeEmpty, secret, section, url } from "./schema-parts.ts";
import { shadow } from "./shadow-schema.ts";

const total = { description: "From sending a call to the end of a non-streamed answer." };
const totalWithOthers =
	"While another target is left: what is usual for the target (3 x p99, 30 s to 5 m, more where `max_tokens` allows more than it ever gave; until 20 answers are known 2 m, by `max_tokens` 1 m to 5 m, for calls that reason 5 m), and no more than this.";
const firstToken = { description: "From sending a streamed call to its first event." };
const stall = { description: "Longest silence inside a stream before it counts as broken." };
const connect = { description: "To a connection." };

/** `timeouts:`. */
export const timeouts = section(
	{
		total: duration({ description: `${total.description} ${totalWithOthers}`, default: "10m" }),
		first_token: duration({
			description: `${firstToken.description} While another target is left: what is usual for the target (3 x p99, 10 s to 2 m; until 20 calls are known 30 s, for calls that reason 2 m), and no more than this.`,
			default: "10m",
		}),
		stall: duration({
			description: `${stall.description} Where the answer can go on elsewhere: 30 s, and no more than this.`,
			default: "10m",
		}),
		connect: duration({ ...connect, default: "5s" }),
		attempts: duration({
			description: "From a call's arrival: how long further attempts may be begun for it.",
			default: "10m",
		}),
	},
	"Deadlines towards upstreams. A client lowers `total` and `first_token` for its call with `x-router-timeout-ms`.",
);

/** Deadlines of a provider or model: without defaults, which would win over the file's `timeouts:`. */
const ownTimeouts = (description: string) =>
	Type.Optional(
		Type.Object(
			{
				total: Type.Optional(duration(total)),
				first_token: Type.Optional(duration(firstToken)),
				stall: Type.Optional(duration(stall)),
				connect: Type.Optional(duration(connect)),
			},
			{ ...closed, description },
		),
	);

const DROP = Type.Literal("drop");
const REFUSE = Type.Literal("refuse");
/** What becomes of a field that an upstream has no form for. */
const unsupported = (whose: string) =>
	Type.Optional(
		Type.Union([DROP, REFUSE], {
			description: `What becomes of fields of a call that Claude or Gemini has no form for and that only tune an answer (\`seed\`, penalties, \`logit_bias\`, \`temperature\`, \`reasoning_effort\` and the like): \`refuse\` tries the next target, \`drop\` leaves them out and names them in \`x-router-dropped\`. Default: ${whose}`,
		}),
	);
/** See {@link unsupported}. */
export type UnsupportedPolicy = Static<typeof DROP> | Static<typeof REFUSE>;

const ROUTES_MODELS = PROVIDER_TYPES.filter((type) => VENDORS[type].routesModels);
const SPEAK_RESPONSES = PROVIDER_TYPES.filter((type) => VENDORS[type].responses);
/** Vendors of whose defaults one is that they add no system prompt of their own. */
const HAS_DEFAULTS = PROVIDER_TYPES.filter((type) => VENDORS[type].defaults).map((type) => VENDORS[type].title);

/** One entry of `providers:`. */
export const provider = Type.Object(
	{
		type: Type.Optional(
			Type.Union(
				PROVIDER_TYPES.map((type) => Type.Literal(type)),
				{ description: "What it speaks like; the provider's own name where that is a known type." },
			),
		),
		base_url: Type.Optional(url({ description: "Where it answers, with or without the `/v1`." })),
		api_key: Type.Optional(secret({ minLength: 1, description: "Its key, best as `${NAME}`." })),
		api_keys: Type.Optional(
			Type.Array(secret({ minLength: 1 }), {
				minItems: 1,
				description:
					"Several keys, which take turns, conversation by conversation; one that is refused is left out for a minute.",
			}),
		),
		shared_prompt_cache: Type.Optional(
			Type.Boolean({
				description:
					"Its keys are of one organization (OpenAI), workspace (Anthropic) or project (Google), and so share its prompt cache: a conversation need not stay with one of them.",
			}),
		),
		headers: Type.Optional(
			Type.Record(Type.String({ minLength: 1 }), secret({ valueKind: "header" }), {
				description: "Further headers for every call to it. OpenRouter's attribution: `http-referer`, `x-title`.",
			}),
		),
		system_prompt: Type.Optional(
			Type.Boolean({
				description: `${HAS_DEFAULTS.join(", ")} only: let it add its own system prompt (the router switches that off).`,
			}),
		),
		model_routing: Type.Optional(
			Type.Boolean({
				description: `Whether fields of a call may lead it to another model there (\`models\`, \`fallbacks\`, \`provider\`, \`plugins\` and the like), so that keys with \`models\` may not send them. Default: true for ${ROUTES_MODELS.join(", ")}, and for a vendor behind an address that is not its own; false says that it has none.`,
			}),
		),
		responses: Type.Optional(
			Type.Union([Type.Literal("native"), Type.Literal("chat")], {
				description: `How calls to \`/v1/responses\` reach it: \`native\` as they came, \`chat\` as chat completions. Default: \`native\` for ${SPEAK_RESPONSES.join(", ")}, \`chat\` for all others. One that turns out to have no \`/v1/responses\` is asked by chat completions from then on.`,
			}),
		),
		unsupported: unsupported("`refuse` for calls to `/v1/chat/completions`, `drop` for those of other APIs."),
		timeouts: ownTimeouts("Deadlines that differ for this provider; they hold whatever other targets there are."),
	},
	{ ...closed, ...mayBeEmpty },
);

/** One entry of `targets:` or `fallback:`. */
export const target = Type.Union([
	Type.String({ minLength: 1 }),
	Type.Object(
		{
			provider: Type.String({ minLength: 1 }),
			model: Type.String({ minLength: 1 }),
			weight: Type.Optional(
				Type.Number({
					minimum: 0,
					maximum: 1_000_000,
					description:
						"Its share of the calls among the targets of its list, each of which has 1 unless it says otherwise; 0 leaves it out while another is well.",
				}),
			),
			context: Type.Optional(
				Type.Integer({
					minimum: 1,
					description: "Tokens of prompt and answer together, where the router does not know.",
				}),
			),
			lacks: Type.Optional(
				Type.Array(
					Type.Union([
						Type.Literal("tools"),
						Type.Literal("images"),
						Type.Literal("schema"),
						Type.Literal("embeddings"),
					]),
					{ description: "What it can't do: calls that need it go elsewhere." },
				),
			),
		},
		closed,
	),
]);

/** One entry of `models:`. */
export const model = Type.Object(
	{
		name: Type.String({
			minLength: 1,
			description:
				"The name clients use. `*` stands for any text, which is put where a target has one: `anthropic/*`, with the target `mybox/*`.",
		}),
		targets: Type.Array(target, {
			minItems: 1,
			description:
				"Where it runs: `provider/model`, or `{provider, model}` with its `weight` (share of the calls) and, where the router can't know, its `context` (tokens) and what it `lacks` (tools, images, schema, embeddings).",
		}),
		fallback: Type.Optional(Type.Array(target, { description: "Where it goes when no target answers." })),
		policy: Type.Union(
			[Type.Literal("balanced"), Type.Literal("order"), Type.Literal("cheapest"), Type.Literal("fastest")],
			{
				default: "balanced",
				description:
					"How targets are put in order. `balanced`: local ones by cached prompt and load, then llm-d, then vendors by price and speed.",
			},
		),
		max_wait: Type.Optional(
			duration({ description: "Calls go past a local target whose queue will make them wait longer." }),
		),
		timeouts: ownTimeouts("Deadlines that differ for this model; they hold whatever other targets there are."),
		hedge: Type.Optional(
			Type.Boolean({
				description:
					"Hedged requests. Not set: a call whose target is silent for too long (a stream 10 s, a whole answer 3 x p99, 20 s until 20 are known) is sent to a further target that costs nothing, too, and the first to answer is used. `true`: also to targets that cost something, and a stream as soon as its first token is later than 95 % of those of its target; both for at most 5 % of calls. `false`: never.",
			}),
		),
		resume: Type.Optional(
			Type.Union([Type.Literal("targets"), Type.Literal("any"), Type.Literal("off")], {
				description:
					"Where a stream that breaks goes on: `targets` (the default) are equal for that, `any` is in `fallback`, too, `off` is nowhere.",
			}),
		),
		unsupported: unsupported("as its providers have it."),
		concurrency: Type.Optional(
			Type.Integer({ minimum: 1, description: "Calls that may run at once; further ones wait in its queue." }),
		),
		queue: Type.Optional(
			Type.Integer({
				minimum: 0,
				description: "Calls that may wait in the queue; further ones are refused with a 429. Default: 100.",
			}),
		),
		cache: modelCache,
		shadow: Type.Optional(shadow),
	},
	closed,
);
