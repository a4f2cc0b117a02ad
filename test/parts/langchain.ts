/** LangChain for Python, from PyPI: what `make langchain` installs, and `make test` where it may install. */
import { join } from "node:path";
import { PythonVenv } from "./python-venv.ts";

/** The tests that it runs, and what these need: each package with its version. */
export const LANGCHAIN_TESTS = join(import.meta.dir, "../kit/langchain");
/** Its Python packages. */
export const LANGCHAIN = new PythonVenv(
	"LangChain for Python",
	".langchain",
	join(LANGCHAIN_TESTS, "requirements.txt"),
);
