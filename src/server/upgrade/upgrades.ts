/**
 * How a router that runs lets another process take its place: told so by `router upgrade`, by SIGUSR2, or by a process that was started with
 * `--replace`. See "An upgrade" in ./design.md.
 */
import type { Socket } from "node:net";
import { HandedLimiter, type LimitsOwner, type ToldDecision } from "../../accounts/limits/handed-limits.ts";
import { isHandable } from "../../accounts/limits/shared-limiter.ts";
import { SlidingWindowLimiter } from "../../accounts/limits/sliding-window.ts";
import { IDLE_SECONDS, type Listening } from "../../http/listen.ts";
import { type PortSockets, portSockets } from "../../http/port-sockets.ts";
import { handedState, handRouting } from "../../routing/handed-routing.ts";
import { VERSION } from "../../version.ts";
import type { ReloadedRouter } from "../reload.ts";
import type { RoleServices } from "../role.ts";
import { ControlPeer, listenForControl } from "./control-socket.ts";
import { type NewProcess, programProblem, startNewProcess } from "./new-process.ts";
import { tellServiceManager } from "./service-manager.ts";
import { type FromRouter, type HandedRouter, type ToRouter, UPGRADE_PROTOCOL } from "./upgrade-messages.ts";

/** How long a new process may take until it listens, ms. */
const READY_MS = 10_000;
/**
 * How long this process goes on listening when it gets no further connections, ms: handshakes that had begun come to their end, and are accepted.
 * A packet that was lost is sent again after 1 s.
 */
const ACCEPT_MS = 2_000;
/** How long an upgrade waits until the process before no longer listens, which takes that one {@link ACCEPT_MS}, ms. */
const SETTLED_MS = 5_000;
/** How often it is looked whether a connection is open yet, ms. */
const LOOK_MS = 100;

/** What it works with. */
export interface UpgradeParts {
	readonly dataDir: string;
	readonly router: Pick<ReloadedRouter, "state" | "agents" | "hub">;
	readonly services: Pick<RoleServices, "log" | "lifecycle" | "upstreams">;
	readonly server: Pick<Listening, "port">;
	/** Routers that share a Redis count there, and tell agents of each other. */
	readonly hasRedis: boolean;
	/** Resolves when the process whose place this one has taken no longer listens: two listen there at most. */
	readonly settled: Promise<void>;
	/** Tells of whoever counts limits instead of this process; undefined: this process does again. For calls of the process before, which may still run. */
	forwardLimits(owner: LimitsOwner | undefined): void;
	/** The descriptor of the socket that was opened for this process, on which it listens; undefined where it has opened its own. */
	readonly inherited?: number | undefined;
	/** Why this process can't be replaced; undefined where it can. */
	readonly refusal?: string | undefined;
	/** How long a new process may take until it listens, ms; default 10 s. */
	readonly readyMs?: number;
	/** How long an upgrade waits for `settled`, ms; default 5 s. */
	readonly settledMs?: number;
}

type Peer = ControlPeer<FromRouter, ToRouter>;

/** A process that is about to take this one's place. */
interface Heir {
	readonly peer: Peer;
	readonly pid: number;
	/** It knows all, and may say that it listens. */
	isTold: boolean;
	/** Asks it for limits, where it counts. */
	limiter: HandedLimiter | undefined;
	/** Calls whose limits it decides. */
	readonly asked: Map<number, (decision: ToldDecision | undefined) => void>;
	/** Gives it up where it does not listen in time. */
	readonly timer: ReturnType<typeof setTimeout>;
}

/** Upgrades of this process. */
export class Upgrades {
	#heir: Heir | undefined;
	#isReplaced = false;
	#isStarting = false;
	/** Resolves with the pid of whoever has taken over, while a process is being started for it. */
	#taken: PromiseWithResolvers<number> | undefined;
	#asked = 0;

	constructor(private readonly parts: UpgradeParts) {}

	/** Begins to listen for it. Returns how to end that. */
	async open(): Promise<() => void> {
		const { dataDir, services } = this.parts;
		const { logger } = services.log;
		const onSignal = () => {
			void this.upgrade(undefined, (text) => logger.info(text)).then(({ isUpgraded, text }) =>
				logger[isUpgraded ? "info" : "error"](text),
			);
		};
		process.on("SIGUSR2", onSignal);
		let close: (() => void) | undefined;
		try {
			close = await listenForControl(dataDir, (socket) => this.#accept(socket));
		} catch (error) {
			const { code, message } = error as NodeJS.ErrnoException;
			logger.info(
				`There is no socket in ${dataDir} (${code ?? message}): this router can't be replaced while it runs.`,
			);
		}
		return () => {
			process.off("SIGUSR2", onSignal);
			close?.();
		};
	}

	/** Starts a process that takes this one's place, and takes it back where that does not get ready. @param file absent: this program, as its file is now */
	async upgrade(
		file: string | undefined,
		report: (text: string) => void,
	): Promise<{ readonly isUpgraded: boolean; readonly text: string }> {
		const problem = this.#refusal() ?? programProblem(file ?? process.execPath);
		if (problem !== undefined) return { isUpgraded: false, text: problem };
		this.#isStarting = true;
		const { readyMs = READY_MS } = this.parts;
		let child: NewProcess | undefined;
		const taken = Promise.withResolvers<number>();
		this.#taken = taken;
		try {
			if (!(await this.#isSettled())) {
				return {
					isUpgraded: false,
					text: `The process before this one (${process.pid}) still listens: no third one can. Try again when it has ended.`,
				};
			}
			child = startNewProcess(file, this.parts.inherited);
			report(`process ${child.pid} has started; process ${process.pid} answers until it is ready`);
			const late = Promise.withResolvers<string>();
			const timer = setTimeout(() => late.resolve(`was not ready within ${readyMs / 1_000} s`), readyMs);
			const ended = child.ended.then((how) => `ended ${how} before it was ready`);
			const outcome = await Promise.race([taken.promise, late.promise, ended]);
			clearTimeout(timer);
			if (typeof outcome === "number") {
				return {
					isUpgraded: true,
					text: `process ${outcome} has taken over from process ${process.pid}, which ends with its last call`,
				};
			}
			// What it has said may not be read yet: that it listens counts no more.
			if (this.#heir?.pid === child.pid) this.#giveUp(this.#heir);
			child.kill();
			return {
				isUpgraded: false,
				text: `process ${child.pid} ${outcome}: process ${process.pid} goes on as before. What the new one printed stands where this router's output does.`,
			};
		} catch (error) {
			return { isUpgraded: false, text: `The program can't be started: ${(error as Error).message}` };
		} finally {
			this.#isStarting = false;
			this.#taken = undefined;
		}
	}

	/** Whether the process before this one no longer listens, which is waited for. */
	async #isSettled(): Promise<boolean> {
		const { settled, settledMs = SETTLED_MS } = this.parts;
		const late = Promise.withResolvers<boolean>();
		const timer = setTimeout(() => late.resolve(false), settledMs);
		return await Promise.race([settled.then(() => true), late.promise]).finally(() => clearTimeout(timer));
	}

	/** Why no upgrade can begin now. */
	#refusal(): string | undefined {
		const { refusal, services } = this.parts;
		if (refusal !== undefined) return refusal;
		if (this.#isReplaced || services.lifecycle.state !== "ready")
			return "This router is ending: another process has its place, or none is to.";
		return this.#isStarting ? "An upgrade is under way already." : undefined;
	}

	#accept(socket: Socket): void {
		const peer: Peer = new ControlPeer(socket);
		peer.onMessage = (message) => this.#take(peer, message);
		void peer.closed.then(() => {
			if (this.#heir?.peer === peer) this.#lose(this.#heir);
		});
	}

	#take(peer: Peer, message: ToRouter): void {
		const isHeir = this.#heir?.peer === peer;
		if (message.type === "upgrade" || message.type === "replace") {
			if (message.protocol !== UPGRADE_PROTOCOL) {
				refuse(
					peer,
					`The router that runs (${VERSION}) hands over in another way (protocol ${UPGRADE_PROTOCOL}, not ${message.protocol}): stop it, and start the new one.`,
				);
			} else if (message.type === "upgrade") void this.#answer(peer, message.file);
			else this.#hand(peer, message);
		} else if (message.type === "listening" && isHeir && this.#heir?.isTold) void this.#replaced(message.router);
		else if (message.type === "decided" && isHeir) {
			this.#heir?.asked.get(message.call)?.(message.decision);
			this.#heir?.asked.delete(message.call);
		}
	}

	async #answer(peer: Peer, file: string | undefined): Promise<void> {
		const { logger } = this.parts.services.log;
		const { isUpgraded, text } = await this.upgrade(file, (step) => peer.send({ type: "progress", text: step }));
		logger[isUpgraded ? "info" : "error"]({ file }, text);
		peer.send({ type: "done", isUpgraded, text });
		peer.end();
	}

	/** A process is about to listen: the place is its own from here on, for as long as it may take. */
	#hand(peer: Peer, request: Extract<ToRouter, { type: "replace" }>): void {
		const { refusal, readyMs = READY_MS } = this.parts;
		const problem = this.#heir
			? `Process ${this.#heir.pid} is taking this router's place already.`
			: (refusal ?? this.#ending());
		if (problem !== undefined) {
			refuse(peer, problem);
			return;
		}
		const timer = setTimeout(() => this.#giveUp(heir), readyMs);
		const heir: Heir = { peer, pid: request.pid, isTold: false, limiter: undefined, asked: new Map(), timer };
		this.#heir = heir;
		void this.#tellState(heir, request);
	}

	/** Why nobody can take the place any more. */
	#ending(): string | undefined {
		const isReady = !this.#isReplaced && this.parts.services.lifecycle.state === "ready";
		return isReady ? undefined : "This router is ending already.";
	}

	/** It is told all, and counts limits from here on, where it can. */
	async #tellState(
		heir: Heir,
		{ takesLimits = false, takesHashes = false }: Extract<ToRouter, { type: "replace" }>,
	): Promise<void> {
		const { router, services, server, hasRedis, inherited } = this.parts;
		await this.parts.settled;
		const sockets = portSockets();
		// It may have gone meanwhile, and this process may be about to.
		if (this.#heir !== heir) return;
		const problem = this.#ending();
		if (problem !== undefined) {
			this.#lose(heir);
			refuse(heir.peer, problem);
			return;
		}
		const known = handedState(services.upstreams.targets);
		const { state, agents } = router;
		// From here on all happens at once: what is told is what is counted.
		const { limiter } = state;
		const now = performance.now();
		const isTaken = takesLimits && !hasRedis && isHandable(limiter);
		const own = isTaken && (takesHashes || limiter instanceof SlidingWindowLimiter) ? limiter : undefined;
		const told: HandedRouter = {
			port: server.port,
			listeners: (!inherited && sockets?.count(server.port).listening.length) || 0,
			isInherited: inherited !== undefined,
			routing: known && handRouting(known),
			limits: own && { now, ...own.handOn(now) },
			agents: agents.shared(),
		};
		if (own) {
			const owner = this.#owner(heir);
			heir.limiter = new HandedLimiter(own, owner);
			state.limiter = heir.limiter;
			state.limitsOwner = owner;
			this.parts.forwardLimits(owner);
		}
		heir.isTold = true;
		heir.peer.send({ type: "state", state: told });
	}

	/** Whoever takes over, as it counts limits. */
	#owner({ peer, asked }: Heir): LimitsOwner {
		return {
			take: (limits) => {
				const { promise, resolve } = Promise.withResolvers<ToldDecision | undefined>();
				const call = ++this.#asked;
				asked.set(call, resolve);
				peer.send({ type: "take", call, limits });
				return promise;
			},
			end: (end) => peer.send({ type: "end", end }),
		};
	}

	/** It listens: this process gets no further connections, and ends with those that it has. */
	async #replaced(name: string): Promise<void> {
		const { services, router, server, hasRedis } = this.parts;
		const { log, lifecycle } = services;
		const heir = this.#heir!;
		clearTimeout(heir.timer);
		this.#isReplaced = true;
		this.#taken?.resolve(heir.pid);
		void tellServiceManager(`MAINPID=${heir.pid}`);
		log.logger.info(
			{ successor: heir.pid },
			"Another process takes all further connections; those that are open are answered here.",
		);
		const sockets = portSockets();
		lifecycle.replaced(this.#left(sockets));
		// Where there is a Redis agents hear of it there.
		if (!hasRedis) router.hub.know([name]);
		await Bun.sleep(ACCEPT_MS);
		for (const descriptor of sockets?.count(server.port).listening ?? []) sockets?.close(descriptor);
		heir.peer.send({ type: "closed" });
	}

	/** Resolves when no connection of clients is open any more. */
	async #left(sockets: PortSockets | undefined): Promise<void> {
		const { server, router } = this.parts;
		await Bun.sleep(ACCEPT_MS + LOOK_MS);
		// Connections that are idle are closed after a while: where they can't be counted they have had that.
		if (!sockets) await Bun.sleep(IDLE_SECONDS * 1_000);
		// Agents' tunnels end with the last call.
		else while (sockets.count(server.port).connected > router.hub.size) await Bun.sleep(LOOK_MS);
	}

	/** It does not listen in time: whatever it says later is not heard. One that is frozen does not end a connection either. */
	#giveUp(heir: Heir): void {
		this.#lose(heir);
		heir.peer.send({
			type: "done",
			isUpgraded: false,
			text: `Process ${process.pid} has taken its place back: this one did not listen in time.`,
		});
		heir.peer.destroy();
	}

	/** The process that takes over has gone: where it did not listen yet this one goes on as before. */
	#lose(heir: Heir): void {
		clearTimeout(heir.timer);
		this.#heir = undefined;
		heir.limiter?.giveBack();
		this.parts.forwardLimits(undefined);
		for (const resolve of heir.asked.values()) resolve(undefined);
		heir.asked.clear();
		const { state } = this.parts.router;
		state.limitsOwner = undefined;
		// Calls that it was asked for end with the handed limiter, which tells nobody any more.
		if (!this.#isReplaced && heir.limiter) state.limiter = heir.limiter.own;
	}
}

function refuse(peer: Peer, text: string): void {
	peer.send({ type: "done", isUpgraded: false, text });
	peer.end();
}
