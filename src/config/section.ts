/** What the parts of the schema are made with. */
import { type TSchema, Type } from "@sinclair/typebox";

/** No field but those named. */
export const closed = { additionalProperties: false } as const;

/** An object whose fields are all optional in the file and all present, by default, in the program. */
export const section = <T extends Record<string, TSchema>>(properties: T, description: string) =>
	Type.Object(properties, { ...closed, description, default: {} });
