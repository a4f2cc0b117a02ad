/** The building blocks of the schema: sections, and types that TypeBox does not have. */
import { type StringOptions, type TSchema, Type } from "@sinclair/typebox";
import type { ValueKind } from "./clean-value.ts";
import { BYTES, DURATION, SHARE, type Unit } from "./units.ts";

/** Unknown fields are refused. */
export const closed = { additionalProperties: false } as const;

/** `name:` with no value is an empty mapping. Elsewhere that is a mistake: a restriction may have been commented out. */
export const mayBeEmpty = { mayBeEmpty: true } as const;

/** An object whose fields are all optional in the file and all present, by default, in the program. */
export const section = <T extends Record<string, TSchema>>(properties: T, description: string) =>
	Type.Object(properties, { ...closed, ...mayBeEmpty, description, default: {} });

/** A duration in the file (`10m`, by the keyword `unit`, which has the loader turn it into a number); ms in the program. */
export const duration = (options: StringOptions) =>
	Type.Unsafe<number>(Type.String({ ...options, pattern: DURATION.source, unit: "ms" satisfies Unit }));

/** A size in the file (`32MB`); bytes in the program. */
export const bytes = (options: StringOptions) =>
	Type.Unsafe<number>(Type.String({ ...options, pattern: BYTES.source, unit: "bytes" satisfies Unit }));

/** A share in the file (`10%`); 0 to 1 in the program. */
export const share = (options: StringOptions) =>
	Type.Unsafe<number>(Type.String({ ...options, pattern: SHARE.source, unit: "share" satisfies Unit }));

/** A string that is never shown: `router check`, logs and errors mask it. `valueKind`: `secret` unless it is given. */
export const secret = (options: StringOptions & { env?: string; valueKind?: ValueKind }) =>
	Type.String({ ...options, secret: true });

/** An http(s) URL with a host; it stays text. */
export const url = (options: StringOptions & { env?: string }) =>
	Type.String({
		...options,
		pattern: "^https?://[^/\\s]\\S*$",
		expects: "a URL that begins with http:// or https://",
		valueKind: "address" satisfies ValueKind,
	});
