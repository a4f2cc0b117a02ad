/**
 * The configuration, described once. Types, defaults, validation, the JSON Schema
 * (`router init --schema`), the commented example (`router init`) and the README's
 * table all come from this schema.
 */
import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { cache, modelCache, redis } from "./sharing-schema.ts";
import { bytes, duration, secret, url } from "./units.ts";

const closed = { additionalProperties: false } as const;

/** An object whose fields are all optional in the file and all present, by default, in the program. */
const section = <T extends Record<string, TSchema>>(properties: T, description: string) =>
	Type.Object(properties, { ...closed, description, default: {} });

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
		cors_origins: Type.Array(Type.String({ pattern: "^(\\*|https?://[^/\\s]+)$" }), {
			default: [],
			description:
				"Web origins that may call, besides localhost on any port: `https://chat.example.com`; `*` is every one.",
			env: "CORS_ORIGINS",
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
const firstToken = { description: "From sending a streamed call to its first event." };
const stall = { description: "Longest silence inside a stream before it counts as broken." };

const timeouts = section(
	{
		total: duration({ ...total, default: "10m" }),
		first_token: duration({ ...firstToken, default: "10m" }),
		stall: duration({ ...stall, default: "10m" }),
	},
	"Deadlines towards upstreams. A client lowers `total` and `first_token` for its call with `x-router-timeout-ms`.",
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

const key = Type.Object(
	{
		name: Type.String({ minLength: 1, maxLength: 64, description: "Shown in logs." }),
		key: secret({ minLength: 8, pattern: "^[\\x21-\\x7e]*$", description: "The secret itself, best as `${NAME}`." }),
		models: Type.Array(Type.String({ minLength: 1 }), {
			default: ["*"],
			description: "Model names this key may use; `*` stands for any text.",
		}),
	},
	closed,
);

/** Provider types the file may name. */
export const PROVIDER_TYPES = [
	"openai",
	"anthropic",
	"gemini",
	"openrouter",
	"xai",
	"venice",
	"llm-d",
	"local",
	"vllm",
	"openai-compatible",
] as const;

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
		headers: Type.Optional(
			Type.Record(Type.String({ minLength: 1 }), secret({}), {
				description: "Further headers for every call to it. OpenRouter's attribution: `http-referer`, `x-title`.",
			}),
		),
		system_prompt: Type.Optional(
			Type.Boolean({ description: "Venice only: let it add its own system prompt (the router switches that off)." }),
		),
		timeouts: Type.Optional(
			// Not Type.Partial(timeouts): that keeps the defaults, which would then win over the file's own `timeouts:`.
			Type.Object(
				{
					total: Type.Optional(duration(total)),
					first_token: Type.Optional(duration(firstToken)),
					stall: Type.Optional(duration(stall)),
				},
				{ ...closed, description: "Deadlines that differ for this provider." },
			),
		),
	},
	closed,
);

const target = Type.Union([
	Type.String({ minLength: 1 }),
	Type.Object({ provider: Type.String({ minLength: 1 }), model: Type.String({ minLength: 1 }) }, closed),
]);

const model = Type.Object(
	{
		name: Type.String({ minLength: 1, description: "The name clients use." }),
		targets: Type.Array(target, {
			minItems: 1,
			description: "Where it runs, in order: `provider/model` or `{provider, model}`.",
		}),
		fallback: Type.Optional(Type.Array(target, { description: "Where it goes when no target answers." })),
		cache: modelCache,
	},
	closed,
);

const agent = section(
	{
		host: Type.String({
			default: "127.0.0.1",
			minLength: 1,
			description: "Address the agent listens on.",
			env: "HOST",
		}),
		port: Type.Integer({ default: 5000, minimum: 0, maximum: 65535, description: "Port of the agent.", env: "PORT" }),
		vllm_url: url({
			default: "http://localhost:8001",
			description: "An already running vLLM that the agent relays to.",
			env: "VLLM_BASE_URL",
		}),
		vllm_api_key: Type.Optional(
			secret({
				minLength: 1,
				description: "The key that vLLM was started with.",
				env: "VLLM_API_KEY",
				examples: ["${VLLM_API_KEY}"],
			}),
		),
	},
	"The agent role (`router --agent`).",
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
				description: "PEM file with further certificate authorities, for vendors.",
				env: "ROUTER_CA_FILE",
				examples: ["tls/ca.pem"],
			}),
		),
		keys: Type.Array(key, {
			default: [],
			description: "Who may call. None: loopback only, no key asked. ROUTER_API_KEYS adds secrets, comma separated.",
			examples: [
				[
					{ name: "team-a", key: "${TEAM_A_KEY}", models: ["fast", "local/*"] },
					{ name: "ops", key: "${OPS_KEY}" },
				],
			],
		}),
		providers: Type.Record(Type.String({ pattern: "^[a-z0-9][a-z0-9._-]*$" }), provider, {
			...closed,
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
						cache: { enabled: true, ttl: "10m" },
					},
				],
			],
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
/** One entry of `targets:` or `fallback:`. */
export type TargetConfig = Static<typeof target>;
/** One entry of `keys:`. */
export type KeyConfig = Static<typeof key>;
