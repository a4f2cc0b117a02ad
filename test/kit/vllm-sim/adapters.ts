/** LoRA adapters: those of `--lora-modules`, and those that are loaded while the server runs. */
import { existsSync } from "node:fs";
import { type Arguments, UsageError } from "./arguments.ts";
import { ApiError } from "./errors.ts";
import type { Model } from "./model.ts";
import { type Json, readBody } from "./request.ts";

/** One adapter. */
export interface Adapter {
	readonly name: string;
	/** vLLM's `root`. */
	readonly path: string;
	readonly parent: string;
}

/** Those of the command line. Throws UsageError in the words of vLLM's parser. `base`: the first name of the model. */
export function readAdapters({ given }: Arguments, base: string): Adapter[] {
	return (given.get("lora-modules") ?? []).map((item) => {
		if (item.includes("=") && !item.includes(",")) {
			const [name, path, ...more] = item.split("=");
			if (more.length > 0) throw new UsageError("ValueError: too many values to unpack (expected 2)", 1);
			return { name: name!, path: path!, parent: base };
		}
		const fault = (what: string) => new UsageError(`vllm serve: error: Invalid ${what} for --lora-modules: ${item}`);
		let module: Json;
		try {
			module = JSON.parse(item) as Json;
		} catch {
			throw fault("JSON format");
		}
		const { name, path, base_model_name } = module;
		if (typeof name !== "string" || typeof path !== "string") throw fault("fields");
		return { name, path, parent: typeof base_model_name === "string" ? base_model_name : base };
	});
}

/** Why the start ends with these; undefined where they load. */
export function adaptersFault({ given }: Arguments, adapters: Iterable<Adapter>): string | undefined {
	const isEnabled = given.get("enable-lora")?.[0] === "true";
	for (const adapter of adapters) {
		const fault = isEnabled ? loadFault(adapter) : "LoRA is not enabled. Use --enable-lora to enable LoRA.";
		if (fault) return `ValueError: Call to add_lora method failed: ${fault}`;
	}
	return undefined;
}

function loadFault({ name, path }: Adapter): string | undefined {
	if (!path.startsWith("/") || existsSync(path)) return undefined;
	return `Loading lora ${name} failed: No adapter found for ${path}`;
}

/** The model as a name is answered by: an adapter says other things than its base. */
export function modelBy(name: string, model: Model): Model {
	const adapter = model.adapters.get(name);
	return adapter ? { ...model, root: adapter.path } : model;
}

/** `POST /v1/load_lora_adapter`. */
export async function loadAdapter(request: Request, { adapters, names }: Model): Promise<Response> {
	const { lora_name: name, lora_path: path } = await readBody(request);
	if (typeof name !== "string" || typeof path !== "string" || !name || !path) {
		throw new ApiError(400, "Both 'lora_name' and 'lora_path' must be provided.", null, "InvalidUserInput");
	}
	if (adapters.has(name)) {
		const message = `The lora adapter '${name}' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.`;
		throw new ApiError(400, message, null, "InvalidUserInput");
	}
	const adapter = { name, path, parent: names[0]! };
	const fault = loadFault(adapter);
	if (fault) throw new ApiError(404, `Call to add_lora method failed: ${fault}`);
	adapters.set(name, adapter);
	return new Response(`Success: LoRA adapter '${name}' added successfully.`);
}

/** `POST /v1/unload_lora_adapter`. */
export async function unloadAdapter(request: Request, { adapters }: Model): Promise<Response> {
	const { lora_name: name } = await readBody(request);
	if (typeof name !== "string" || !adapters.delete(name)) {
		throw new ApiError(404, `The lora adapter '${name}' cannot be found.`);
	}
	return new Response(`Success: LoRA adapter '${name}' removed successfully.`);
}
