/** The shared Redis: in every state a caller waits at most until its deadline, and never fails. design.md has its states. */
import type { RedisAddress } from "../config/redis-url.ts";
import { Deadlines } from "./deadlines.ts";
import { type RedisClient, type RedisSubscriber, redisClient, redisSubscriber } from "./redis-client.ts";
import {
	AWAY,
	afterEvent,
	errorWord,
	HUNG_MS,
	isNotBegun,
	isOutage,
	type RedisEvent,
	type RedisState,
	type RedisStatus,
} from "./redis-state.ts";

/** How often an unsure or slow Redis is sent a `PING`, ms. */
const PROBE_MS = 250;
/** Why a server that answers is not used for all. */
const LATE = "its answers come late";
/** The oldest supported version. */
const OLDEST = [6, 2] as const;

/** Why a command has no result. `refused`: it was not sent, since Redis is known to be away. */
export type RedisFailure = "refused" | "timeout" | "lost" | "error";

/** A script, known to the server by its hash. All keys must lie in one slot. */
export interface RedisScript {
	readonly name: string;
	readonly lua: string;
}

/** What became of a command that was sent. Neither promise rejects. */
export interface RedisAnswer {
	/** Its result, or undefined where none came within the deadline or the server refused it. */
	readonly soon: Promise<unknown>;
	/** Its result, whenever it comes; undefined where the connection is lost before or the server refused it. */
	readonly whole: Promise<unknown>;
	/** From when either is undefined on: the server has said that it carried out nothing of it. Otherwise it may have, or may yet. */
	readonly isRefused: boolean;
}

/** Listens to changes and failures. Called synchronously; must not throw. */
export interface RedisListener {
	/** The state changed. `reason` says why it is not `up`: a clause without address or secret. */
	changed(state: RedisState, reason: string | undefined): void;
	failed(why: RedisFailure): void;
	/** The server refused a command: its first word, such as `OOM`. */
	refused(word: string): void;
}

/** The server, and the deadline of its commands. */
export interface RedisOptions {
	readonly address: RedisAddress;
	readonly ca?: string | undefined;
	readonly prefix: string;
	/** How long a command may take, ms. */
	readonly timeoutMs: number;
	readonly listener: RedisListener;
}

type Command = (client: RedisClient) => Promise<unknown>;
type Scripted = Record<string, ((...args: unknown[]) => Promise<unknown>) | undefined>;

/** A connection to Redis: one for a process, and one more for each of its workers where there are several. Connects when `open` is called. */
export class SharedRedis {
	#client: RedisClient | undefined;
	#status: RedisStatus = AWAY;
	#reason: string | undefined = "it was not reached yet";
	#probe: ReturnType<typeof setInterval> | undefined;
	readonly #deadlines: Deadlines;
	/** When an answer came last, or the state changed, `performance.now()`. */
	#heardAt = 0;
	readonly #upListeners = new Set<() => void>();
	readonly #aliveListeners = new Set<() => void>();
	readonly #defined = new Set<string>();

	constructor(private readonly options: RedisOptions) {
		this.#deadlines = new Deadlines(options.timeoutMs);
	}

	/** Whether commands are sent. */
	get isUp(): boolean {
		return this.#status.state === "up";
	}

	/** Whether it answers, be it late: what has to be exact may be asked. */
	get isAlive(): boolean {
		const { state } = this.#status;
		return state === "up" || state === "slow";
	}

	/** The full name of a key or channel. */
	key(name: string): string {
		return this.options.prefix + name;
	}

	/** Begins to connect, and tries until it succeeds. Returns a function that disconnects. */
	open(): () => void {
		const client = redisClient(this.options.address, this.options.ca);
		this.#client = client;
		client.on("ready", () => void this.#ready(client));
		client.on("close", () => this.#event("lost", "the connection was lost"));
		client.on("end", () => this.#event("lost", "the connection was lost"));
		client.on("error", (error: Error) => this.#reportError(error));
		return () => {
			clearInterval(this.#probe);
			this.#client = undefined;
			client.disconnect();
			this.#event("lost", "this router ends");
		};
	}

	/** Calls the listener each time that commands can be sent again: changes missed meanwhile have to be read then. */
	onUp(listener: () => void): void {
		this.#upListeners.add(listener);
	}

	/** Calls the listener each time that it answers again after it did not. */
	onAlive(listener: () => void): void {
		this.#aliveListeners.add(listener);
	}

	/** Runs a command: its result, or undefined where none came in time or the server refused it. Never rejects. */
	run<T>(command: (client: RedisClient) => Promise<T>): Promise<T | undefined> {
		if (this.isUp) return this.#send(command, false).soon as Promise<T | undefined>;
		this.options.listener.failed("refused");
		return Promise.resolve(undefined);
	}

	/** Runs a script in the same way. */
	script(
		script: RedisScript,
		keys: readonly string[],
		args: readonly (string | number | Uint8Array)[],
	): Promise<unknown> {
		return this.run((client) => this.#scripted(client, script, "", keys, args));
	}

	/** The same, with texts in its result as bytes. */
	scriptBuffer(script: RedisScript, keys: readonly string[], args: readonly (string | number | Uint8Array)[]) {
		return this.run((client) => this.#scripted(client, script, "Buffer", keys, args));
	}

	/** Sends a script also to a Redis that is slow. Undefined where none answers: it was not sent. */
	ask(script: RedisScript, keys: readonly string[], args: readonly (string | number)[]): RedisAnswer | undefined {
		if (this.isAlive) return this.#send((client) => this.#scripted(client, script, "", keys, args), false);
		this.options.listener.failed("refused");
		return undefined;
	}

	/** Another connection, for subscriptions, that is not made anew where it is lost. */
	subscriber(): RedisSubscriber {
		const { address, ca } = this.options;
		const subscriber = redisSubscriber(address, ca, this.#client);
		// Its end says as much.
		subscriber.on("error", () => undefined);
		return subscriber;
	}

	/** Reports that the server has refused a command of a subscriber. Nothing where the connection was lost. */
	reportRefused(error: Error): void {
		if (error.name === "ReplyError") this.options.listener.refused(errorWord(error.message));
	}

	#scripted(
		client: RedisClient,
		{ name, lua }: RedisScript,
		form: "" | "Buffer",
		keys: readonly string[],
		args: readonly (string | number | Uint8Array)[],
	): Promise<unknown> {
		if (!this.#defined.has(name)) {
			client.defineCommand(name, { lua });
			this.#defined.add(name);
		}
		return (client as unknown as Scripted)[name + form]!(keys.length, ...keys, ...args);
	}

	#send(command: Command, isProbe: boolean): RedisAnswer {
		const { promise: soon, resolve } = Promise.withResolvers<unknown>();
		const failed = (why: RedisFailure) => {
			if (!isProbe) this.options.listener.failed(why);
			resolve(undefined);
		};
		const entry = this.#deadlines.add(() => {
			this.#event("miss", `it gave no answer within ${this.options.timeoutMs} ms`);
			failed("timeout");
		});
		const isFirst = (): boolean => {
			const isInTime = !entry.isOver;
			entry.isOver = true;
			return isInTime;
		};
		let isRefused = false;
		const whole = this.#begin(command).then(
			(value) => {
				const isInTime = isFirst();
				this.#heardAt = performance.now();
				this.#event(isInTime ? "reply" : "late", LATE);
				if (isInTime) resolve(value);
				return value;
			},
			(error: Error) => {
				const word = error.name === "ReplyError" ? errorWord(error.message) : undefined;
				isRefused = word !== undefined && isNotBegun(word);
				if (isFirst()) failed(this.#classify(word));
				return undefined;
			},
		);
		return {
			soon,
			whole,
			get isRefused() {
				return isRefused;
			},
		};
	}

	async #begin(command: Command): Promise<unknown> {
		// A client that is not connected throws or rejects, depending on the command.
		return command(this.#client!);
	}

	/** The kind of a command's failure; one that shows the server's state changes the state here. @param word of the server's error, if it is one */
	#classify(word: string | undefined): RedisFailure {
		if (word === undefined) {
			this.#event("miss", "the connection was lost");
			return "lost";
		}
		if (isOutage(word)) this.#event("miss", `it says ${word}`);
		else this.#event("reply", undefined);
		this.options.listener.refused(word);
		return "error";
	}

	async #ready(client: RedisClient): Promise<void> {
		const problem = await versionProblem(client);
		if (problem) this.#event("unfit", problem);
		else this.#event("ready", "it has not answered yet");
	}

	#event(event: RedisEvent, reason: string | undefined): void {
		const before = this.#status.state;
		const wasAlive = this.isAlive;
		this.#status = afterEvent(this.#status, event);
		const { state } = this.#status;
		if (state === before) return;
		this.#reason = state === "up" ? undefined : reason;
		this.#heardAt = performance.now();
		clearInterval(this.#probe);
		if (state === "unsure" || state === "slow") this.#beginProbes();
		this.options.listener.changed(state, this.#reason);
		if (!wasAlive && this.isAlive) for (const listener of this.#aliveListeners) listener();
		if (state === "up") for (const listener of this.#upListeners) listener();
	}

	#beginProbes(): void {
		const probe = () => {
			if (this.#status.state === "slow" && performance.now() - this.#heardAt > HUNG_MS) {
				this.#event("hung", `it gave no answer within ${HUNG_MS} ms`);
			} else void this.#send((client) => client.ping(), true);
		};
		this.#probe = setInterval(probe, PROBE_MS);
		this.#probe.unref();
		probe();
	}

	/** Reports the reason of an outage, without the address and the password that Redis's message may contain. */
	#reportError(error: Error & { code?: string }): void {
		const { state } = this.#status;
		if (state !== "away") return;
		const word = /^[A-Z]{3,}/.exec(error.message)?.[0];
		const reason = error.code ?? word ?? "no connection";
		if (reason === this.#reason) return;
		this.#reason = reason;
		this.options.listener.changed(state, reason);
	}
}

/** Why this server's version is not supported; undefined where it is, or the server does not say it. */
async function versionProblem(client: RedisClient): Promise<string | undefined> {
	const info = await client.info("server").catch(() => "");
	const [, version = "", major, minor] = /redis_version:((\d+)\.(\d+)\S*)/.exec(info) ?? [];
	if (version === "") return undefined;
	const isOld = Number(major) < OLDEST[0] || (Number(major) === OLDEST[0] && Number(minor) < OLDEST[1]);
	return isOld ? `it is version ${version}, and ${OLDEST.join(".")} is the oldest that will do` : undefined;
}
