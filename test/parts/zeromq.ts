/** ZeroMQ's own library and vLLM's encoder, for Python, from PyPI: what `make zeromq` installs, and `make test` where it may install. */
import { join } from "node:path";
import { PythonVenv } from "./python-venv.ts";

/** The program that publishes as vLLM does, and what it needs: each package with its version. */
export const KV_PUBLISHER = join(import.meta.dir, "../kit/kv-publisher");
/** Its Python packages. */
export const ZEROMQ = new PythonVenv("ZeroMQ for Python", ".zeromq", join(KV_PUBLISHER, "requirements.txt"));
