/** `router health`: asks the router of this machine whether it takes calls. For containers, which have no curl. */
import type { Loaded } from "../config/load.ts";
import { StartError } from "../errors.ts";
import { isOk } from "../providers/provider.ts";
import { httpTransport } from "../proxy/net/transport.ts";
import { localUrl } from "./local-url.ts";

/** How long the answer may take, ms: it needs no upstream. */
const TIMEOUT_MS = 3000;

/** The answer, with a line end. Throws StartError where the router can't be reached or is not ready. */
export async function healthCommand({ config, role }: Loaded): Promise<string> {
	const base = localUrl(role === "agent" ? config.agent : config.server);
	// The agent serves no TLS, whatever the router beside it does.
	const isTls = role !== "agent" && config.server.tls !== undefined;
	// The certificate names the router's public host, which loopback is not.
	const transport = httpTransport({ acceptsAnyCertificate: isTls });
	const url = `${isTls ? base.replace("http:", "https:") : base}/health/ready`;
	const response = await transport.send({ url, headers: {} }, AbortSignal.timeout(TIMEOUT_MS)).catch(() => {
		throw new StartError(`nothing answers at ${url}`);
	});
	if (!isOk(response)) throw new StartError(`${url} answers ${response.status}: not ready`);
	return "ready\n";
}
