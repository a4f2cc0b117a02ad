/** What `docker pull` prints without a terminal → how far it is. It tells of layers, never of bytes. */

/** `a3ed95caeb02: Pull complete` */
const DOCKER = /^([0-9a-f]{12}): (.+)$/;
/** `Copying blob sha256:a3ed95caeb02 done`, `Copying blob a3ed95caeb02 skipped: already exists` */
const PODMAN = /^Copying blob (?:sha256:)?([0-9a-f]{12})[0-9a-f]*(?: (.+))?$/;
const DONE = /^(?:Pull complete|Already exists|done|skipped)/;
/** The layer is here, and only has to be unpacked: that is the smaller half. */
const FETCHED = /^(?:Download complete|Verifying Checksum|Extracting)/;

/** Takes a pull's lines one by one; says 0 … 100 as of then, or undefined while no layer was named. */
export function pullProgress(): (line: string) => number | undefined {
	const layers = new Map<string, number>();
	return (line) => {
		// podman does not say when a blob is done; after the last of them comes this.
		if (line.startsWith("Copying config")) for (const layer of layers.keys()) layers.set(layer, 1);
		const [, layer, said = ""] = DOCKER.exec(line) ?? PODMAN.exec(line) ?? [];
		if (layer) layers.set(layer, Math.max(layers.get(layer) ?? 0, DONE.test(said) ? 1 : FETCHED.test(said) ? 0.8 : 0));
		if (layers.size === 0) return undefined;
		return Math.floor((100 * [...layers.values()].reduce((sum, share) => sum + share, 0)) / layers.size);
	};
}
