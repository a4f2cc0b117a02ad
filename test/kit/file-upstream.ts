/** A vendor that keeps files and batches, as OpenAI does, in memory. Batches are complete when they are asked for the second time. */

interface KeptFile {
	readonly object: Record<string, unknown> & { readonly id: string };
	readonly bytes: Uint8Array<ArrayBuffer>;
}

/** The server. */
export interface FileUpstream {
	readonly origin: string;
	/** `GET /v1/files/file-1`, in order. */
	readonly received: string[];
	readonly files: Map<string, KeptFile>;
	stop(): Promise<void>;
}

const missing = () =>
	Response.json({ error: { message: "No such object", type: "invalid_request_error" } }, { status: 404 });

/** Starts it on a free loopback port. */
export function startFileUpstream(): FileUpstream {
	const files = new Map<string, KeptFile>();
	const batches = new Map<string, Record<string, unknown>>();
	const received: string[] = [];
	let count = 0;
	const keep = (bytes: Uint8Array<ArrayBuffer>, filename: string, purpose: string) => {
		const id = `file-${++count}`;
		const object = { id, object: "file", bytes: bytes.length, created_at: 1_790_000_000 + count, filename, purpose };
		files.set(id, { object, bytes });
		return object;
	};
	async function create(request: Request): Promise<Response> {
		const form = await request.formData();
		const file = form.get("file") as unknown as File;
		return Response.json(keep(new Uint8Array(await file.arrayBuffer()), file.name, String(form.get("purpose"))));
	}
	function fileAnswer(method: string, id: string, suffix: string | undefined): Response {
		const kept = files.get(id);
		if (!kept) return missing();
		if (suffix === "content")
			return new Response(kept.bytes, { headers: { "content-type": "application/octet-stream" } });
		if (method !== "DELETE") return Response.json(kept.object);
		files.delete(id);
		return Response.json({ id, object: "file", deleted: true });
	}
	function batchAnswer(id: string, suffix: string | undefined): Response {
		const batch = batches.get(id);
		if (!batch) return missing();
		if (suffix === "cancel") batch["status"] = "cancelled";
		else if (batch["status"] === "validating") {
			batch["status"] = "completed";
			batch["output_file_id"] = keep(new TextEncoder().encode("{}\n"), "out.jsonl", "batch_output").id;
		}
		return Response.json(batch);
	}
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		development: false,
		idleTimeout: 0,
		async fetch(request) {
			const { pathname } = new URL(request.url);
			received.push(`${request.method} ${pathname}`);
			const [, , kind, id, suffix] = pathname.split("/");
			if (kind === "files") return id === undefined ? create(request) : fileAnswer(request.method, id, suffix);
			if (kind !== "batches") return missing();
			if (id !== undefined) return batchAnswer(id, suffix);
			const { input_file_id, endpoint } = (await request.json()) as Record<string, string>;
			const made = `batch_${++count}`;
			const created_at = 1_790_000_000 + count;
			batches.set(made, { id: made, object: "batch", created_at, status: "validating", input_file_id, endpoint });
			return Response.json(batches.get(made));
		},
	});
	return { origin: `http://127.0.0.1:${server.port}`, received, files, stop: () => server.stop(true) };
}
