/** Functions of the system's C library, for what Bun has no call for. */
import { dlopen, type FFIFunction, ptr } from "bun:ffi";

/** glibc, and musl by its processor's name. */
const LIBRARIES = ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`];

/** These functions, and what makes a pointer of a buffer; undefined elsewhere than on Linux, and where neither library has them. */
export function libc<const F extends Record<string, FFIFunction>>(functions: F) {
	if (process.platform !== "linux") return undefined;
	for (const library of LIBRARIES) {
		try {
			return { ...dlopen(library, functions).symbols, ptr };
		} catch {
			// Not this one.
		}
	}
	return undefined;
}
