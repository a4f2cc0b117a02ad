/** Writes Swagger UI's files to `dist/swagger`, from where `bun build` puts them into the executable: a step of `make build`. */
import { join, resolve } from "node:path";
import { compressSwaggerFile, SWAGGER_FILES } from "./swagger-files.ts";

const OUT = resolve(import.meta.dir, "../../dist/swagger");

for (const name of SWAGGER_FILES) await Bun.write(join(OUT, `${name}.gz`), await compressSwaggerFile(name));
