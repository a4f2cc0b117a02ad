/** The loads of the bench: what is sent, how the upstream answers, and what the router has to do besides. */
import { type Mode, type RequestOptions, request, TOKENS } from "./wire.ts";

/** What the router does besides relaying: nothing; keys, limits, a budget and prices; Claude's or Gemini's wire behind OpenAI's. */
export const VARIANTS = ["plain", "guarded", "claude", "gemini"] as const;
export type Variant = (typeof VARIANTS)[number];

/** Those that a usual run measures the main loads under. */
const MAIN: readonly Variant[] = ["plain", "guarded", "claude"];
/** What speaks another wire behind the router. */
const TRANSLATED: readonly Variant[] = ["claude", "gemini"];

/** One kind of load, before the variants. */
interface Kind {
	readonly name: string;
	readonly mode: Mode;
	readonly connections: number;
	/** Bytes of the request; 1,024 unless said. */
	readonly bytes?: number;
	readonly text?: RequestOptions["text"];
	readonly stream?: boolean;
	/** The router answers from its cache; all others ask the upstream. */
	readonly cached?: boolean;
	/** Those that a run without BENCH_FULL=1 measures. */
	readonly usual: readonly Variant[];
	/** Makes no sense with these: what the cache holds has been translated. */
	readonly never?: readonly Variant[];
}

const KINDS: readonly Kind[] = [
	{ name: "whole 1 KB, 1 connection", mode: "whole", connections: 1, usual: ["plain", "guarded"] },
	{ name: "whole 1 KB, 32 connections", mode: "whole", connections: 32, usual: MAIN },
	{ name: "whole 1 KB, 256 connections", mode: "whole", connections: 256, usual: ["plain"] },
	{ name: "200 KB request, 8 connections", mode: "whole", connections: 8, bytes: 200e3, usual: ["plain", "guarded"] },
	{ name: "2 MB request, 8 connections", mode: "whole", connections: 8, bytes: 2e6, usual: ["plain"] },
	{
		name: "200 KB request, half escapes and non-ASCII, 8 connections",
		mode: "whole",
		connections: 8,
		bytes: 200e3,
		text: "escaped",
		usual: [],
	},
	...[
		{ name: "whole 1 KB, 32 connections", connections: 32 },
		{ name: "200 KB request, 8 connections", connections: 8, bytes: 200e3 },
		{ name: "2 MB request, 8 connections", connections: 8, bytes: 2e6 },
	].map(
		({ name, ...rest }): Kind => ({
			name: `${name}, from the cache`,
			mode: "whole",
			cached: true,
			usual: ["plain"],
			never: TRANSLATED,
			...rest,
		}),
	),
	{ name: "200 events at once, 64 connections", mode: "burst", connections: 64, stream: true, usual: MAIN },
	{
		name: "200 events at once, 32 connections, from the cache",
		mode: "burst",
		connections: 32,
		stream: true,
		cached: true,
		usual: ["plain"],
		never: TRANSLATED,
	},
	{ name: "200 events 5 ms apart, 64 connections", mode: "paced", connections: 64, stream: true, usual: MAIN },
	{ name: "1,000 slow streams", mode: "slow", connections: 1000, stream: true, usual: ["plain"] },
];

/** One row of the table. */
export interface Scenario {
	/** Of the kind of load, then of the variant; unique. */
	readonly name: string;
	readonly mode: Mode;
	readonly variant: Variant;
	readonly connections: number;
	readonly cached: boolean;
	readonly stream: boolean;
	/** The request's JSON. */
	readonly body: string;
	/** Where it is sent to; a chat's, unless said. */
	readonly path?: string;
	/** Says what is wrong with an answer, where that is no chat's. */
	readonly faultIn?: (text: string) => string | undefined;
	/**
	 * What the load counts is divided by this: streams that pause are counted by their events, so that a window may
	 * begin and end inside of them. What is told of `slow` streams, which have no end, is told of one event.
	 */
	readonly eventsPerCall: number;
}

const SAID: Record<Variant, string> = {
	plain: "",
	guarded: "; keys, limits, budget",
	claude: "; through Claude's wire",
	gemini: "; through Gemini's wire",
};

const MODELS: Record<Variant, string> = {
	plain: "openai/bench",
	guarded: "openai/bench",
	claude: "anthropic/claude-bench",
	gemini: "gemini/gemini-bench",
};

function scenario(kind: Kind, variant: Variant): Scenario {
	const asked: RequestOptions = {
		model: MODELS[variant],
		...(kind.stream ? { stream: true } : {}),
		...(kind.cached ? { cached: true } : {}),
		...(kind.bytes ? { bytes: kind.bytes } : {}),
		...(kind.text ? { text: kind.text } : {}),
	};
	return {
		name: kind.name + SAID[variant],
		mode: kind.mode,
		variant,
		connections: kind.connections,
		cached: kind.cached ?? false,
		stream: kind.stream ?? false,
		body: request(asked),
		eventsPerCall: kind.mode === "paced" ? TOKENS : 1,
	};
}

/** Where a load is sent to, of what is measured at `url`. */
export const addressOf = (url: string, { path = "/v1/chat/completions" }: Pick<Scenario, "path">): string => url + path;

/** Whether latencies are those of single events on their way, not of calls. */
export const isTimedByEvent = ({ mode }: Pick<Scenario, "mode">): boolean => mode === "paced" || mode === "slow";

/**
 * The loads to run: the usual ones or `full`, all of them, each under every variant that makes sense; of these the
 * ones whose name holds `only`. Throws, with the names, where there is none.
 */
export function chooseLoads({ full = false, only = "" }: { full?: boolean; only?: string }): Scenario[] {
	const all = KINDS.flatMap((kind) =>
		VARIANTS.filter((variant) => !kind.never?.includes(variant)).map((variant) => ({ kind, variant })),
	);
	// Whoever asks for a load by name means it, usual or not.
	const wanted = all.filter(({ kind, variant }) =>
		only ? (kind.name + SAID[variant]).includes(only) : full || kind.usual.includes(variant),
	);
	if (wanted.length === 0) {
		const names = all.map(({ kind, variant }) => `  ${kind.name}${SAID[variant]}`);
		throw new Error(`bench: no load's name holds "${only}". There are:\n${names.join("\n")}`);
	}
	return wanted.map(({ kind, variant }) => scenario(kind, variant));
}
