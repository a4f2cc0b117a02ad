/** Replacing this process by another program, under the same id, with the descriptors that it was started with: Bun's own call closes all behind standard error. */
import { libc } from "./libc.ts";

/**
 * Does not return where it succeeds.
 * @param args the program's name first
 * @throws {Error} where the system does not let it, or is not Linux
 */
export function execve(file: string, args: readonly string[], env: Readonly<Record<string, string>>): never {
	const system = libc({ execve: { args: ["ptr", "ptr", "ptr"], returns: "i32" } });
	if (!system) throw new Error("this system can't");
	const { ptr } = system;
	const text = (value: string) => Buffer.from(`${value}\0`);
	const name = text(file);
	const words = args.map(text);
	const variables = Object.entries(env).map(([key, value]) => text(`${key}=${value}`));
	// Lists of pointers, each with an empty one at its end.
	const pointers = (list: readonly Buffer[]) => BigUint64Array.from([...list.map((each) => BigInt(ptr(each))), 0n]);
	const [argv, envp] = [pointers(words), pointers(variables)];
	system.execve(ptr(name), ptr(argv), ptr(envp));
	throw new Error("the system refused");
}
