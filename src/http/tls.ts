/** Certificate and key from their files, and again when the files change. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Logger } from "pino";
import { StartError } from "../errors.ts";

/** How often the files are looked at, ms. By content, not by events: Kubernetes swaps a symlink two levels up. */
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
 * Looks at the files every `pollMs` and calls `use` with a pair that changed and is sound, and the one before. A
 * broken pair is logged once and the one in use stays; what `use` throws is logged once as it is, and the pair tried
 * again at each look.
 * @returns stops looking
 */
export function watchTls(
	files: TlsFiles,
	first: TlsPair,
	logger: Pick<Logger, "info" | "error">,
	pollMs: number | undefined,
	use: (pair: TlsPair, previous: TlsPair) => void,
): () => void {
	let inUse = first;
	let complained = "";
	const look = () => {
		try {
			const pair = newPair(files, inUse);
			if (pair) {
				use(pair, inUse);
				inUse = pair;
				logger.info({ cert: files.cert }, "The TLS certificate was replaced.");
			}
			complained = "";
		} catch (cause) {
			const complaint = cause instanceof Error ? cause.message : String(cause);
			if (complaint !== complained) logger.error(complaint);
			complained = complaint;
		}
	};
	const timer = setInterval(look, pollMs ?? POLL_MS);
	timer.unref();
	return () => clearInterval(timer);
}

/** What the files hold now, where that is not `inUse`. Throws StartError where it is no sound pair. */
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
