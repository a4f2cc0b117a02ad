/** Tunnels, as a worker has them: the main thread knows which thread has which. */
import type { ThreadTunnels, TunnelExchange } from "../agents/tunnels.ts";
import { frameIn, type ToMain, type ToWorker, tunnelMessage } from "./link.ts";

/** What a worker says of tunnels. */
export function mainTunnels(send: (message: ToMain, transfer?: ArrayBuffer[]) => void): TunnelExchange {
	const sendFrame = (agent: string, thread: number | undefined, frame: Buffer) => {
		const message = tunnelMessage(agent, thread, frame);
		send(message, [message.bytes.buffer]);
	};
	return {
		opened: (tunnel) => send({ type: "tunnel-opened", tunnel }),
		drained: () => send({ type: "tunnel-drained" }),
		closed: (tunnel) => send({ type: "tunnel-closed", tunnel }),
		toAgent: (agent, frame) => sendFrame(agent, undefined, frame),
		toThread: (thread, agent, frame) => sendFrame(agent, thread, frame),
	};
}

/** What a worker says of them, as the main thread hears it. */
export function takeTunnel(
	tunnels: TunnelExchange,
	said: Extract<ToMain, { readonly type: `tunnel-${string}` }>,
): void {
	switch (said.type) {
		case "tunnel-frame":
			if (said.thread === undefined) tunnels.toAgent(said.agent, frameIn(said));
			else tunnels.toThread(said.thread, said.agent, frameIn(said));
			return;
		case "tunnel-opened":
			tunnels.opened(said.tunnel);
			return;
		case "tunnel-drained":
			tunnels.drained();
			return;
		case "tunnel-closed":
			tunnels.closed(said.tunnel);
			return;
	}
}

/** What the main thread says of them. */
export type TunnelNews = Extract<ToWorker, { readonly type: `tunnel-${string}` }>;

/** Takes it. */
export function takeTunnelNews(tunnels: ThreadTunnels, news: TunnelNews): void {
	switch (news.type) {
		case "tunnel-frame":
			if (news.thread === undefined) tunnels.toAgent(news.agent, frameIn(news));
			else tunnels.fromAgent(news.agent, frameIn(news));
			return;
		case "tunnel-lost":
			tunnels.lost(news.agent, news.now);
			return;
		case "tunnel-replaced":
			tunnels.replaced(news.tunnel);
			return;
		case "tunnel-hello":
			tunnels.know(news.hello);
			return;
		case "tunnel-end":
			tunnels.end();
			return;
		case "tunnel-ended":
			tunnels.ended(news.thread);
			return;
	}
}
