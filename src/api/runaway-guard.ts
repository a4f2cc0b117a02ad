/**
 * Agents that run away are told, slowed down or stopped, as `runaway:` or their key says: those that repeat themselves, and keys that spend far
 * more than they usually do. A call that brings no tools costs one look at a number here.
 */
import type { Caller } from "../accounts/auth/keys.ts";
import type { FastKey, RunawayAction, RunawayCall, Runaways } from "../accounts/runaway/runaways.ts";
import type { RunawayReaction } from "../config/access.ts";
import type { Config } from "../config/schema.ts";
import { RouterError } from "../errors.ts";
import type { Call } from "../openai/call.ts";
import { type RepeatedRounds, repeatedRounds, type ToolHistory } from "../openai/tool-rounds.ts";
import { decimal } from "../openai/usage-edits.ts";
import type { CallRecord } from "../proxy/call-record.ts";
import { Pause } from "../proxy/pause.ts";
import { historyOf, sessionOf } from "../routing/requirements.ts";

/** What is said of a runaway's call: `loop; rounds=3; action=warn`. */
const RUNAWAY_HEADER = "x-router-runaway";
/** The shortest and the longest wait of a call that is slowed down, ms. */
const SHORTEST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;

/** Longest name of a model that is shown, characters. */
const LONGEST_MODEL = 200;

/** A call of a runaway. */
export interface RunawayEvent extends RunawayCall {
	readonly kind: "loop" | "spending";
	readonly action: RunawayAction;
	/** Of a loop: how often the same has been done. */
	readonly rounds?: number | undefined;
	/** It is worth a line in the log. */
	readonly isNews: boolean;
}

/** What it works with. */
export interface RunawayGuardOptions {
	readonly runaways: Pick<Runaways, "seen" | "ended" | "fast">;
	/** Hears of each call of a runaway. */
	readonly report: (event: RunawayEvent) => void;
	/** Hears of the first call that could not be looked at, by its id, and why: a fault of the router's, with which each call goes on. */
	readonly onFault: (id: string, fault: unknown) => void;
}

/** What is done about a call that goes on. */
export interface RunawayHold {
	readonly headers: Readonly<Record<string, string>>;
	/** How long it waits, ms. */
	readonly waitMs: number;
}

/** The part of a call that is looked at. */
export type GuardedCall = Pick<Call, "id" | "operation" | "facts" | "stream" | "headers" | "key" | "keyId">;

/** One thread's. */
export class RunawayGuard {
	#hasFailed = false;

	constructor(private readonly options: RunawayGuardOptions) {}

	/**
	 * Looks at a call before anything is taken for it. Undefined where nothing is wrong with it; of two things that are the longer wait counts.
	 * Throws `runaway_stopped`, and nothing else.
	 * @param record hears when the answer has ended
	 */
	check(
		call: GuardedCall,
		caller: Pick<Caller, "runaway"> | undefined,
		rules: Config["runaway"],
		record: Pick<CallRecord, "atEnd">,
	): RunawayHold | undefined {
		const looping = call.facts.toolHistory && this.#looping(call, caller, rules, record);
		const fast = this.options.runaways.fast(call.keyId);
		const spending = fast && this.#spending(call, fast, caller?.runaway ?? rules.spending);
		return looping && spending && spending.waitMs > looping.waitMs ? spending : (looping ?? spending);
	}

	/** A call that goes on: its answer says what is wrong, and it waits where it is slowed down. Rejects where its client leaves meanwhile. */
	async hold({ headers, waitMs }: RunawayHold, call: Pick<Call, "client">, record: CallRecord): Promise<void> {
		record.headers = { ...record.headers, ...headers };
		if (waitMs > 0) await new Pause(call.client, record).wait(waitMs);
	}

	/** What its history says. A client may have written anything there: what can't be read is no reason to refuse the call. */
	#looping(
		call: GuardedCall,
		caller: Pick<Caller, "runaway"> | undefined,
		rules: Config["runaway"],
		record: Pick<CallRecord, "atEnd">,
	): RunawayHold | undefined {
		try {
			const history = call.facts.toolHistory?.();
			return history && this.#loop(call, history, caller, rules, record);
		} catch (thrown) {
			if (thrown instanceof RouterError) throw thrown;
			if (!this.#hasFailed) this.options.onFault(call.id, thrown);
			this.#hasFailed = true;
			return undefined;
		}
	}

	#loop(
		call: GuardedCall,
		history: ToolHistory,
		caller: Pick<Caller, "runaway"> | undefined,
		rules: Config["runaway"],
		record: Pick<CallRecord, "atEnd">,
	): RunawayHold | undefined {
		const reaction: RunawayReaction = caller?.runaway ?? rules.loops;
		const repeated = reaction === "off" ? undefined : repeatedRounds(history);
		if (!repeated || reaction === "off") return undefined;
		const { runaways } = this.options;
		const whose = whoseOf(call);
		const conversation = `${whose.session ?? ""} ${historyOf(call).first.hash}`;
		const limits = { rounds: rules.rounds, pauseMs: rules.pause, action: reaction };
		const { id, rounds, isNews } = runaways.seen({ ...whose, repeated, conversation }, limits);
		record.atEnd(() => runaways.ended(id, repeated.count));
		if (rounds < rules.rounds) return undefined;
		this.options.report({ ...whose, kind: "loop", action: reaction, rounds, isNews });
		if (reaction === "stop") throw loopStopped(rounds, repeated);
		return {
			headers: { [RUNAWAY_HEADER]: `loop; rounds=${rounds}; action=${reaction}` },
			waitMs: reaction === "slow" ? waitOf(2 ** Math.min(rounds - rules.rounds, 5)) : 0,
		};
	}

	/** @param action as the configuration in force has it: another may have held when the key was found */
	#spending(call: GuardedCall, { usd, usual, until }: FastKey, action: RunawayReaction): RunawayHold | undefined {
		if (action === "off") return undefined;
		this.options.report({ ...whoseOf(call), kind: "spending", action, isNews: false });
		if (action === "stop") throw spendingStopped(usd, usual, until);
		const said = `spending; usd=${amount(usd)}; usual=${amount(usual)}; action=${action}`;
		return { headers: { [RUNAWAY_HEADER]: said }, waitMs: action === "slow" ? waitOf(usd / usual / 10) : 0 };
	}
}

const waitOf = (times: number): number =>
	Math.min(LONGEST_WAIT_MS, Math.max(SHORTEST_WAIT_MS, Math.round(SHORTEST_WAIT_MS * times)));

/** Three digits. */
const amount = (usd: number): string => decimal(Number(usd.toPrecision(3)));

const whoseOf = ({ id, key, keyId, headers, facts }: GuardedCall): RunawayCall => ({
	call: id,
	keyId,
	key,
	session: sessionOf(headers),
	model: facts.model.slice(0, LONGEST_MODEL),
});

/** 400, which no client tries again by itself. */
const stopped = (message: string): RouterError =>
	new RouterError("runaway_stopped", message, { headers: { "x-should-retry": "false" } });

function loopStopped(rounds: number, { distinct }: RepeatedRounds): RouterError {
	const what = distinct === 1 ? "the same calls of tools" : `the same ${distinct} rounds of tools`;
	return stopped(
		`This agent repeats itself: ${what} with the same results, ${rounds} times. The router stops it here (runaway: stop): tell it something new, or try another way.`,
	);
}

function spendingStopped(usd: number, usual: number, until: number): RouterError {
	return stopped(
		`This key has spent ${amount(usd)} USD in five minutes, where it usually spends ${amount(usual)}: the router stops its calls (runaway: stop) until ${new Date(until).toISOString()}, and further while it goes on so.`,
	);
}
