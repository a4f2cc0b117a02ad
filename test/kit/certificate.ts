/** Self-signed certificates made on the spot, so that no key lies in the repository and no openssl is needed. */
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { isIPv4 } from "node:net";
import { connect } from "node:tls";

/** One DER element: tag, length, content. */
function der(tag: number, ...parts: Uint8Array[]): Buffer {
	const content = Buffer.concat(parts);
	const { length } = content;
	const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
	return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
const sequence = (...parts: Uint8Array[]) => der(0x30, ...parts);
const oid = (...bytes: number[]) => der(0x06, Buffer.from(bytes));
const pem = (label: string, bytes: Buffer) =>
	`-----BEGIN ${label}-----\n${bytes.toString("base64").replace(/(.{64})/g, "$1\n")}\n-----END ${label}-----\n`;

const ECDSA_SHA256 = sequence(oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02));
const COMMON_NAME = oid(0x55, 0x04, 0x03);
const SUBJECT_ALT_NAME = oid(0x55, 0x1d, 0x11);

/** A certificate for `localhost` (or these names and IPv4 addresses) with that common name, valid from 2020 to that year, and its key, both PEM. */
export function certificate(
	commonName: string,
	hosts: readonly string[] = ["localhost"],
	until = 2049,
): { cert: string; key: string } {
	const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
	const name = sequence(der(0x31, sequence(COMMON_NAME, der(0x0c, Buffer.from(commonName)))));
	const time = (text: string) => der(0x17, Buffer.from(text));
	const named = (host: string) =>
		isIPv4(host) ? der(0x87, Buffer.from(host.split(".").map(Number))) : der(0x82, Buffer.from(host));
	const alternative = der(0x04, sequence(...hosts.map(named)));
	const body = sequence(
		der(0xa0, der(0x02, Buffer.from([2]))),
		der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
		ECDSA_SHA256,
		name,
		sequence(time("200101000000Z"), time(`${until % 100}1231000000Z`)),
		name,
		publicKey.export({ type: "spki", format: "der" }),
		der(0xa3, sequence(sequence(SUBJECT_ALT_NAME, alternative))),
	);
	const signature = der(0x03, Buffer.from([0]), sign("sha256", body, privateKey));
	return {
		cert: pem("CERTIFICATE", sequence(body, ECDSA_SHA256, signature)),
		key: String(privateKey.export({ type: "pkcs8", format: "pem" })),
	};
}

/** The common name of the certificate that a new connection to this port of loopback is shown. */
export const shownName = (port: number) =>
	new Promise<string>((resolve, reject) => {
		const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false }, () => {
			resolve(String(socket.getPeerCertificate().subject.CN));
			socket.end();
		});
		socket.on("error", reject);
	});
