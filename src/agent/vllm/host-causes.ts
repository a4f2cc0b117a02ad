/** Causes on the side of the host: the memory of its GPUs and its own, drivers, devices, disks, ports. Pure data. */
import { type Cause, inGib, paste, SMALLER, SMALLER_ON_HOST } from "./cause.ts";
import { pinnedImage } from "./vllm-image.ts";

const GIB = 1024 ** 3;

/** The more exact come first. */
export const HOST_CAUSES: readonly Cause[] = [
	{
		pattern:
			/max seq len \((\d+)\), \(?([\d.]+) Gi?B KV cache is ?needed, which is larger than the available KV cache memory \(([\d.]+) Gi?B\)(?:.*?estimated maximum model length is (\d+))?/i,
		explain: ([, length, needed, available, estimate]) => {
			// Older versions print no estimate: the cache grows with the length.
			const fits = Number(estimate ?? Math.floor((Number(length) * Number(available)) / Number(needed) / 16) * 16);
			return {
				reason: `a context of ${length} tokens needs ${inGib(needed)} of KV cache, and ${inGib(available)} are left beside the weights`,
				fix: fits >= 1 ? `${paste("--max-model-len", String(fits))}, or more \`gpu_memory\`` : SMALLER,
			};
		},
	},
	{
		pattern:
			/max seq len \((\d+)\) is larger than the maximum number of tokens that can be stored in KV cache \((\d+)\)/i,
		explain: ([, length, fits]) => ({
			reason: `a context of ${length} tokens does not fit: the KV cache holds ${fits}`,
			fix: `${paste("--max-model-len", fits!)}, or more \`gpu_memory\``,
		}),
	},
	{
		pattern:
			/Free memory on device ?(?:cuda:\d+)? ?\(([\d.]+)\/([\d.]+) GiB\) on startup is less than (?:desired GPU memory utilization|the engine's budget[^(]*) \(([\d.]+), ([\d.]+) GiB\)/i,
		explain: ([, free, total, share, wanted], { holders = [] }) => {
			const users = holders.map(({ name, pid, memory }) => `${name} (pid ${pid}) holds ${inGib(memory / GIB)}`);
			const others = Number(total) - Number(free);
			return {
				reason: `the model may take ${inGib(wanted)} of the GPU (${share}), but ${inGib(free)} of ${total} are free: ${
					users.length > 0 ? users.join(", ") : `other processes hold ${inGib(others)}`
				}`,
				fix: `stop them (\`nvidia-smi\` lists them), or set the model's \`gpu_memory: ${(Math.floor(Number(free) * 10) / 10).toFixed(1)}GiB\``,
			};
		},
	},
	{
		pattern:
			/Available memory on node \d+ \(([\d.]+)\/([\d.]+) GiB\) on startup is less than desired CPU memory utilization \(([\d.]+), ([\d.]+) GiB\)/i,
		explain: ([, free, total, share, wanted]) => ({
			reason: `vLLM may take ${inGib(wanted)} of the host's memory (${share}), but ${inGib(free)} of ${total} are available`,
			fix: "leave `--gpu-memory-utilization` out of the model's `args`, and set its KV cache by `gpu_memory`",
		}),
	},
	{
		pattern:
			/Available memory on node \d+ \(([\d.]+)\/([\d.]+) GiB\) on kv cache allocation is less than requested memory for kv \((-?[\d.]+)/i,
		explain: ([, free, total, wanted]) => ({
			reason:
				Number(wanted) > 0
					? `the KV cache takes ${inGib(wanted)} of the host's memory, and ${inGib(free)} of ${total} are available beside the weights`
					: `the weights leave nothing of the host's memory for the KV cache (${inGib(free)} of ${total} are available)`,
			fix: SMALLER_ON_HOST,
		}),
	},
	{
		pattern: /No available memory for the cache blocks/i,
		explain: () => ({
			reason: "the weights fill the model's share of the GPU, so nothing is left for the KV cache",
			fix: SMALLER,
		}),
	},
	{
		pattern:
			/(?:CUDA|HIP)(?: error:)? out of memory\.?(?: Tried to allocate ([\d.]+ \w+))?(?:.*?total capacity of ([\d.]+ \w+))?(?:.*?of which ([\d.]+ \w+) is free)?/i,
		explain: ([, wanted, total, free]) => ({
			reason: `the GPU's memory ran out${wanted ? ` when ${wanted} more were asked for` : ""}${
				free && total ? ` (${free} of ${total} were free)` : ""
			}`,
			fix: SMALLER,
		}),
	},
	{
		pattern:
			/DefaultCPUAllocator: (?:can't allocate memory|not enough memory)(?:.*?allocate (\d+) bytes)?|Cannot allocate memory|^MemoryError/i,
		explain: ([, bytes]) => ({
			reason: `the host's memory ran out${bytes ? ` when ${inGib(Number(bytes) / GIB)} more were asked for` : ""}`,
			fix: SMALLER_ON_HOST,
		}),
	},
	{
		pattern: /Error in memory profiling|memory profiling.*other processes/i,
		explain: () => ({
			reason: "another process gave up or took GPU memory while vLLM measured it",
			fix: "nothing: the agent starts it again. If it stays so, start the other process first",
		}),
	},
	{
		pattern:
			/NVIDIA driver on your system is too old(?: \(found version (\d+)\))?|CUDA driver version is insufficient|unsatisfied condition: cuda|unsupported display driver/i,
		explain: () => ({
			reason: "the host's NVIDIA driver is older than the image's CUDA",
			fix: `install driver 580 or newer, or set \`agent.image: ${pinnedImage("nvidia", "570")}\``,
		}),
	},
	{
		pattern: /system not yet initialized|Error 802/i,
		explain: () => ({
			reason: "the GPUs' NVSwitch is not set up: NVIDIA's fabric manager does not run on the host",
			fix: "`sudo systemctl enable --now nvidia-fabricmanager` (its version must be the driver's)",
		}),
	},
	{
		pattern:
			/Bfloat16 is only supported on GPUs with compute capability|no kernel image is available for execution on the device|quantization method \S+ is not supported for the current GPU/i,
		explain: ([line]) => ({
			reason: `the GPU is too old for what was asked of it: ${line}`,
			fix: /bfloat16/i.test(line) ? paste("--dtype", "half") : "take another quantisation of the model, or a newer GPU",
		}),
	},
	{
		pattern: /Failed to infer device type|No CUDA GPUs are available|libcuda\.so\.1: cannot open/i,
		explain: (_, { command = "docker" }) => ({
			reason: "vLLM sees no GPU in its container",
			fix: `install the NVIDIA Container Toolkit (${
				command === "podman"
					? "`sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`) and see that `podman run --rm --device nvidia.com/gpu=all ubuntu nvidia-smi` lists it"
					: "`sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker`) and see that `docker run --rm --gpus all ubuntu nvidia-smi` lists it"
			}; for a host without one set the model's \`gpus: 0\``,
		}),
	},
	{
		pattern: /World size \((\d+)\) is larger than the number of available GPUs \((\d+)\)|invalid device ordinal/i,
		explain: ([, wanted, seen]) => ({
			reason: wanted
				? `the model spans ${wanted} GPUs, and its container sees ${seen}`
				: "the model asks for a GPU that its container does not see",
			fix: "set the model's `gpus` (or `--tensor-parallel-size` in its `args`) to what `devices` and the host have",
		}),
	},
	{
		pattern:
			/uncorrectable (?:ECC|NVLink) error|CUDA error: (?:an )?(?:illegal memory access|unspecified launch failure|hardware)|GPU has fallen off the bus/i,
		explain: ([found]) => ({
			reason: `the GPU failed: ${found}`,
			fix: "it is started again; if it comes again, `dmesg | grep -i xid` on the host tells a broken GPU from an error of vLLM: then try another image, or `--enforce-eager` in the model's `args`",
		}),
	},
	{
		pattern: /NCCL error|ncclUnhandledCudaError|ncclSystemError/i,
		explain: ([line]) => ({
			reason: `the GPUs can't talk to each other: ${line}`,
			fix: "set NCCL_DEBUG=INFO and list it in the model's `env` to see why; without NVLink or peer access NCCL_P2P_DISABLE=1 helps",
		}),
	},
	{
		pattern: /\/dev\/shm|insufficient shared memory|unable to (?:open|allocate|resize) shared memory/i,
		explain: () => ({
			reason: "the host's shared memory (/dev/shm) is full",
			fix: "`df -h /dev/shm` shows it; `sudo mount -o remount,size=50% /dev/shm` makes it larger, and files that dead programs left there may be removed",
		}),
	},
	{
		pattern: /No space left on device/i,
		explain: () => ({
			reason: "the disk with the model cache is full",
			fix: "`du -sh` on `agent.cache_dir` shows the models in it; remove some, or move it to a larger disk",
		}),
	},
	{
		pattern: /can't start new thread|pthread_create failed|Resource temporarily unavailable/i,
		explain: () => ({
			reason: "the host lets the container start no further thread",
			fix: "raise the limit on processes: `ulimit -u`, or `TasksMax=` of the container engine's service",
		}),
	},
	{
		pattern: /Permission denied: ['"](\/root\/\.cache\/[^'"]+)/i,
		explain: (_, { command = "docker" }) => ({
			reason: "the container may not write to the model cache",
			fix:
				command === "podman"
					? "`agent.cache_dir` must belong to the user that runs podman; under SELinux `chcon -R -t container_file_t` on it"
					: "`agent.cache_dir` must be writable for root in the container: not on a share that maps root to nobody; under SELinux `chcon -R -t container_file_t` on it",
		}),
	},
	{
		pattern: /port is already allocated|\[?Errno 98\]?|address already in use/i,
		explain: () => ({
			reason: "its port is taken by another program",
			fix: "nothing: the agent tries the next one",
		}),
	},
];
