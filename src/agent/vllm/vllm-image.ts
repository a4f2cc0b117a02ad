/** The image of a model's container: the pinned vLLM, or the one that the configuration names. Pure. */
import type { Accelerator, ModelSpec, SpecSettings } from "../models/model-spec.ts";
import { acceleratorOf } from "./vllm-args.ts";

/** Tested together with the arguments and log lines that this agent knows. */
const PINNED_VERSION = "v0.30.0";
/** That version is built for CUDA 13, which needs this driver; older ones run the build for CUDA 12.9. */
const CUDA_13_DRIVER = 580;

/** The pinned image; `driver` is the NVIDIA driver's version where it is known. */
export function pinnedImage(accelerator: Accelerator, driver?: string): string {
	if (accelerator === "cpu") return `vllm/vllm-openai-cpu:${PINNED_VERSION}`;
	if (accelerator === "rocm") return `vllm/vllm-openai-rocm:${PINNED_VERSION}`;
	const isOld = Number.parseInt(driver ?? "", 10) < CUDA_13_DRIVER;
	return `vllm/vllm-openai:${PINNED_VERSION}${isOld ? "-cu129" : ""}`;
}

/** The image of a model's container, with the mirror before it where its name has no registry of its own. */
export function containerImage(spec: ModelSpec, settings: SpecSettings): string {
	const named = spec.image ?? settings.image;
	const plain = (named ?? pinnedImage(acceleratorOf(spec, settings), settings.driver)).replace(/^docker\.io\//, "");
	const [first = ""] = plain.split("/");
	const hasRegistry = plain.includes("/") && (/[.:]/.test(first) || first === "localhost");
	if (hasRegistry) return plain;
	if (settings.registry) return `${settings.registry.replace(/\/+$/, "")}/${plain}`;
	// podman asks, or refuses, where a name could mean several registries.
	return named === undefined && settings.command === "podman" ? `docker.io/${plain}` : plain;
}
