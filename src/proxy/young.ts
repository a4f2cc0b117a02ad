/**
 * Attempts that have only just begun. Most whole answers of small models, embeddings above all, are there before anything could be
 * late: to listen for a client's leaving and to set a timer for each costs 5 of their 100 µs. So one timer is set for all that begin
 * within its time, and only what is still there when it fires gets its own.
 */

/** How long anything is young at most, ms: a client that leaves is noticed that much later, and has 100 ms. */
export const YOUNG_MS = 40;

/** What grows up. */
export interface Young {
	/** It is still there. */
	grow(): void;
}

let young: Young[] = [];
let count = 0;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Has it grow up within {@link YOUNG_MS}, unless it is over before. */
export function begin(one: Young): void {
	young.push(one);
	count++;
	timer ??= setTimeout(growAll, YOUNG_MS);
}

/** It is over, or has grown up. To be called once for each that has begun; those that grow by themselves need not. */
export function end(): void {
	count--;
	if (count > 0) return;
	clearTimeout(timer);
	timer = undefined;
	young = [];
}

function growAll(): void {
	const grown = young;
	young = [];
	timer = undefined;
	for (const one of grown) one.grow();
}
