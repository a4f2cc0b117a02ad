/** Time that passes from one event to the next: what is simulated takes none. */

/** Events in the order of their times. */
export class SimulatedTime {
	now = 0;
	readonly #events: { readonly at: number; readonly run: () => void }[] = [];

	readonly after = (ms: number, run: () => void): (() => void) => {
		const event = { at: this.now + ms, run };
		const behind = this.#events.findLastIndex(({ at }) => at <= event.at);
		this.#events.splice(behind + 1, 0, event);
		return () => {
			const index = this.#events.indexOf(event);
			if (index !== -1) this.#events.splice(index, 1);
		};
	};

	/** Runs events until `isOver`. What they left to promises is done before the next one. */
	async run(isOver: () => boolean): Promise<void> {
		while (!isOver()) {
			const { at, run } = this.#events.shift()!;
			this.now = at;
			run();
			for (let turn = 0; turn < 10; turn++) await null;
		}
	}
}
