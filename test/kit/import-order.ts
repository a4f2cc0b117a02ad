/** The rooms of src/ in the order in which they may be imported; CONTRIBUTING.md says the same. */

/** A room may import itself and what stands in an earlier row. The empty name is the files of src/ itself. */
export const ROWS: readonly (readonly string[])[] = [
	[""],
	["config", "memory"],
	["openai", "protocol"],
	// What is kept of agents is what they report.
	["store"],
	["providers", "dialects"],
	["telemetry"],
	["accounts"],
	["routing"],
	["proxy"],
	["http", "cache"],
	["api"],
	["server"],
	["agent"],
	["cli"],
];
