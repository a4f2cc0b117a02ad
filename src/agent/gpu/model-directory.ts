/** A directory of this host that `model` names: whether it holds a model, asked before Docker would make an empty one in its place. */
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Problem } from "../problem.ts";

/** What vLLM recognises a model by: Hugging Face's configuration, Mistral's, or a GGUF file. */
const RECOGNISED = /^(?:config\.json|params\.json|.+\.gguf)$/;
/** Most names that a remedy lists. */
const MAX_SHOWN = 5;

/** Why the container could not load it, and where to look; undefined where it can, and where this user may not look. Never rejects. */
export async function directoryProblem(path: string): Promise<Problem | undefined> {
	try {
		const found = await stat(path);
		if (found.isFile() && path.endsWith(".gguf")) return undefined;
		if (!found.isDirectory()) {
			return {
				reason: `${path} is a file, and \`model\` names a directory`,
				fix: `the directory with config.json and the weights, such as ${dirname(path)}`,
			};
		}
		return await contentProblem(path);
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		// What this user may not look at the engine may mount.
		if (code !== "ENOENT" && code !== "ENOTDIR") return undefined;
		return { reason: `there is no directory ${path} on this host`, fix: await nearby(path) };
	}
}

async function contentProblem(path: string): Promise<Problem | undefined> {
	const names = await readdir(path);
	const config = names.find((name) => RECOGNISED.test(name));
	if (config !== undefined) return linkProblem(path, config);
	const inside = await modelsIn(path, names);
	const here = names.length === 0 ? "is empty" : "holds no config.json (nor params.json, nor a GGUF file)";
	return {
		reason: `${path} ${here}: vLLM finds no model there`,
		fix:
			inside.length > 0
				? `\`model\` must name the model's own directory: ${inside.map((name) => join(path, name)).join(", ")}`
				: `put the model's files there (\`hf download ORGANISATION/NAME --local-dir ${path}\`), or name it by its Hugging Face id`,
	};
}

/** Files that are links out of the directory, as Hugging Face's cache has them: in the container they lead nowhere. */
async function linkProblem(path: string, name: string): Promise<Problem | undefined> {
	const [directory, file] = await Promise.all([realpath(path), realpath(join(path, name))]);
	if (file.startsWith(`${directory}/`)) return undefined;
	const [, organisation, model] = /\/models--([^/]+?)--([^/]+)\//.exec(`${directory}/`) ?? [];
	const copy = `copy them (\`cp -rL ${path} /models/NAME\`)`;
	return {
		reason: `the files in ${path} are links that lead out of it (${file}), and its container sees that directory alone`,
		fix: organisation
			? `name the model by its Hugging Face id, \`${organisation}/${model}\`, with \`agent.cache_dir\` at that cache; or ${copy}`
			: copy,
	};
}

/** What is where the directory should be: the nearest one above it that exists, and the models in it. */
async function nearby(path: string): Promise<string> {
	const parent = dirname(path);
	const names = await readdir(parent).catch(() => undefined);
	if (parent === "/" || names === undefined) {
		return `correct \`model\`, or put its files there (\`hf download ORGANISATION/NAME --local-dir ${path}\`); a Hugging Face id has no slash at its beginning`;
	}
	const models = await modelsIn(parent, names);
	const wanted = basename(path).toLowerCase();
	const like = models.find((name) => name.toLowerCase() === wanted);
	if (like) return `correct \`model\` to ${join(parent, like)}`;
	return models.length > 0
		? `correct \`model\`: ${parent} holds ${models.join(", ")}`
		: `correct \`model\`, or put its files there (\`hf download ORGANISATION/NAME --local-dir ${path}\`); ${parent} holds no model`;
}

/** Directories in it that hold a model. */
async function modelsIn(path: string, names: readonly string[]): Promise<string[]> {
	const models: string[] = [];
	for (const name of [...names].sort().slice(0, 100)) {
		const inside = await readdir(join(path, name)).catch(() => []);
		if (inside.some((file) => RECOGNISED.test(file))) models.push(name);
		if (models.length === MAX_SHOWN) break;
	}
	return models;
}
