/** `router man`: the manual page, made of the table of commands and flags. Pure text, in man(7)'s language. */
import { VERSION } from "../version.ts";
import { commandFlags, commandWords, FLAG_NAMES, FLAG_TEXTS, type FlagName } from "./command-texts.ts";

/** A line that begins with none of roff's control characters; dashes are those of a keyboard. */
function roff(text: string): string {
	const plain = text.replaceAll("\\", "\\e").replaceAll("-", "\\-");
	return /^[.']/.test(plain) ? `\\&${plain}` : plain;
}

/** In double quotes behind a macro. */
const quoted = (text: string): string => `"${roff(text).replaceAll('"', '""')}"`;

function flag(name: FlagName): string {
	const { short, value, text } = FLAG_TEXTS[name];
	const dashes = `\\fB\\-\\-${roff(name)}\\fR${value === undefined ? "" : ` \\fI${roff(value)}\\fR`}`;
	return `.TP\n${short ? `\\fB\\-${short}\\fR, ` : ""}${dashes}\n${roff(text)}`;
}

/** What stands behind commands and flags. */
const BEHIND = `.SH EXIT STATUS
.TP
.B 0
It was done; of a start, the router has ended.
.TP
.B 1
It can't run, or start.
.TP
.B 2
The command line is wrong.
.SH ENVIRONMENT
Each setting's variable stands in \\fBrouter docs settings\\fR,
each vendor's in \\fBrouter docs upstreams\\fR.
.SH FILES
.TP
.I router.yaml
The configuration, in the directory that the router is started in.
.TP
.I data
Its database, by default.
.TP
.I logs
Its log, by default.
`;

/** The page, with a line end. */
export function manPage(): string {
	const [, ...commands] = commandWords();
	const command = ({ name, text, words }: (typeof commands)[number]) => {
		const own = commandFlags(name).filter((each) => !commandFlags("").includes(each));
		const flags = own.length === 0 ? [] : [`Flags: ${own.map((each) => `\\fB\\-\\-${roff(each)}\\fR`).join(",\n")}.`];
		return [
			`.TP\n\\fBrouter ${roff(name)}\\fR`,
			[roff(text), ...flags].join(".\n.br\n"),
			...(name === "docs" ? [] : words).map(
				(word) => `.TP\n\\fBrouter ${roff(name)} ${roff(word.name)}\\fR\n${roff(word.text)}`,
			),
		].join("\n");
	};
	return `.\\" Written by \`router man\`
.TH ROUTER 1 "" ${quoted(`router ${VERSION}`)} "User Commands"
.SH NAME
router \\- one address for every model you have, speaking the OpenAI API
.SH SYNOPSIS
.B router
[\\fIFLAG\\fR ...]
.br
.B router
\\fICOMMAND\\fR [\\fIWORD\\fR ...] [\\fIFLAG\\fR ...]
.br
.B router \\-\\-agent
[\\fIFLAG\\fR ...] [\\fB\\-\\-\\fR \\fIARGUMENT\\fR ...]
.SH DESCRIPTION
Without a command
.B router
starts: the router on port 8000, with \\fB\\-\\-agent\\fR
the agent on a GPU host on port 5000, with \\fB\\-\\-standalone\\fR
both in one process.
What stands behind \\fB\\-\\-\\fR are further arguments of vLLM.
.PP
A flag wins over the environment, that over the file, that over the default.
\\fBrouter check\\fR says what would run and where each setting comes from,
\\fBrouter docs\\fR prints the documentation.
.SH COMMANDS
${commands.map(command).join("\n")}
.SH OPTIONS
${FLAG_NAMES.map(flag).join("\n")}
${BEHIND}`;
}
