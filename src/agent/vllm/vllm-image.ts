/** The image of a model's container: the pinned vLLM, or the one that the configuration names. Pure. */
import type { Accelerator, ModelSpec, SpecSettings } from "../models/model-spec.ts";

/** Tested together with the arguments and log lines that this agent knows. */
const PINNED_VERSION = "v0.33.0";
/**
 * The version by which a container's hash names the pinned image, whichever is pinned: a newer one alone replaces nothing that runs, and what agents
 * started that pinned this one keeps its hash, too.
 */
const HASHED_VERSION = "v0.30.0";
/** That version is built for CUDA 13, which needs this driver; older ones run the build for CUDA 12.9. */
const CUDA_13_DRIVER = 580;

/** What the model runs on: the host's accelerator, or the CPU where it asks for no GPU. */
export function acceleratorOf({ gpus }: ModelSpec, { accelerator }: SpecSettings): SpecSettings["accelerator"] {
	return gpus === 0 ? "cpu" : accelerator;
}

/** The pinned image; `driver` is the NVIDIA driver's version where it is known. */
export function pinnedImage(accelerator: Accelerator, driver?: string, version = PINNED_VERSION): string {
	if (accelerator === "cpu") return `vllm/vllm-openai-cpu:${version}`;
	if (accelerator === "rocm") return `vllm/vllm-openai-rocm:${version}`;
	const isOld = Number.parseInt(driver ?? "", 10) < CUDA_13_DRIVER;
	return `vllm/vllm-openai:${version}${isOld ? "-cu129" : ""}`;
}

/** The image of a model's container, with the mirror before it where its name has no registry of its own. */
export function containerImage(spec: ModelSpec, settings: SpecSettings): string {
	return imageOf(spec, settings, PINNED_VERSION);
}

/** What stands for the image in a container's hash: a named one itself, the pinned one whatever its version. */
export function hashedImage(spec: ModelSpec, settings: SpecSettings): string {
	return imageOf(spec, settings, HASHED_VERSION);
}

/**
 * Whether an image's tag says that its vLLM is this version or a newer one (`v0.33.0`, `0.33.1-cu129`). False for a tag that says nothing of it: `latest`,
 * a digest, a month (`25.09-py3`).
 */
export function isAtLeast(image: string, major: number, minor: number): boolean {
	const [, ofMajor, ofMinor] = /:v?(\d)\.(\d{1,4})(?:[.-][\w.-]*)?(?:@.*)?$/.exec(image) ?? [];
	const [has, hasMinor] = [Number(ofMajor), Number(ofMinor)];
	return has > major || (has === major && hasMinor >= minor);
}

function imageOf(spec: ModelSpec, settings: SpecSettings, version: string): string {
	const named = spec.image ?? settings.image;
	const pinned = pinnedImage(acceleratorOf(spec, settings), settings.driver, version);
	const plain = (named ?? pinned).replace(/^docker\.io\//, "");
	const [first = ""] = plain.split("/");
	const hasRegistry = plain.includes("/") && (/[.:]/.test(first) || first === "localhost");
	if (hasRegistry) return plain;
	if (settings.registry) return `${settings.registry.replace(/\/+$/, "")}/${plain}`;
	// podman asks, or refuses, where a name could mean several registries.
	return named === undefined && settings.command === "podman" ? `docker.io/${plain}` : plain;
}
