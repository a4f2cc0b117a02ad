/** What the parts of the schema are made with. */
import { type TSchema, Type } from "@sinclair/typebox";

/** No field but those named. */
export const closed = { additionalProperties: false } as const;

/** `name:` with nothing behind it is an empty mapping; elsewhere it is a mistake: something that restricts may have been commented out. */
export const mayBeEmpty = { mayBeEmpty: true } as const;

/** An object whose fields are all optional in the file and all present, by default, in the program. */
export const section = <T extends Record<string, TSchema>>(properties: T, description: string) =>
	Type.Object(properties, { ...closed, ...mayBeEmpty, description, default: {} });
