/**
 * The memory of GPUs, where several sims stand for the models of one host: each promises its share in a directory
 * that all see, and one that starts or wakes where less is free fails as vLLM does. So an agent that promises memory
 * twice is found out. A claim is a locked file; the kernel unlocks it when its process dies, however it dies.
 */
import { dlopen, FFIType } from "bun:ffi";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const LOCK_EX = 2;
const LOCK_NB = 4;

/** This process's claims. */
export interface GpuShare {
	/** Claims its share of every device; gives the least free part that was found, when that isn't enough. */
	claim(): { readonly free: number } | undefined;
	/** Gives it back, as a model does that falls asleep. */
	release(): void;
}

/** `devices` as `NVIDIA_VISIBLE_DEVICES` has them. `share`: from 0 to 1, of each. */
export function gpuShare(directory: string, devices: string, share: number): GpuShare {
	const { symbols: libc } = dlopen("libc.so.6", { flock: { args: [FFIType.int, FFIType.int], returns: FFIType.int } });
	const lock = (fd: number, how: number) => libc.flock(fd, how) === 0;
	const name = crypto.randomUUID();
	const held: { file: string; fd: number }[] = [];

	/** Shares of the living; files of the dead are removed. */
	const promised = (device: string): number =>
		readdirSync(join(directory, device))
			.map((file) => join(directory, device, file))
			.filter((file) => !held.some((own) => own.file === file))
			.reduce((sum, file) => {
				const fd = openSync(file, "r");
				const dead = lock(fd, LOCK_EX | LOCK_NB);
				closeSync(fd);
				if (dead) unlinkSync(file);
				return dead ? sum : sum + Number(readFileSync(file, "utf8"));
			}, 0);

	const release = () => {
		for (const { file, fd } of held.splice(0)) {
			unlinkSync(file);
			closeSync(fd);
		}
	};
	return {
		claim() {
			mkdirSync(directory, { recursive: true });
			const all = openSync(join(directory, "lock"), "a");
			try {
				// One at a time: two that look at once would both find room, or neither.
				lock(all, LOCK_EX);
				for (const device of devices.split(",")) {
					mkdirSync(join(directory, `gpu-${device}`), { recursive: true });
					const free = 1 - promised(`gpu-${device}`);
					// Shares are sums of decimal fractions.
					if (free + 1e-6 < share) {
						release();
						return { free };
					}
					const file = join(directory, `gpu-${device}`, name);
					const fd = openSync(file, "w");
					lock(fd, LOCK_EX);
					writeFileSync(fd, String(share));
					held.push({ file, fd });
				}
				return undefined;
			} finally {
				closeSync(all);
			}
		},
		release,
	};
}
