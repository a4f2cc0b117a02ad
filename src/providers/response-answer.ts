/** A web `Response` as an upstream's answer. */
import type { UpstreamAnswer } from "./provider.ts";

/** Reads nothing until it is asked to. */
export function responseAnswer(response: Response): UpstreamAnswer {
	let reader: { read(): Promise<{ value?: Uint8Array | undefined }> } | undefined;
	return {
		status: response.status,
		headers: response.headers,
		body: {
			async read() {
				reader ??= response.body?.getReader();
				return (await reader?.read())?.value;
			},
			text: () => response.text(),
		},
	};
}
