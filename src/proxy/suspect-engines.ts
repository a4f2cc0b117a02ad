/** The engines that a suspected call may go to, and those that it waits for. Reached by no other call. */
import type { RouteTarget } from "../routing/route.ts";
import { engineIdOf, findBack } from "./engine-health.ts";
import type { ProxyState } from "./proxy-state.ts";
import { TriedTarget } from "./retry.ts";
import type { SuspectTarget, SuspectTurn } from "./suspect-step.ts";

/** A replica's id, of its model's at its agent. No model's name has a `#`. */
const REPLICA = /^(.+)#(\d+)$/;

/** Those of one call. */
export class SuspectEngines {
	/** A vLLM was found at an address that is not the user's own. */
	hasFarEngine = false;
	/** Targets that were tried since an engine died, by their place in the plan. */
	readonly tried = new Set<number>();

	/** @param targets the call's, to which replicas are added that its plan has left out */
	constructor(
		private readonly targets: TriedTarget[],
		private readonly state: Pick<ProxyState, "suspects" | "targets" | "keys">,
	) {}

	/**
	 * The call's targets, and behind them the engines that died of it and where it can't be sent. A replica that died is no target while it is
	 * being started: it becomes one of the call, which is to be tried there.
	 */
	reached(fingerprint: string): readonly { readonly target: RouteTarget }[] {
		const { targets } = this;
		for (const id of this.#absent(fingerprint)) {
			const target = this.#replica(id);
			if (target) targets.push(new TriedTarget(target, this.state.keys));
		}
		const elsewhere = this.#absent(fingerprint).flatMap((id) => this.state.suspects.targetOf(id) ?? []);
		// Whether an agent's is back is in its reports.
		const asked = elsewhere.filter(({ provider }) => provider.reportsLoading !== true);
		return [...targets, ...asked.map((target) => ({ target }))];
	}

	/** What is known of each of `reached`, in that order, and of the other engines that died of the call. */
	views(fingerprint: string, turn: SuspectTurn | undefined): SuspectTarget[] {
		const { suspects } = this.state;
		const own = this.targets.map(({ target }, at) => this.#view(target, at, fingerprint, turn));
		const elsewhere = this.#absent(fingerprint).map((id): SuspectTarget => {
			const isBack = !suspects.isDead(id);
			const isHealthy = isBack && !suspects.isReserved(id, turn);
			return { kind: "elsewhere", isHealthy, isWhereItDied: true, isBack, inFlight: 0, isTried: false };
		});
		return [...own, ...elsewhere];
	}

	isHealthy(target: RouteTarget): boolean {
		const { suspects, targets } = this.state;
		const { breaker, pausedUntil } = targets.of(target.id);
		return (
			this.kindOf(target) !== "vendor" &&
			breaker.state === "closed" &&
			pausedUntil <= targets.now() &&
			(target.readiness ?? 0) === 0 &&
			!suspects.isDead(engineIdOf(target))
		);
	}

	/** How many of its targets are engines that are well, or have died and are known to be back: their breakers close with the first answer. */
	get alive(): number {
		const { suspects } = this.state;
		const isBack = (id: string) => suspects.lastDead(id) !== undefined && !suspects.isDead(id);
		return this.targets.filter(({ target }) => this.isHealthy(target) || isBack(engineIdOf(target))).length;
	}

	/** Asks the servers of those that have died how they are. */
	findBack(): Promise<void> {
		const { targets, state } = this;
		return findBack(
			targets.map(({ target }) => engineIdOf(target)),
			targets,
			state,
		);
	}

	/**
	 * How long it takes until one of the engines is back that the call waits for, ms; Infinity where all of them are lost, undefined where nobody
	 * knows.
	 * @param waitsFor of its targets
	 * @param awaited these, and others that died of it
	 */
	backInMs(waitsFor: readonly string[], awaited: ReadonlySet<string>): number | undefined {
		const { suspects } = this.state;
		const needed = waitsFor.length > 0 ? waitsFor : [...awaited];
		if (needed.length > 0 && needed.every((id) => suspects.isLost(id))) return Number.POSITIVE_INFINITY;
		return [...awaited].map((id) => suspects.backInMs(id)).find((ms) => ms !== undefined);
	}

	/** See SuspectTarget. */
	kindOf({ kind = "cloud", provider, isQueue }: RouteTarget): "engine" | "gateway" | "vendor" {
		if (kind === "llm-d" || isQueue) return "gateway";
		return kind === "local" || (this.hasFarEngine && provider.healthRequest) ? "engine" : "vendor";
	}

	#view(target: RouteTarget, at: number, fingerprint: string, turn: SuspectTurn | undefined): SuspectTarget {
		const { suspects, targets } = this.state;
		const id = engineIdOf(target);
		const isDead = suspects.isDead(id);
		return {
			kind: this.kindOf(target),
			isHealthy: this.isHealthy(target) && !suspects.isReserved(id, turn),
			isWhereItDied: isDead || suspects.enginesOf(fingerprint).has(id) || this.tried.has(at),
			// An agent holds the call itself until its engine is back.
			isBack: !isDead || target.provider.reportsLoading === true,
			inFlight: inFlightAt(target, targets) - suspects.passedAt(id),
			isTried: this.tried.has(at),
		};
	}

	/** Engines that died of it and are none of its targets; of an agent's model whose replicas those are it is known which. */
	#absent(fingerprint: string): string[] {
		const known = new Set(this.targets.flatMap(({ target }) => [engineIdOf(target), modelIdOf(target)]));
		return [...this.state.suspects.enginesOf(fingerprint)].filter((id) => !known.has(id));
	}

	/** A replica of a model at an agent that the call may be sent to: as its neighbours are. */
	#replica(engine: string): RouteTarget | undefined {
		const [, model, number] = REPLICA.exec(engine) ?? [];
		const neighbours = this.targets.filter(({ target }) => target.agent !== undefined && modelIdOf(target) === model);
		const target = (neighbours.find((each) => !each.isQueue) ?? neighbours[0])?.target;
		if (!target) return undefined;
		const { deployment = target.id } = target;
		return {
			...target,
			id: `${deployment}#${number}`,
			deployment,
			engine: target.engine === undefined ? undefined : engine,
			replica: Number(number),
			isQueue: undefined,
			reportedWaiting: undefined,
		};
	}
}

/** The engines that have died among those that a call reaches, whose views these are. */
export function awaitedOf(
	reached: readonly { readonly target: RouteTarget }[],
	views: readonly SuspectTarget[],
): readonly string[] {
	return reached.flatMap(({ target }, at) => {
		const { kind, isWhereItDied } = views[at]!;
		return kind === "engine" && isWhereItDied ? [engineIdOf(target)] : [];
	});
}

/** By what the replicas of an agent's model are known together. */
const modelIdOf = (target: RouteTarget): string => REPLICA.exec(engineIdOf(target))?.[1] ?? engineIdOf(target);

/** What the engines among a call's targets call its model, by which it is known; an adapter's is the model that it changes. */
export function engineModel(targets: readonly RouteTarget[]): string {
	const own = targets.filter(
		({ kind = "cloud", provider }) => kind !== "cloud" || provider.healthRequest !== undefined,
	);
	return [...new Set(own.map(({ parent, model }) => parent ?? model))].sort().join();
}

/** Calls under way at a target, and of an adapter those of its model, too. */
function inFlightAt({ id, engine }: RouteTarget, targets: ProxyState["targets"]): number {
	return targets.of(id).inFlight + (engine === undefined ? 0 : targets.of(engine).inFlight);
}
