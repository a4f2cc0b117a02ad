/**
 * What the agent's engines have in their prefix caches, for the router: their KV events (../vllm/kv-event-source.ts), joined with the
 * prompts of the calls that they were given. ../vllm/design.md says how, and why.
 */
import { type PrefixReport, prefixKey } from "../../protocol/agent.ts";
import type { UpstreamRequest } from "../../providers/provider.ts";
import { encodeBlocks } from "../../routing/routing-message.ts";
import { steadyTime } from "../../steady-time.ts";
import type { Log } from "../../telemetry/log.ts";
import { HeldPrefixes, MOST_HELD } from "../vllm/held-prefixes.ts";
import type { HotPrefix } from "../vllm/hot-prefixes.ts";
import { KvEventSource } from "../vllm/kv-event-source.ts";
import type { KvEventSockets } from "../vllm/kv-sockets.ts";
import { ModelPrompts } from "../vllm/model-prompts.ts";
import { readPrompt } from "../vllm/read-prompt.ts";
import type { VllmEndpoint } from "../vllm/vllm-probe.ts";

/** Blocks of characters in one report to the router, at most: with base64 some 440 KB of the 1 MB that it takes. */
const MOST_REPORTED = 81_920;
/** As few as that where heartbeats fail: a slow link has 5 s for one, and an agent that is not heard of gets no calls. */
const LEAST_REPORTED = 1_024;

/** From a change until it is reported, ms: what changes meanwhile is reported with it. */
const PAUSE_MS = 500;

/** What is looked at of a container. */
export interface PrefixContainer {
	readonly id: string;
	readonly model: string;
	readonly replica: number;
	readonly state: string;
	readonly vllm?: VllmEndpoint;
	readonly kvEvents?: KvEventSockets;
}

/** One container's engine. */
interface Engine {
	readonly container: PrefixContainer;
	readonly vllm: VllmEndpoint;
	readonly source: KvEventSource;
	readonly held: HeldPrefixes;
	readonly prompts: ModelPrompts;
}

/** All of them. */
export class PrefixReports {
	/** By container. */
	readonly #engines = new Map<string, Engine>();
	/** By model. */
	readonly #prompts = new Map<string, ModelPrompts>();
	/** Replicas whose engines are gone, which the router has yet to hear. */
	readonly #gone = new Map<string, PrefixReport>();
	/** Those of the last report: it may not be heard. */
	#lastGone: ReadonlyMap<string, PrefixReport> = new Map();
	/** Blocks of the next report, at most. */
	#most = LEAST_REPORTED;

	#timer: ReturnType<typeof setTimeout> | undefined;
	/** The router takes reports. */
	isTaken = false;

	/**
	 * @param changed called when the router is to be told something, twice a second at most
	 * @param denied called for a container whose sockets this user may not connect to
	 * @param keepsTokens of what calls have in common, for `hottest`
	 */
	constructor(
		private readonly log: Pick<Log, "logger">,
		private readonly changed: () => void,
		private readonly denied: (id: string) => void = () => undefined,
		private readonly keepsTokens = true,
	) {}

	/** To be called after each list of containers. */
	sync(containers: readonly PrefixContainer[]): void {
		const running = new Map(
			containers.flatMap((each) =>
				each.state === "running" && each.kvEvents && each.vllm ? [[each.id, each] as const] : [],
			),
		);
		for (const [id, engine] of this.#engines) if (!running.has(id)) this.#end(engine);
		for (const [id, container] of running) if (!this.#engines.has(id)) this.#watch(container);
		for (const { hot } of this.#prompts.values()) hot?.expire(steadyTime());
	}

	/** Ends all. */
	end(): void {
		clearTimeout(this.#timer);
		for (const { source } of this.#engines.values()) source.end();
	}

	/**
	 * A container is given a call. Returns what is to be called when its answer has ended; undefined where nothing is made of its prompt, for one where
	 * no router would hear of it.
	 * Costs the call nothing: its prompt is read when it has been sent.
	 */
	given(id: string, request: UpstreamRequest): (() => void) | undefined {
		const engine = this.#engines.get(id);
		if (!engine || !this.isTaken) return undefined;
		const { promise, resolve } = Promise.withResolvers<void>();
		setImmediate(() => {
			const read = readPrompt(request, engine.container.model);
			if (!read) return;
			engine.prompts.given(read, engine.vllm);
			void promise.then(() => engine.prompts.whenKnown(() => engine.held.settled(read.prompt)));
		});
		return resolve;
	}

	/**
	 * What calls of a container's model have in common, most calls first. Undefined for a container that publishes no events: nobody knows its tokens.
	 * @param room tokens
	 */
	hottest(id: string, room: number): HotPrefix[] | undefined {
		return this.#engines.get(id)?.prompts.hot?.hottest(room, steadyTime());
	}

	/** A model has other weights from now on: what is kept of its calls' tokens is of no use. */
	forgetTokens(model: string): void {
		this.#prompts.get(model)?.forgetTokens();
	}

	/** Whether the router is to be told something. */
	get hasNews(): boolean {
		return this.#gone.size > 0 || [...this.#engines.values()].some(({ held }) => held.hasNews);
	}

	/** What the router is told next, and counts as told. What does not fit comes with the next report. */
	take(): PrefixReport[] {
		const reports = [...this.#gone.values()];
		this.#lastGone = new Map(this.#gone);
		this.#gone.clear();
		let room = this.#most;
		// Until one is not heard.
		this.#most = Math.min(MOST_REPORTED, this.#most * 4);
		for (const { container, held } of this.#engines.values()) {
			if (!held.hasNews || room <= 0) continue;
			const { since, version, added, removed } = held.take(Math.min(room, MOST_HELD));
			room -= added.length + removed.length;
			const { model, replica } = container;
			reports.push({
				...{ model, replica, version },
				...(since !== undefined && { since }),
				...(added.length > 0 && { added: encodeBlocks(added) }),
				...(removed.length > 0 && { removed: encodeBlocks(removed) }),
			});
		}
		return reports;
	}

	/** The router has not heard the last report, or lacks what some of these replicas have. @param keys undefined: of all */
	unheard(keys?: readonly string[]): void {
		if (!keys) {
			// What it was is undone, and a quarter of it tried next.
			this.#most = Math.max(LEAST_REPORTED, Math.floor(this.#most / 16));
			const now = new Set(
				[...this.#engines.values()].map(({ container: { model, replica } }) => prefixKey(model, replica)),
			);
			for (const [key, report] of this.#lastGone) if (!now.has(key)) this.#gone.set(key, report);
		}
		for (const { container, held } of this.#engines.values()) {
			if (!keys || keys.includes(prefixKey(container.model, container.replica))) held.unheard();
		}
	}

	#watch(container: PrefixContainer): void {
		const { id, model, replica, kvEvents, vllm } = container;
		const prompts = this.#promptsOf(model);
		const held = new HeldPrefixes(prompts.blocks, () => this.#changed());
		const source = new KvEventSource({
			sockets: kvEvents!,
			sink: held,
			denied: () => this.denied(id),
			problem: (sentence) => this.log.logger.warn({ model, replica, container: id.slice(0, 12) }, sentence),
		});
		this.#gone.delete(prefixKey(model, replica));
		this.#engines.set(id, { container, vllm: vllm!, source, held, prompts });
		prompts.add(held);
		source.start();
	}

	#end({ container, source, held, prompts }: Engine): void {
		source.end();
		prompts.remove(held);
		this.#engines.delete(container.id);
		const { model, replica } = container;
		this.#gone.set(prefixKey(model, replica), { model, replica, version: 1 });
		this.#changed();
	}

	/** An engine's events come some dozen at a time, and each report is a request. */
	#changed(): void {
		if (!this.isTaken) return;
		this.#timer ??= setTimeout(() => {
			this.#timer = undefined;
			this.changed();
		}, PAUSE_MS).unref();
	}

	#promptsOf(model: string): ModelPrompts {
		let prompts = this.#prompts.get(model);
		if (!prompts) {
			prompts = new ModelPrompts(this.keepsTokens);
			this.#prompts.set(model, prompts);
		}
		return prompts;
	}
}
