/** The certificate authorities that are trusted everywhere. */

/**
 * Their certificates, PEM. Asked of the module when they are needed: an import of their name makes all 118 of them as a process starts, which
 * takes 190 KB, and few configurations have an authority of their own to put beside them.
 */
export const publicAuthorities = (): readonly string[] => process.getBuiltinModule("node:tls").rootCertificates;
