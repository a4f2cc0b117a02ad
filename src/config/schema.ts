/**
 * The schema of the configuration. Types, defaults, validation, the JSON Schema (`router init --schema`), the commented example
 * (`router init`) and the documented table of settings all come from it.
 */
import { type Static, Type } from "@sinclair/typebox";
import { admin, key, limitsSection, price, runaway, usage } from "./access.ts";
import { agent } from "./agent-schema.ts";
import { cache, redis, responses } from "./cache-schema.ts";
import { bytes, closed, duration, mayBeEmpty, secret, section } from "./schema-parts.ts";
import { model, provider, type target, timeouts } from "./upstream-schema.ts";

/** Most threads that answer calls. */
export const MOST_WORKERS = 8;

/** Who may read a page that is open on loopback. */
const access = (what: string) =>
	Type.Union([Type.Literal("open"), Type.Literal("admin")], {
		default: "open",
		description: `Who may see ${what} from other machines: everyone, or who has an admin key. This machine always may.`,
	});
/** 1 to 65535. */
const PORT = "([1-9]\\d{0,3}|[1-5]\\d{4}|6[0-4]\\d{3}|65[0-4]\\d{2}|655[0-2]\\d|6553[0-5])";
const OCTET = "(25[0-5]|2[0-4]\\d|1?\\d?\\d)";

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
		workers: Type.Union([Type.Literal("auto"), Type.Integer({ minimum: 1, maximum: MOST_WORKERS })], {
			default: "auto",
			description:
				"Threads that answer calls. `auto` is the CPUs that this process may use, less one, at least 1 and at most 8; elsewhere than on Linux it is 1.",
			env: "ROUTER_WORKERS",
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
		cors_origins: Type.Array(
			Type.String({
				pattern: "^(\\*|https?://[^/\\s]+)$",
				expects: "* or an origin without a path, such as https://chat.example.com",
			}),
			{
				default: [],
				description:
					"Web origins that may call, besides localhost on any port: `https://chat.example.com`; `*` is every one.",
				env: "CORS_ORIGINS",
			},
		),
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

const replicas = Type.Object(
	{
		min: Type.Integer({
			default: 0,
			minimum: 0,
			maximum: 1000,
			description: "Loaded whether or not calls come, at other agents where one is gone.",
		}),
		max: Type.Optional(
			Type.Integer({ minimum: 1, maximum: 1000, description: "Never more; without it as many as fit." }),
		),
		calls: Type.Integer({
			default: 32,
			minimum: 1,
			maximum: 100_000,
			description: "Calls under way for each replica, from which on another one is loaded.",
		}),
		first_token: Type.Optional(
			duration({ description: "Mean time to the first token from which on another one is loaded." }),
		),
		ttl: duration({
			default: "15m",
			description:
				"How long half as many calls as the rest could take must have come until one replica less is kept, and none for the last to go.",
		}),
	},
	closed,
);

/** A host's own address: one that is no group's. */
const MAC = "^[0-9A-Fa-f][02468ACEace]([:-][0-9A-Fa-f]{2}){5}$";
const wake = Type.Object(
	{
		mac: Type.String({
			pattern: MAC,
			expects: "the MAC address of the host's network card, such as 52:54:00:12:34:56",
			description: "MAC address of its network card.",
		}),
		password: Type.Optional(
			secret({
				pattern: "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$",
				expects: "six bytes such as 00:11:22:33:44:55",
				description: "SecureOn password, where the card asks for one.",
				examples: ["${WAKE_PASSWORD}"],
			}),
		),
		broadcast: Type.Optional(
			Type.String({
				pattern: `^${OCTET}(\\.${OCTET}){3}(:${PORT})?$`,
				expects: "an IPv4 address such as 10.0.0.255, or with a port 10.0.0.255:9",
				description:
					"Where packets go; default: port 9 of each of this machine's networks, and of the host's last address.",
				examples: ["10.0.0.255"],
			}),
		),
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
		replicas: Type.Record(Type.String({ minLength: 1 }), replicas, {
			...mayBeEmpty,
			default: {},
			description:
				"How many replicas an on-demand model has over all agents, by the name that the agents give it: loaded where it fits best, more by demand, none while nobody calls.",
			examples: [{ "BAAI/bge-m3": { min: 1, max: 3, ttl: "30m" } }],
		}),
		wake: Type.Record(Type.String({ pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" }), wake, {
			...closed,
			...mayBeEmpty,
			default: {},
			description:
				"Hosts of agents, by the agents' names, that sleep when nobody needs them: a call for a model that nothing else serves wakes one by a magic packet (Wake-on-LAN), and waits.",
			examples: [{ "gpu-1": { mac: "52:54:00:12:34:56" } }],
		}),
		wake_wait: duration({
			default: "5m",
			description: "How long calls wait for a host that is woken; one that does not come is left alone for 10 minutes.",
		}),
	},
	"Agents that register with this router.",
);

/** The whole of `router.yaml`. */
export const ConfigSchema = Type.Object(
	{
		server,
		timeouts,
		poisonous_requests: duration({
			default: "10m",
			description:
				"How long a call is refused that an engine of your own (vLLM, agents) died of twice; 0s refuses none.",
		}),
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
		runaway,
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
		responses,
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
