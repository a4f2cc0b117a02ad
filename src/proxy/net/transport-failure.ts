/** Why a connection gave no answer, or broke inside one, in words for a person. */
import { RouterError } from "../../errors.ts";
import type { Failure } from "../../providers/failure.ts";
import { ProxyTrouble } from "./environment-proxy.ts";
import { TunnelLost } from "./http1-exchange.ts";
import { MalformedAnswer } from "./http1-head.ts";
import { AnswerTooLarge } from "./read-body.ts";

/** The tunnel that an agent is called through broke, before its answer and inside it. */
const TUNNEL_LOST: Failure = {
	kind: "transport",
	isOurs: true,
	isOfTunnel: true,
	message: "can't be reached: its tunnel is closed",
};
const TUNNEL_TRUNCATED: Failure = {
	kind: "truncated",
	isOurs: true,
	isOfTunnel: true,
	message: "broke its answer off: its tunnel was closed",
};

/** Bun's codes (seen with 1.4.5, older names beside them) and what each means. */
const REASONS: Readonly<Record<string, string>> = {
	ECONNREFUSED: "nothing listens there (connection refused)",
	ConnectionRefused: "nothing listens there (connection refused)",
	ECONNRESET: "it closed the connection without an answer",
	ConnectionClosed: "it closed the connection without an answer",
	ENOTFOUND: "its host name is not known (DNS)",
	FailedToOpenSocket: "its host name is not known (DNS)",
	ETIMEDOUT: "no connection came about in time",
	EHOSTUNREACH: "there is no route to it",
	ENETUNREACH: "there is no route to it",
	EHOSTDOWN: "there is no route to it",
	ERR_HOST_ASLEEP: "its host sleeps, and did not wake up",
	ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another host",
	CERT_HAS_EXPIRED: "its certificate has expired",
};

/** OpenSSL's names for a chain that ends at no known authority. */
const UNTRUSTED = /^(?:DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_(?:VERIFY|GET)_.*)$/;

/**
 * The failure that `thrown` makes. `hasAnswer`: the answer's head had come. Nothing of a message that Bun made is passed on:
 * some name the address with its user and password.
 */
export function transportFailure(thrown: unknown, hasAnswer: boolean): Failure {
	// Of a body that is read while it is sent: its client has broken it off, or it is refused.
	if (thrown instanceof RouterError) return { kind: "caller", message: thrown.message, cause: thrown };
	if (thrown instanceof AnswerTooLarge) return { kind: "transport", isOurs: true, message: thrown.message };
	if (thrown instanceof MalformedAnswer) {
		return { kind: thrown.isInBody ? "truncated" : "transport", isOurs: true, message: thrown.message };
	}
	if (thrown instanceof ProxyTrouble) {
		return { kind: "transport", isOurs: true, message: `can't be reached: ${thrown.message}` };
	}
	if (thrown instanceof TunnelLost) return hasAnswer ? TUNNEL_TRUNCATED : TUNNEL_LOST;
	if (hasAnswer) return { kind: "truncated", isOurs: true, message: "broke its answer off" };
	const code = thrown instanceof Error ? (thrown as Error & { code?: unknown }).code : undefined;
	return {
		kind: "transport",
		isOurs: true,
		message: `can't be reached: ${reasonOf(typeof code === "string" ? code : "")}`,
	};
}

function reasonOf(code: string): string {
	if (UNTRUSTED.test(code)) return `its certificate is not trusted (${code}): put its authority into ca_file`;
	return Object.hasOwn(REASONS, code) ? REASONS[code]! : `no connection${code ? ` (${code})` : ""}`;
}
