/** What the routing benchmark sends: three kinds of load, the same at every run. */
import { random } from "../kit/random.ts";

/** One message. */
export interface Message {
	readonly role: "system" | "user" | "assistant";
	readonly content: string;
}

/** A client that comes at a time and says this, each line once the answer to the one before it is there. */
export interface Chat {
	/** When it comes, ms from the beginning. */
	readonly at: number;
	readonly system: string | undefined;
	readonly turns: readonly string[];
	/** Between an answer and the next line, ms. */
	readonly thinkMs: number;
}

/** One kind of load. */
export interface Workload {
	readonly name: string;
	readonly chats: readonly Chat[];
}

/** So many words: those of four letters and a space are a token each to the simulator, as to a real tokenizer. */
export function words(below: (limit: number) => number, count: number): string {
	let text = "";
	for (let at = 0; at < count; at++) text += `${(below(26 ** 4) + 26 ** 4).toString(26).slice(-4)} `;
	return text;
}

/** Poisson arrivals: the times of so many, at this rate a second. */
function arrivals(below: (limit: number) => number, count: number, rate: number): number[] {
	let at = 0;
	return Array.from({ length: count }, () => {
		at += (-Math.log((1 + below(1e6)) / (1e6 + 1)) / rate) * 1000;
		return at;
	});
}

/** 24 applications with a system prompt of 2,400 tokens each, and short questions of many users. */
export function sharedPrompts(seconds: number): Workload {
	const { below, pick } = random(1);
	const systems = Array.from({ length: 24 }, () => words(below, 2_400));
	const chats = arrivals(below, 9 * seconds, 9).map((at) => {
		return { at, system: pick(systems), turns: [words(below, 40 + below(120))], thinkMs: 0 };
	});
	return { name: "shared system prompts", chats };
}

/** Conversations of ten turns that grow from 500 to some 5,000 tokens, as those of coding agents do. */
export function conversations(seconds: number): Workload {
	const { below } = random(2);
	const chats = arrivals(below, Math.round(1.5 * seconds), 1.5).map((at) => ({
		at,
		system: words(below, 60),
		turns: Array.from({ length: 10 }, () => words(below, 300 + below(300))),
		thinkMs: 300 + below(1_200),
	}));
	return { name: "multi-turn chats", chats };
}

/** Prompts of 100 to 4,000 tokens that have nothing in common. */
export function unrelated(seconds: number): Workload {
	const { below } = random(3);
	const chats = arrivals(below, 8 * seconds, 8).map((at) => {
		return {
			at,
			system: undefined,
			turns: [words(below, 100 + Math.floor((below(1_000) / 1_000) ** 2 * 3_900))],
			thinkMs: 0,
		};
	});
	return { name: "unrelated prompts", chats };
}

/** Replicas of which the KV caches together hold a quarter of the prompts below. */
export const EVICTING = { replicas: 4, kvTokens: (64 * 2_000) / 4 / 4 } as const;

/**
 * 64 applications with a system prompt of 2,000 tokens each. So many come that four replicas are busy 70 % of the time with a router that goes
 * by characters, under which they find some 17 % of the prompts' tokens in their caches.
 */
export function evictedPrompts(seconds: number, seed: number): Workload {
	const { below, pick } = random(seed);
	const systems = Array.from({ length: 64 }, () => words(below, 2_000));
	// 100 tokens of a question in the mean: (10 + 2,100 × 0.83 × 0.1) ms a prompt.
	const rate = (0.7 * EVICTING.replicas * 1_000) / 184;
	const chats = arrivals(below, Math.round(rate * seconds), rate).map((at) => {
		return { at, system: pick(systems), turns: [words(below, 40 + below(120))], thinkMs: 0 };
	});
	return { name: `64 shared prompts, caches for a quarter of them, seed ${seed}`, chats };
}
