/** Whether the router reaches an agent's endpoint: asked when it registers, and again until it does. */
import { isOk, type Transport } from "../../providers/provider.ts";

/** How long the agent has to answer, ms. */
const PATIENCE_MS = 3_000;

/** Why `GET {origin}/health` does not answer, one sentence with what to do; undefined where it does. Never rejects. The call carries the agent's secret, as all calls to it do. */
export async function callBack(
	origin: string,
	secret: string,
	transport: Transport,
	ms = PATIENCE_MS,
): Promise<string | undefined> {
	const { hostname, port, protocol } = new URL(origin);
	const number = port || (protocol === "https:" ? "443" : "80");
	const giveUp = new AbortController();
	const timer = setTimeout(() => giveUp.abort(), ms);
	try {
		const headers = { accept: "*/*", authorization: `Bearer ${secret}` };
		const answer = await transport.send({ url: `${origin}/health`, headers }, giveUp.signal);
		if (isOk(answer)) return undefined;
		return `${origin}/health answers ${answer.status}: something else than the agent listens on port ${number}.`;
	} catch (thrown) {
		if (giveUp.signal.aborted) {
			return `${origin} does not answer within ${ms / 1000} s: a firewall may block port ${number} on ${hostname}, or the agent listens on another address.`;
		}
		const code = thrown instanceof Error && "code" in thrown ? ` (${thrown.code})` : "";
		return `${origin} can't be reached${code}: nothing listens on port ${number} of ${hostname}, or a firewall refuses it. Start the agent with --host 0.0.0.0, or open the port.`;
	} finally {
		clearTimeout(timer);
		// Its body is of no interest.
		giveUp.abort();
	}
}
