/**
 * Replicas whose KV caches hold a part of what they are asked, a router in front of them and its clients, in simulated time. The agent's own
 * parts read the engines' events and prompts, as far as they need no socket; a report, and the tokens of a prompt, take their time.
 */
import { HeldPrefixes } from "../../src/agent/vllm/held-prefixes.ts";
import { blockContents } from "../../src/agent/vllm/kv-blocks.ts";
import type { KvEvent } from "../../src/agent/vllm/kv-events.ts";
import { PromptBlocks } from "../../src/agent/vllm/prompt-blocks.ts";
import type { Provider } from "../../src/providers/provider.ts";
import { type Prompt, promptOf } from "../../src/routing/affinity.ts";
import { LocalRoutingState } from "../../src/routing/local-routing-state.ts";
import { plan } from "../../src/routing/plan.ts";
import type { Chat } from "../bench/routing-workloads.ts";
import { random } from "./random.ts";
import { call, replica, route } from "./routes.ts";
import { SimulatedTime } from "./simulated-time.ts";

/** Tokens a block, and characters a token. */
const BLOCK_TOKENS = 16;
const PER_TOKEN = 5;
/** A replica computes a prompt's token so fast, ms, and begins each prompt with so much. */
const TOKEN_MS = 0.1;
const PROMPT_MS = 10;
/** From an answer's first token to its last, ms. */
const ANSWER_MS = 250;
/** What tokenizing a prompt again takes of a replica, ms a token: 2,000 tokens in 4 ms, with their JSON. */
const TOKENIZE_MS = 0.002;
/** From a change in a cache until the router has heard it, ms. */
const REPORT_MS = 120;

/** How they are set up. */
export interface EvictingSimulation {
	readonly chats: readonly Chat[];
	readonly replicas: number;
	/** Tokens of KV cache of each. */
	readonly kvTokens: number;
	/** By characters alone, as without KV events, or by what the engines say. */
	readonly knows: "characters" | "events";
	/** Times at which a replica is started anew, empty, ms: one after the other. */
	readonly restarts?: readonly number[];
	/** Of whom chance is. */
	readonly seed: number;
}

/** What a run gave. */
export interface EvictingOutcome {
	/** Times to the first token, ms. */
	readonly times: readonly number[];
	/** Prompt tokens that were in the caches, of all. */
	readonly hitRate: number;
	/** Prompts that were tokenized for the router's sake. */
	readonly tokenized: number;
}

/** A replica's engine: it computes one prompt after the other; blocks used longest ago are given up, the end of a prompt first. */
class EvictingEngine {
	freeAt = 0;
	hits = 0;
	/** In the order of their use, the ends of prompts first. */
	readonly #cached = new Set<number>();

	constructor(
		private readonly room: number,
		private readonly publish: (...events: KvEvent[]) => void,
	) {}

	/** Computes a prompt. How many of its tokens it had to. */
	compute(tokens: readonly number[], contents: readonly number[]): number {
		const unknown = contents.findIndex((content) => !this.#cached.has(content));
		const known = unknown === -1 ? contents.length : unknown;
		this.hits += known * BLOCK_TOKENS;
		for (const content of contents.toReversed()) {
			this.#cached.delete(content);
			this.#cached.add(content);
		}
		const gone: number[] = [];
		for (const content of this.#cached) {
			if (this.#cached.size <= this.room) break;
			this.#cached.delete(content);
			gone.push(content);
		}
		const common = { group: 0, isOnGpu: true } as const;
		if (gone.length > 0) this.publish({ kind: "removed", hashes: gone, ...common });
		const stored = contents.slice(known);
		if (stored.length > 0) {
			this.publish({
				...{
					kind: "stored",
					hashes: stored,
					parent: contents[known - 1],
					extras: [],
					isFullAttention: true,
					...common,
				},
				...{ tokens: tokens.slice(known * BLOCK_TOKENS, contents.length * BLOCK_TOKENS), blockSize: BLOCK_TOKENS },
			});
		}
		return tokens.length - known * BLOCK_TOKENS;
	}

	/** It is started anew. */
	restart(): void {
		this.#cached.clear();
	}
}

/** Plays the chats. */
export async function simulateEviction(simulation: EvictingSimulation): Promise<EvictingOutcome> {
	const time = new SimulatedTime();
	const { below } = random(simulation.seed);
	const state = new LocalRoutingState(() => time.now);
	const targets = Array.from({ length: simulation.replicas }, (_, at) =>
		replica(`box${at}/m`, { provider: { name: `box${at}` } as Provider }),
	);
	const way = route(targets);
	const prompts = new PromptBlocks({
		needs: (character, content) => {
			for (const { held } of replicas) held.needs(character, content);
		},
		forgotten: (character) => {
			for (const { held } of replicas) held.forgotten(character);
		},
	});
	const replicas = targets.map(({ id }) => {
		let isDue = false;
		const report = () => {
			if (isDue || simulation.knows === "characters") return;
			isDue = true;
			time.after(REPORT_MS, () => {
				isDue = false;
				const { since, added, removed } = held.take();
				state.reported(id, { isAll: since === undefined, added, removed });
			});
		};
		const held: HeldPrefixes = new HeldPrefixes(prompts, report);
		const room = Math.floor(simulation.kvTokens / BLOCK_TOKENS);
		return { id, held, engine: new EvictingEngine(room, (...events) => held.events(events)) };
	});
	for (const [at, ms] of (simulation.restarts ?? []).entries()) {
		const { id, held, engine } = replicas[at % replicas.length]!;
		time.after(ms, () => {
			engine.restart();
			held.restarted();
			// Without events, too, its agent says that it was not there for a moment.
			state.restarted(id);
		});
	}
	const times: number[] = [];
	let tokens = 0;
	let tokenized = 0;
	let left = 0;
	const turn = (chat: Chat, nth: number, said: string): void => {
		const text = `${said}${chat.turns[nth]!}`;
		const prompt: Prompt = promptOf("", [text]);
		const made = plan({ ...call(text), prompt: () => prompt }, way, state, time.now, () => below(1e6) / 1e6);
		const { engine, held } = replicas.find(({ id }) => id === made.targets[0]!.id)!;
		const attempt = state.opened(made.targets[0]!.id, true, made.work);
		const from = time.now;
		const words = wordsOf(text);
		const contents = blockContents(words, BLOCK_TOKENS, "");
		tokens += words.length;
		if (simulation.knows === "events") {
			if (prompts.see(prompt)) {
				tokenized++;
				engine.freeAt = Math.max(from, engine.freeAt) + words.length * TOKENIZE_MS;
				prompts.learn(prompt, contents, words.length, BLOCK_TOKENS);
			}
		}
		const begin = Math.max(from, engine.freeAt);
		// What is cached when its turn comes counts: the queue is first come, first served.
		const uncached = engine.compute(words, contents);
		engine.freeAt = begin + PROMPT_MS + uncached * TOKEN_MS;
		const waited = engine.freeAt - from;
		time.after(waited, () => {
			times.push(waited);
			attempt.firstToken();
		});
		time.after(waited + ANSWER_MS, () => {
			attempt.closed({});
			if (simulation.knows === "events") held.settled(prompt);
			left--;
			const next = `${text}${"a".repeat(32 * PER_TOKEN)}`;
			if (nth + 1 < chat.turns.length) time.after(chat.thinkMs, () => turn(chat, nth + 1, next));
		});
	};
	for (const chat of simulation.chats) {
		left += chat.turns.length;
		time.after(chat.at, () => turn(chat, 0, chat.system ?? ""));
	}
	await time.run(() => left === 0);
	const hits = replicas.reduce((sum, { engine }) => sum + engine.hits, 0);
	return { times, hitRate: hits / tokens, tokenized };
}

/** A token for each five characters. */
function wordsOf(text: string): number[] {
	const words: number[] = [];
	for (let at = 0; at < text.length; at += PER_TOKEN) words.push(Bun.hash.xxHash32(text.slice(at, at + PER_TOKEN)));
	return words;
}
