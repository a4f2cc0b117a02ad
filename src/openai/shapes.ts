/** Words that schemas of other parties' JSON are made of. */
import { type TSchema, Type } from "@sinclair/typebox";

/** What is not known may stand there, too. */
export const open = { additionalProperties: true } as const;
/** What is not known may not. */
export const closedObject = { additionalProperties: false } as const;
/** May be absent, or null. */
export const optional = <T extends TSchema>(schema: T) => Type.Optional(Type.Union([schema, Type.Null()]));
