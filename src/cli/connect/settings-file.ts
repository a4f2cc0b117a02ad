/** Reading and writing files that belong to other programs: links are followed, modes stay, and nothing is replaced that was not read. */
import {
	chmodSync,
	chownSync,
	closeSync,
	fsyncSync,
	lstatSync,
	mkdirSync,
	openSync,
	readFileSync,
	readlinkSync,
	realpathSync,
	renameSync,
	rmdirSync,
	rmSync,
	statSync,
	unlinkSync,
	writeFileSync,
	writeSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { StartError } from "../../errors.ts";

/** Nobody's settings are longer, bytes. */
const LARGEST = 4 * 1024 * 1024;
const OWNER_ONLY = 0o600;

/** A file as it was read. */
export interface FoundFile {
	/** As the client names it. */
	readonly path: string;
	/** Behind links. */
	readonly target: string;
	/** Undefined where there is no file. */
	readonly text: string | undefined;
	/** Its permissions. */
	readonly mode: number | undefined;
}

/** Reads a file. Throws StartError where there is something else than a text, or it can't be read. */
export function readFound(path: string): FoundFile {
	try {
		const target = behindLinks(path);
		const stat = statSync(target, { throwIfNoEntry: false });
		if (!stat) return { path, target, text: undefined, mode: undefined };
		if (!stat.isFile()) throw new StartError(`${path} is no file, and was left as it is`);
		if (stat.size > LARGEST) throw new StartError(`${path} is too large for a settings file, and was left as it is`);
		const bytes = readFileSync(target);
		const text = bytes.toString("utf8");
		if (text.includes("\0") || !Buffer.from(text, "utf8").equals(bytes)) {
			throw new StartError(`${path} is no UTF-8 text, and was left as it is`);
		}
		return { path, target, text, mode: stat.mode & 0o777 };
	} catch (error) {
		throw asStartError(error, `${path} can't be read`);
	}
}

/** Throws StartError where its owner has taken the right to write it from everybody: as editors do, though a folder may let files be replaced. */
export function refuseReadOnly({ path, mode = OWNER_ONLY }: FoundFile): void {
	if ((mode & 0o200) === 0)
		throw new StartError(`${path} is read-only, and was left as it is: chmod u+w lets it be written`);
}

/** Where the links of a path lead, also where nothing is there yet. */
function behindLinks(path: string): string {
	try {
		return realpathSync(path);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
		const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
		return isLink ? behindLinks(resolve(dirname(path), readlinkSync(path))) : path;
	}
}

/**
 * Replaces the file's text at once, or makes the file; returns the folder that was made for it, the outermost if there are several.
 * `mode`: its permissions from now on. Throws StartError where it can't be written, or was changed since it was read.
 */
export function replaceText({ path, target, text: before }: FoundFile, text: string, mode: number): string | undefined {
	const temporary = join(dirname(target), `.router-${process.pid}-${crypto.randomUUID()}.tmp`);
	try {
		const made = mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
		const owner = statSync(target, { throwIfNoEntry: false });
		const file = openSync(temporary, "wx", mode);
		try {
			writeSync(file, text);
			fsyncSync(file);
		} finally {
			closeSync(file);
		}
		chmodSync(temporary, mode);
		if (owner && process.getuid?.() === 0) chownSync(temporary, owner.uid, owner.gid);
		if (readFound(path).text !== before)
			throw new StartError(`${path} was changed meanwhile, and was left as it is: try again`);
		renameSync(temporary, target);
		return made;
	} catch (error) {
		rmSync(temporary, { force: true });
		throw asStartError(error, `${path} can't be written`);
	}
}

/** Copies what was read to a file beside it that nobody but its owner may read; returns its path. Throws StartError. */
export function backUp({ path, target, text }: FoundFile): string {
	for (let number = 1; ; number++) {
		const backup = `${target}.router-backup${number === 1 ? "" : `-${number}`}`;
		try {
			writeFileSync(backup, text ?? "", { flag: "wx", mode: OWNER_ONLY });
			return backup;
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code !== "EEXIST") {
				throw asStartError(error, `${path} was left as it is, since its backup ${backup} can't be written`);
			}
		}
	}
}

/** Removes a file that was made, and the folders made for it, from `outermost` on, as far as they are empty. Throws StartError. */
export function removeMade(target: string, outermost: string | undefined): void {
	try {
		unlinkSync(target);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw asStartError(error, `${target} can't be removed`);
	}
	if (outermost === undefined) return;
	try {
		for (let folder = dirname(target); folder.startsWith(outermost); folder = dirname(folder)) rmdirSync(folder);
	} catch {
		// Something else is in it by now.
	}
}

function asStartError(error: unknown, what: string): StartError {
	if (error instanceof StartError) return error;
	return new StartError(`${what} (${(error as NodeJS.ErrnoException).code ?? "unknown reason"})`);
}
