/** Waiting for what another process does. */

/** Looks again and again, for 30 s at most: the bound says when to give up, not how fast it has to be. */
export async function until(holds: () => boolean | Promise<boolean>, what = "it"): Promise<void> {
	for (let look = 0; look < 1500; look++) {
		if (await holds()) return;
		await Bun.sleep(20);
	}
	throw new Error(`${what} never came about`);
}
