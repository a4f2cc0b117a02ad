/** The sections of the configuration about keys, limits, prices and usage. */
import { type Static, Type } from "@sinclair/typebox";
import { bytes, closed, duration, secret, section } from "./schema-parts.ts";

/** The highest value of a limit. */
const MOST = 1_000_000_000;
const limit = (description: string, example: number) =>
	Type.Optional(Type.Integer({ minimum: 1, maximum: MOST, description, examples: [example] }));

/** Limits of a key, a model or an address. Absent: no limit. */
const limits = {
	rpm: limit("Calls a minute.", 60),
	tpm: limit("Tokens a minute, of prompts and answers.", 100_000),
	concurrency: limit("Calls at once.", 4),
	input: limit("Tokens of the longest prompt, estimated.", 32_000),
};

const keyName = Type.String({ minLength: 1, maxLength: 64, description: "Shown in logs." });
const keySecret = secret({
	minLength: 8,
	pattern: "^[\\x21-\\x7e]*$",
	description: "The secret itself, best as `${NAME}` or `${file:/path}`; or `sha256:` and the hash of it.",
});

const budget = Type.Object(
	{
		usd: Type.Number({ minimum: 0, maximum: MOST, description: "USD it may spend." }),
		per: Type.Union([Type.Literal("day"), Type.Literal("month"), Type.Literal("total")], {
			default: "month",
			description: "In which time (UTC).",
		}),
	},
	{ ...closed, description: "What it may spend. Models whose price nobody knows are refused." },
);

const sessionUsd = (description: string) =>
	Type.Optional(Type.Number({ minimum: 0, maximum: MOST, description, examples: [5] }));

/** What is done about an agent that runs away. */
const reaction = (description: string, more?: { readonly default: "warn" }) =>
	Type.Union([Type.Literal("off"), Type.Literal("warn"), Type.Literal("slow"), Type.Literal("stop")], {
		...more,
		description: `${description} \`off\`: nothing; \`warn\`: the log, the metrics, a header and the console say it; \`slow\`: its calls wait as well, 1 s and longer each time, 30 s at most; \`stop\`: they are refused.`,
	});

/** One entry of `keys:`. */
export const key = Type.Object(
	{
		name: keyName,
		key: keySecret,
		team: Type.Optional(Type.String({ minLength: 1, maxLength: 64, description: "Whose usage it counts as, too." })),
		models: Type.Array(Type.String({ minLength: 1 }), {
			default: ["*"],
			description: "Model names this key may use; `*` stands for any text.",
		}),
		priority: Type.Optional(
			Type.Integer({
				minimum: -100,
				maximum: 100,
				description: "Priority in the queue of a model that has one: higher ones go first. Default: 0.",
			}),
		),
		engine_fields: Type.Optional(
			Type.Boolean({
				description:
					"Whether it may send chat templates, `mm_processor_kwargs`, `media_io_kwargs` and grammars of any size to inference servers of your own (vLLM, agents), which those can stop for all. Default: false.",
			}),
		),
		trace_contents: Type.Optional(
			Type.Boolean({
				description:
					"Whether what its calls ask and are answered stands in their spans (`gen_ai.input.messages`, `gen_ai.output.messages`), which go to whoever collects traces. Default: false.",
			}),
		),
		...limits,
		budget: Type.Optional(budget),
		session_usd: sessionUsd(
			"USD that one session of this key may spend within 24 hours, as its agent's session header names it.",
		),
		runaway: Type.Optional(
			reaction(
				"What is done about agents of this key that run away, in place of `runaway.loops` and `runaway.spending`.",
			),
		),
	},
	closed,
);

const adminKey = Type.Object(
	{
		name: keyName,
		key: keySecret,
		role: Type.Optional(
			Type.Union([Type.Literal("admin"), Type.Literal("viewer")], {
				description: "`viewer`: sees all in the console and under /admin, and changes nothing. Default: admin.",
			}),
		),
	},
	closed,
);

const limitSet = (description: string) => Type.Object(limits, { ...closed, description });

const amount = (description: string) => Type.Number({ minimum: 0, maximum: 1_000_000, description });

const kind = (description: string) => Type.Optional(amount(`USD per million ${description}`));

/** One entry of `prices:`. */
export const price = Type.Object(
	{
		input: kind("tokens of prompt."),
		output: kind("tokens of answer."),
		cached: kind("tokens of prompt that were read from the upstream's cache; as `input` where it is not set."),
		cache_write: kind("tokens of prompt that were written to it; as `input`."),
		reasoning: kind("tokens of thought; as `output`."),
		input_image: kind("tokens of pictures in the prompt; as `input`."),
		output_image: kind("tokens of pictures in the answer; as `output`."),
		input_audio: kind("tokens of sound in the prompt; as `input`."),
		output_audio: kind("tokens of sound in the answer; as `output`."),
		request: Type.Optional(amount("USD a call.")),
		image: Type.Optional(amount("USD a picture, of `/v1/images`.")),
		minute: Type.Optional(amount("USD a minute of sound, of `/v1/audio/transcriptions` and `translations`.")),
		characters: kind("characters, of `/v1/audio/speech`."),
		gpu_hour: Type.Optional(
			amount(
				"USD an hour of the model's hardware: calls that run at once share it, and idle time is not charged; a model on the CPU is, too.",
			),
		),
	},
	closed,
);

/** `limits:`. */
export const limitsSection = section(
	{
		models: Type.Record(Type.String({ minLength: 1 }), limitSet("What all calls for these models may take together."), {
			default: {},
			description:
				"By model name, `*` stands for any text: what all calls that may reach a model that fits an entry may take together, whichever of its names they ask for.",
			examples: [{ "gpt-5*": { rpm: 500, tpm: 200000 }, fast: { concurrency: 64 } }],
		}),
		session_usd: sessionUsd(
			"USD that one session may spend within 24 hours, of keys that say nothing else, and where there are none.",
		),
		address: Type.Optional(
			Type.Object(limits, { ...closed, description: "What each client address may take, where there are no keys." }),
		),
	},
	"Limits besides those of `keys:`. None applies unless it is set.",
);

/** `runaway:`. */
export const runaway = section(
	{
		loops: reaction("An agent that makes the same calls of tools with the same results again and again.", {
			default: "warn",
		}),
		rounds: Type.Integer({
			default: 3,
			minimum: 2,
			maximum: 1_000,
			description: "At which round of the same it has run away.",
		}),
		pause: duration({
			default: "5s",
			description:
				"After how long between an answer and the next call a round does not count: pollers wait before they look again.",
		}),
		spending: reaction("A key that spends far more than it usually does.", { default: "warn" }),
		factor: Type.Number({
			default: 10,
			minimum: 2,
			maximum: 1_000,
			description:
				"How many times what it has usually spent in five minutes a key must spend in five for that, and a USD at least; known once it has spent something in twelve of them.",
		}),
	},
	"Agents that run away.",
);

/** `usage:`. */
export const usage = section(
	{
		cost_in_answers: Type.Boolean({
			default: true,
			description: "Say in an answer's `usage.cost` what it cost, USD.",
		}),
		user_headers: Type.Array(Type.String({ pattern: "^[A-Za-z0-9-]+$", expects: "a header's name such as x-user" }), {
			default: ["x-openwebui-user-email", "x-openwebui-user-id"],
			description: "Headers that name the end user of a call, the first that is there; before the body's `user`.",
		}),
		keep: duration({ default: "30d", description: "How long single calls are kept. Sums by day are kept for ever." }),
		size: bytes({ default: "1GB", description: "How much room they may take: the oldest go first." }),
	},
	"The ledger of calls.",
);

/** `admin:`. */
export const admin = section(
	{
		keys: Type.Array(adminKey, {
			default: [],
			description: "Who may use the console and /admin. ROUTER_ADMIN_KEYS adds secrets, comma separated. None: nobody.",
			examples: [[{ name: "ops", key: "${OPS_ADMIN_KEY}" }]],
		}),
	},
	"Administration over HTTP.",
);

/** A key. */
export type KeyConfig = Static<typeof key>;
/** An admin's key. */
export type AdminKeyConfig = Static<typeof adminKey>;
/** What is done about an agent that runs away. */
export type RunawayReaction = Static<ReturnType<typeof reaction>>;
/** Limits of a key, a model or an address. */
export type LimitsConfig = Static<ReturnType<typeof limitSet>>;
/** A price. */
export type PriceConfig = Static<typeof price>;
