/** The certificate authorities that are trusted everywhere. */

/**
 * Their certificates, PEM. Asked of the module when they are needed: an import of `node:tls` makes all of them at once, which takes a router's
 * start several ms and 400 KB, and few configurations have an authority of their own to put beside them.
 */
export const publicAuthorities = (): readonly string[] => process.getBuiltinModule("node:tls").rootCertificates;
