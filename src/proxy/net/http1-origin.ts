/** Where connections to upstreams lead, and what they ask of their sockets. */

/** Where to connect to. */
export interface Origin {
	/** Without brackets. */
	readonly hostname: string;
	readonly port: number;
	/** Over TLS, with a certificate that is checked against the name and the authorities. */
	readonly tls?: OriginTls | undefined;
	/** Connects otherwise than over a socket of this host's. What comes of the connection is told to it. */
	readonly open?: ((listener: SocketListener) => Promise<ConnectionSocket>) | undefined;
}

/** What a socket tells its connection. */
export interface SocketListener {
	received(bytes: Buffer): void;
	/** It takes bytes again. */
	written(): void;
	/** The other side has closed it in good order; `lost` follows. */
	ended(): void;
	lost(error: Error | undefined): void;
	/** The time that `timeout` set has passed. */
	check(): void;
}

/** What a connection asks of a connected socket, as Bun's sockets do it. */
export interface ConnectionSocket {
	/** Returns how many bytes were taken; -1 where it is closed. Once it takes more `written` is called. */
	write(data: string | Uint8Array, offset?: number, length?: number): number;
	end(): unknown;
	terminate(): void;
	pause(): void;
	resume(): void;
	ref(): void;
	unref(): void;
	/** Calls `check` once so many seconds have passed. */
	timeout(seconds: number): void;
	setNoDelay(isOn: boolean): unknown;
	setKeepAlive(isOn: boolean, ms: number): unknown;
}

/** How to speak TLS with an origin. */
export interface OriginTls {
	/** PEM with all the authorities that are trusted, in the place of the public ones. */
	readonly ca?: Buffer | undefined;
	/** Whom the certificate must be for: a name, which is also the one asked for (SNI), or an address. */
	readonly serverName: string;
}
