import { version } from "../package.json" with { type: "json" };

/** The product's version, `0.1.0`: package.json's, put into the binary at build. */
export const VERSION: string = version;
