/** A web `Response` as an upstream's answer. */
import type { ByteSource, UpstreamAnswer } from "./provider.ts";

/** Reads nothing until it is asked to. */
export function responseAnswer(response: Response): UpstreamAnswer {
	return { status: response.status, headers: response.headers, body: new ResponseBody(response) };
}

class ResponseBody implements ByteSource {
	#reader: { read(): Promise<{ value?: Uint8Array | undefined }> } | undefined;

	constructor(private readonly response: Response) {}

	async read(): Promise<Uint8Array | undefined> {
		this.#reader ??= this.response.body?.getReader();
		return (await this.#reader?.read())?.value;
	}

	text(): Promise<string> {
		return this.response.text();
	}
}
