/** A web `Response` as an upstream's answer. */
import type { ByteSource, UpstreamAnswer } from "./provider.ts";

/** Largest whole answer that is kept in memory, bytes: long embeddings run to tens of MB, nothing honest runs to this. */
export const MAX_ANSWER = 256 * 1024 * 1024;

/** Reads nothing until it is asked to. */
export function responseAnswer(response: Response): UpstreamAnswer {
	const { status, headers } = response;
	const length = headers.get("content-length");
	// A compressed body, which nobody asked for, is longer than it says.
	const isWhole = length !== null && Number(length) <= MAX_ANSWER && !headers.has("content-encoding");
	return { status, headers, body: new ResponseBody(response), whole: isWhole ? response : undefined };
}

class ResponseBody implements ByteSource {
	#reader: { read(): Promise<{ value?: Uint8Array | undefined }> } | undefined;

	constructor(private readonly response: Response) {}

	async read(): Promise<Uint8Array | undefined> {
		this.#reader ??= this.response.body?.getReader();
		return (await this.#reader?.read())?.value;
	}
}
