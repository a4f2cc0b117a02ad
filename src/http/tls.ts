/** Reading a certificate and its key, and watching their files for changes. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Logger } from "pino";
import { StartError } from "../errors.ts";

/** How often the files are read, ms. Polling, not events: Kubernetes swaps a symlink two levels up. */
const POLL_MS = 10_000;

/** Paths of PEM files. */
export interface TlsFiles {
	readonly cert: string;
	readonly key: string;
}

/** Their contents. */
export interface TlsPair {
	readonly cert: string;
	readonly key: string;
}

/**
 * Reads and checks a pair.
 * @throws {StartError} naming the file when one can't be read or is no PEM, or when the two do not belong together
 */
export function readTls(files: TlsFiles): TlsPair {
	const cert = read(files.cert, "server.tls.cert");
	const key = read(files.key, "server.tls.key");
	const certificate = parse(() => new X509Certificate(cert), files.cert, "server.tls.cert", "certificate");
	const secret = parse(() => createPrivateKey(key), files.key, "server.tls.key", "private key");
	if (!certificate.checkPrivateKey(secret))
		throw new StartError(`The key in ${files.key} does not belong to the certificate in ${files.cert}.`);
	return { cert, key };
}

/**
 * Reads the files every `pollMs` and calls `use` with a valid pair that changed. An invalid pair is logged once and the one in use stays. An
 * error that `use` throws, or rejects with, is logged once, and the pair is tried again at each poll.
 * @returns a function that stops the watch
 */
export function watchTls(
	files: TlsFiles,
	first: TlsPair,
	logger: Pick<Logger, "info" | "error">,
	use: (pair: TlsPair) => void | Promise<void>,
	pollMs = POLL_MS,
): () => void {
	let inUse = first;
	let lastError = "";
	let isBusy = false;
	const poll = async () => {
		if (isBusy) return;
		isBusy = true;
		try {
			const pair = newPair(files, inUse);
			if (pair) {
				await use(pair);
				inUse = pair;
				logger.info({ cert: files.cert }, "The TLS certificate was replaced.");
			}
			lastError = "";
		} catch (cause) {
			const message = cause instanceof Error ? cause.message : String(cause);
			if (message !== lastError) logger.error(message);
			lastError = message;
		} finally {
			isBusy = false;
		}
	};
	const timer = setInterval(() => void poll(), pollMs);
	timer.unref();
	return () => clearInterval(timer);
}

/** The files' pair, where it is not `inUse`. Throws StartError where it is invalid. */
function newPair(files: TlsFiles, inUse: TlsPair): TlsPair | undefined {
	try {
		const pair = readTls(files);
		return pair.cert !== inUse.cert || pair.key !== inUse.key ? pair : undefined;
	} catch (cause) {
		if (!(cause instanceof StartError)) throw cause;
		throw new StartError(`${cause.message} The certificate in use stays.`, { cause });
	}
}

function read(path: string, setting: string): string {
	try {
		return readFileSync(path, "utf8");
	} catch (cause) {
		const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unreadable";
		throw new StartError(`${setting}: can't read ${path} (${code}).`, { cause });
	}
}

function parse<T>(make: () => T, path: string, setting: string, what: string): T {
	try {
		return make();
	} catch (cause) {
		throw new StartError(`${setting}: ${path} holds no PEM ${what}.`, { cause });
	}
}
