/** A thread that writes calls to a queue until it is ended: each with an attempt, and a number as its cost. */
import { EventQueue } from "../../src/telemetry/event-queue.ts";
import { settled } from "./ledger.ts";

declare const self: {
	onmessage: ((event: MessageEvent<SharedArrayBuffer>) => void) | undefined;
	postMessage(message: "begun"): void;
};

self.onmessage = ({ data: memory }) => {
	const queue = new EventQueue({ memory, unsettled: { close() {} }, onMany: () => {}, onLost: () => {} });
	self.postMessage("begun");
	for (let number = 0; ; number++) {
		const id = `req_${number}`;
		queue.attemptClosed({ callId: id, number: 1, provider: "box", target: "box/m", status: 200, ms: number });
		queue.callSettled(settled({ id, cost: number, user: "é".repeat(number % 100), keyId: `key-${number % 5_000}` }));
		// The reader is slower at times.
		while (queue.waiting > 100) queue.retry();
	}
};
