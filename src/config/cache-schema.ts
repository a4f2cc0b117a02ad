/** The sections `cache:`, `responses:` and `redis:` of the configuration. */
import { Type } from "@sinclair/typebox";
import { REDIS_FORMS } from "./redis-url.ts";
import { bytes, closed, duration, secret, section } from "./schema-parts.ts";

/** The `cache:` section. */
export const cache = section(
	{
		enabled: Type.Boolean({
			default: true,
			description:
				"Answer a call again that was answered before: calls that say `temperature: 0`, embeddings, and those that ask for it.",
		}),
		memory: bytes({ default: "64MB", description: "Memory for answers; the least recently used make room." }),
		ttl: duration({ default: "1h", description: "How long an answer is kept; 0s keeps none." }),
		max_entry: bytes({ default: "4MB", description: "Largest answer that is kept." }),
		shared: Type.Boolean({
			default: false,
			description: "Let all keys share their answers. Else no key ever sees what another one got.",
		}),
	},
	"Answers that are kept, in memory and, where there is one, in Redis.",
);

/** `cache:` of an entry of `models:`. */
export const modelCache = Type.Optional(
	Type.Object(
		{
			enabled: Type.Optional(
				Type.Boolean({
					description: "`true` keeps the answers of every call, whatever its temperature; `false` of none.",
				}),
			),
			ttl: Type.Optional(duration({ description: "How long they are kept." })),
		},
		{ ...closed, description: "What differs for this model's answers from `cache:`." },
	),
);

/** The `responses:` section. */
export const responses = section(
	{
		keep: duration({
			default: "30d",
			description:
				"How long a response (/v1/responses) is stored since its last use, unless its call says `store: false`; 0s stores none.",
		}),
		size: bytes({ default: "1GB", description: "How much room they may take: the longest unused go first." }),
	},
	"Stored responses, which clients go on from by an id. In Redis, where there is one, else in the data directory.",
);

/** The `redis:` section. */
export const redis = section(
	{
		url: Type.Optional(
			secret({
				...REDIS_FORMS,
				description: `Redis 6.2 or later, for several routers as one. ${REDIS_FORMS.description}`,
				env: "REDIS_URL",
				valueKind: "address",
				examples: ["redis://:${REDIS_PASSWORD}@redis:6379/0"],
			}),
		),
		prefix: Type.String({
			default: "router:",
			minLength: 1,
			maxLength: 64,
			pattern: "^[^\\s{}]*$",
			expects: "text without spaces and braces",
			description: "What the names of all keys begin with; routers with the same one belong together.",
		}),
		timeout: duration({
			default: "50ms",
			description: "How long a call waits for Redis before it goes on without it.",
		}),
		ca_file: Type.Optional(
			Type.String({
				minLength: 1,
				description: "PEM file with the authority of Redis's certificate, where that is no public one.",
				examples: ["tls/ca.pem"],
			}),
		),
	},
	"What several routers share: answers, limits, keys, spend, agents, stored responses. A Redis that is away fails no call.",
);
