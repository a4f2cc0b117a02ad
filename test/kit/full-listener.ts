/** An address at which no connection comes about: it is neither made nor refused. */

/** Where. */
export interface FullListener extends AsyncDisposable {
	readonly url: string;
}

/** How long a connection within this machine may take, ms, before it counts as none. */
const KNOCK_MS = 200;

/** A stopped process accepts nothing: its backlog is filled up until the kernel says nothing more. Throws where it never is. */
export async function fullListener(): Promise<FullListener> {
	const program = `Bun.listen({hostname:"127.0.0.1",port:0,socket:{data(){}}}).port`;
	const child = Bun.spawn([process.execPath, "-e", `process.stdout.write(${program}+"\\n")`], { stdout: "pipe" });
	const knocks: Promise<{ terminate(): void }>[] = [];
	const close = async () => {
		child.kill("SIGKILL");
		for (const knock of await Promise.allSettled(knocks)) if (knock.status === "fulfilled") knock.value.terminate();
	};
	const { value } = await child.stdout.getReader().read();
	const port = Number(Buffer.from(value ?? []).toString());
	child.kill("SIGSTOP");
	for (let round = 0; round < 100; round++) {
		const batch = Array.from({ length: 50 }, () => Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } }));
		knocks.push(...batch);
		const isThere = await Promise.race([Promise.all(batch).then(() => true), Bun.sleep(KNOCK_MS).then(() => false)]);
		if (!isThere) return { url: `http://127.0.0.1:${port}/`, [Symbol.asyncDispose]: close };
	}
	await close();
	throw new Error("the backlog was never full");
}
