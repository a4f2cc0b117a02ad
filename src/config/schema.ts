/**
 * The configuration, described once. Types, defaults, validation, the JSON Schema
 * (`router init --schema`), the commented example (`router init`) and the README's
 * table all come from this schema.
 */
import { type Static, Type } from "@sinclair/typebox";
import { PROVIDER_TYPES, VENDORS } from "../vendors.ts";
import { admin, key, limitsSection, price, usage } from "./access.ts";
import { agent } from "./agent-schema.ts";
import { closed, mayBeEmpty, section } from "./section.ts";
import { cache, modelCache, redis } from "./sharing-schema.ts";
import { bytes, duration, secret, url } from "./units.ts";

/** Who may read a page that is open on loopback. */
const access = (what: string) =>
	Type.Union([Type.Literal("open"), Type.Literal("admin")], {
		default: "open",
		description: `Who may see ${what} from other machines: everyone, or who has an admin key. This machine always may.`,
	});
const server = section(
	{
		host: Type.String({
			default: "127.0.0.1",
			minLength: 1,
			description: "Address to listen on. Anything but loopback needs keys, or `insecure: true`.",
			env: "HOST",
		}),
		port: Type.Integer({
			default: 8000,
			minimum: 0,
			maximum: 65535,
			description: "Port; 0 picks a free one.",
			env: "PORT",
		}),
		insecure: Type.Boolean({
			default: false,
			description: "Listen beyond loopback without any key. Everyone who reaches the port spends your money.",
		}),
		generate_key: Type.Boolean({
			default: false,
			description: "Without any key: make one on the first start, print it once, keep its hash in the data directory.",
			env: "ROUTER_GENERATE_KEY",
		}),
		body_limit: bytes({ default: "32MB", description: "Largest request body." }),
		trusted_proxies: Type.Array(Type.String({ minLength: 1 }), {
			default: [],
			description:
				"Proxies whose X-Forwarded-For is believed: addresses or blocks (10.0.0.0/8). Else a client is whoever connects.",
			env: "TRUSTED_PROXIES",
		}),
		metrics: access("GET /metrics"),
		swagger: access("/swagger"),
		cors_origins: Type.Array(Type.String({ pattern: "^(\\*|https?://[^/\\s]+)$" }), {
			default: [],
			description:
				"Web origins that may call, besides localhost on any port: `https://chat.example.com`; `*` is every one.",
			env: "CORS_ORIGINS",
		}),
		keep_alive: duration({
			default: "15s",
			description:
				"A stream that is silent for so long gets a comment, so that no proxy on its way cuts it; 0s never sends one.",
		}),
		drain: duration({
			default: "5s",
			description: "How long calls are still taken after SIGTERM, with /health/ready off.",
		}),
		shutdown_timeout: duration({
			default: "10m",
			description: "How long running calls may take to finish after that.",
		}),
		tls: Type.Optional(
			Type.Object(
				{
					cert: Type.String({
						minLength: 1,
						description: "PEM file with the certificate chain; read again when it changes.",
						examples: ["tls/cert.pem"],
					}),
					key: Type.String({
						minLength: 1,
						description: "PEM file with its private key.",
						examples: ["tls/key.pem"],
					}),
				},
				{ ...closed, description: "Serve HTTPS." },
			),
		),
	},
	"Where and how the router listens.",
);

const total = { description: "From sending a call to the end of a non-streamed answer." };
const totalWithOthers =
	"While another target is left: what is usual for the target (3 x p99, 30 s to 5 m, more where `max_tokens` allows more than it ever gave; until 20 answers are known 2 m, by `max_tokens` 1 m to 5 m, for calls that reason 5 m), and no more than this.";
const firstToken = { description: "From sending a streamed call to its first event." };
const stall = { description: "Longest silence inside a stream before it counts as broken." };
const connect = { description: "To a connection." };

const timeouts = section(
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

/** Deadlines that differ somewhere: no defaults, which would win over the file's own `timeouts:`. */
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

const log = section(
	{
		level: Type.Union(
			["trace", "debug", "info", "warn", "error", "silent"].map((level) => Type.Literal(level)),
			{ default: "info", description: "The least grave of what is logged.", env: "LOG_LEVEL" },
		),
		dir: Type.String({
			default: "logs",
			minLength: 1,
			description: "Directory of the log files. Under systemd its LOGS_DIRECTORY.",
			env: "LOG_DIR",
		}),
		keep: Type.Integer({ default: 14, minimum: 1, maximum: 3650, description: "How many days of log files are kept." }),
	},
	"The log: JSON lines, rotated daily.",
);

const ROUTES_MODELS = PROVIDER_TYPES.filter((type) => VENDORS[type].routesModels);

const provider = Type.Object(
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
				description: "Several keys, which take turns; one that is refused is left out for a minute.",
			}),
		),
		headers: Type.Optional(
			Type.Record(Type.String({ minLength: 1 }), secret({ pasted: "header" }), {
				description: "Further headers for every call to it. OpenRouter's attribution: `http-referer`, `x-title`.",
			}),
		),
		system_prompt: Type.Optional(
			Type.Boolean({ description: "Venice only: let it add its own system prompt (the router switches that off)." }),
		),
		model_routing: Type.Optional(
			Type.Boolean({
				description: `Whether fields of a call may lead it to another model there (\`models\`, \`fallbacks\`, \`provider\`, \`plugins\` and the like), so that keys with \`models\` may not send them. Default: true for ${ROUTES_MODELS.join(", ")}, and for a vendor behind an address that is not its own; false says that it has none.`,
			}),
		),
		timeouts: ownTimeouts("Deadlines that differ for this provider; they hold whatever other targets there are."),
	},
	{ ...closed, ...mayBeEmpty },
);

const target = Type.Union([
	Type.String({ minLength: 1 }),
	Type.Object(
		{
			provider: Type.String({ minLength: 1 }),
			model: Type.String({ minLength: 1 }),
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

const model = Type.Object(
	{
		name: Type.String({ minLength: 1, description: "The name clients use." }),
		targets: Type.Array(target, {
			minItems: 1,
			description:
				"Where it runs: `provider/model`, or `{provider, model}` and, where the router can't know, its `context` (tokens) and what it `lacks` (tools, images, schema, embeddings).",
		}),
		fallback: Type.Optional(Type.Array(target, { description: "Where it goes when no target answers." })),
		policy: Type.Union(
			[Type.Literal("order"), Type.Literal("balanced"), Type.Literal("cheapest"), Type.Literal("fastest")],
			{
				default: "balanced",
				description:
					"How targets are put in order. `balanced`: the house's own by cached prompt and load, then llm-d, then vendors by price and speed.",
			},
		),
		max_wait: Type.Optional(
			duration({ description: "Calls go past a target of the house's own whose queue will make them wait longer." }),
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
		concurrency: Type.Optional(
			Type.Integer({ minimum: 1, description: "Calls that may run at once; further ones wait in line." }),
		),
		queue: Type.Optional(
			Type.Integer({
				minimum: 0,
				description: "Calls that may wait in line; further ones are refused with a 429. Default: 100.",
			}),
		),
		cache: modelCache,
	},
	closed,
);

const agents = section(
	{
		allow: Type.Array(Type.String({ minLength: 1 }), {
			default: [],
			description:
				"Where agents may be, besides the address they register from: host names, addresses, blocks (10.0.0.0/8), origins.",
			env: "ROUTER_AGENTS_ALLOW",
		}),
	},
	"Agents that register with this router.",
);

/** The whole of `router.yaml`. */
export const ConfigSchema = Type.Object(
	{
		server,
		timeouts,
		log,
		data_dir: Type.String({
			default: "data",
			minLength: 1,
			description: "Directory of what the router remembers. Under systemd its STATE_DIRECTORY.",
			env: "DATA_DIR",
		}),
		ca_file: Type.Optional(
			Type.String({
				minLength: 1,
				description:
					"PEM file with further certificate authorities, for every upstream, agent and router that is called.",
				env: "ROUTER_CA_FILE",
				examples: ["tls/ca.pem"],
			}),
		),
		keys: Type.Array(key, {
			default: [],
			description: "Who may call. None: loopback only, no key asked. ROUTER_API_KEYS adds secrets, comma separated.",
			examples: [
				[
					{
						name: "team-a",
						key: "${TEAM_A_KEY}",
						models: ["fast", "local/*"],
						rpm: 600,
						tpm: 1000000,
						budget: { usd: 50, per: "day" },
					},
					{ name: "ops", key: "${OPS_KEY}" },
				],
			],
		}),
		limits: limitsSection,
		admin,
		usage,
		providers: Type.Record(Type.String({ pattern: "^[a-z0-9][a-z0-9._-]*$" }), provider, {
			...closed,
			...mayBeEmpty,
			default: {},
			description: "Upstreams. The known ones need only their environment variable.",
			examples: [
				{
					openrouter: { api_key: "${OPENROUTER_API_KEY}", headers: { "x-title": "our-chat" } },
					mybox: { type: "openai-compatible", base_url: "http://10.0.0.7:8000/v1", timeouts: { stall: "2m" } },
				},
			],
		}),
		models: Type.Array(model, {
			default: [],
			description: "Names of your own.",
			examples: [
				[
					{
						name: "fast",
						targets: ["local/qwen3-8b", { provider: "openrouter", model: "qwen/qwen3-8b" }],
						fallback: ["gpt-5-mini"],
						policy: "balanced",
						max_wait: "5s",
						cache: { enabled: true, ttl: "10m" },
					},
				],
			],
		}),
		prices: Type.Record(Type.String({ minLength: 1 }), price, {
			...mayBeEmpty,
			default: {},
			description:
				"What `provider/model` costs (`*` stands for any text; upper or lower case), where the router's table of list prices is wrong or silent.",
			examples: [{ "openai/gpt-5-mini": { input: 0.25, output: 2, cached: 0.025 }, "local/*": { gpu_hour: 1.2 } }],
		}),
		cache,
		redis,
		agents,
		agent,
	},
	{ ...closed, $id: "router.yaml" },
);

/** The configuration after loading: every default filled in, durations in ms, sizes in bytes. Immutable; a call holds one. */
export type Config = Static<typeof ConfigSchema>;
/** One entry of `providers:`. */
export type ProviderConfig = Static<typeof provider>;
/** One entry of `models:`. */
export type ModelConfig = Static<typeof model>;
/** One entry of `targets:` or `fallback:`. */
export type TargetConfig = Static<typeof target>;
