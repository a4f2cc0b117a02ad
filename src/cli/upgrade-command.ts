/** `router upgrade`: has the router that runs on a data directory start a new program, which takes its place. */
import { resolve } from "node:path";
import type { Config } from "../config/schema.ts";
import { ControlPeer, connectToRouter } from "../server/upgrade/control-socket.ts";
import { type FromRouter, type ToRouter, UPGRADE_PROTOCOL } from "../server/upgrade/upgrade-messages.ts";

/**
 * Resolves with the last line, once the new process answers calls. Rejects where it does not, with the reason; the router that ran goes on then.
 * @param file the new program; absent: the one that runs, as its file is now
 * @param report is told what has been done so far
 */
export async function upgradeCommand(
	{ data_dir: dataDir }: Pick<Config, "data_dir">,
	file: string | undefined,
	report: (line: string) => void,
): Promise<string> {
	const socket = await connectToRouter(dataDir);
	if (!socket)
		throw new Error(
			`no router on ${dataDir} takes an upgrade: none runs there, or it is of a version before upgrades without interruption. Stop that one, and start the new one; the next upgrade can be one. Another directory: DATA_DIR or --config.`,
		);
	const peer = new ControlPeer<ToRouter, FromRouter>(socket);
	const done = Promise.withResolvers<string>();
	peer.onMessage = (message) => {
		if (message.type === "progress") report(message.text);
		if (message.type !== "done") return;
		if (message.isUpgraded) done.resolve(`${message.text}\n`);
		else done.reject(new Error(message.text));
	};
	void peer.closed.then(() => done.reject(new Error("the router that runs has ended; what it printed says why")));
	peer.send({ type: "upgrade", protocol: UPGRADE_PROTOCOL, file: file && resolve(file) });
	return await done.promise.finally(() => peer.end());
}
