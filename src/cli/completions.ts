/** `router completions bash|zsh|fish`: what a shell offers behind `router`, made of the table of flags and words. Pure text. */
import {
	type CommandWords,
	commandFlags,
	commandWords,
	FLAG_NAMES,
	FLAG_TEXTS,
	type FlagName,
	flagText,
} from "./command-texts.ts";
import type { ShellName } from "./flag-table.ts";

/** The script of a shell, with a line end. */
export function completions(shell: ShellName): string {
	return SCRIPTS[shell]();
}

const SCRIPTS: Record<ShellName, () => string> = { bash, zsh, fish };

/** As it is typed. */
const dashed = (name: FlagName): string[] => [
	`--${name}`,
	...(FLAG_TEXTS[name].short ? [`-${FLAG_TEXTS[name].short}`] : []),
];

/** Flags whose next word is their value. */
const VALUED = FLAG_NAMES.filter((name) => FLAG_TEXTS[name].value !== undefined);

function bash(): string {
	const flags = commandWords().map(
		({ name, words }) =>
			`\t${name || '""'})\n\t\tflags="${commandFlags(name).flatMap(dashed).join(" ")}"\n\t\twords="${words.map((word) => word.name).join(" ")}"\n\t\t;;`,
	);
	const values = VALUED.map((name) => {
		const { values: some } = FLAG_TEXTS[name];
		// Of the others files are offered (complete -o default).
		const offered =
			some === undefined || some === "file" ? "" : ` COMPREPLY=($(compgen -W "${some.join(" ")}" -- "$cur"));`;
		return `\t--${name})${offered} return ;;`;
	});
	return `# bash completion for router: written by \`router completions bash\`
_router() {
	local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} command="" flags words i
	COMPREPLY=()
	# --flag=value comes as three words.
	if [[ $cur == "=" ]]; then cur=""; elif [[ $prev == "=" ]]; then prev=\${COMP_WORDS[COMP_CWORD - 2]}; fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		case \${COMP_WORDS[i]} in
		--) return ;;
		${VALUED.map((name) => `--${name}`).join(" | ")})
			((i++))
			if [[ \${COMP_WORDS[i]} == "=" ]]; then ((i++)); fi
			;;
		-*) ;;
		*) if [[ -z $command ]]; then command=\${COMP_WORDS[i]}; fi ;;
		esac
	done
	case $prev in
${values.join("\n")}
	esac
	case $command in
${flags.join("\n")}
	*) return ;;
	esac
	if [[ $cur == -* ]]; then words=$flags; fi
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _router router
`;
}

/** Inside single quotes of zsh's `_arguments`, where brackets and colons mean something. */
const zshText = (text: string): string => text.replace(/[[\]:\\]/g, "\\$&").replaceAll("'", "'\\''");

function zshFlag(name: FlagName, command: string): string {
	const { short, text, value, values } = flagText(name, command);
	const about = `[${zshText(text)}]`;
	const action = values === "file" ? "_files" : values ? `(${values.join(" ")})` : "";
	const takes = value === undefined ? "" : `:${zshText(value)}:${action}`;
	if (short) return `'(-${short} --${name})'{-${short},--${name}}'${about}'`;
	return `'--${name}${value === undefined ? "" : "="}${about}${takes}'`;
}

function zsh(): string {
	const described = (words: CommandWords["words"]) =>
		words.map(({ name, text }) => `'${name}:${zshText(text)}'`).join(" ");
	const [start, ...commands] = commandWords();
	const cases = commands.map(({ name, words }) => {
		const specs = commandFlags(name).map((flag) => zshFlag(flag, name));
		const first =
			words.length > 0
				? [
						`'1:word:((${words.map((word) => `${word.name}\\:"${zshText(word.text).replaceAll('"', "")}"`).join(" ")}))'`,
					]
				: [];
		return `\t${name})\n\t\t_arguments -s ${[...specs, ...first, "'*:file:_files'"].join(" \\\n\t\t\t")}\n\t\t;;`;
	});
	return `#compdef router
# zsh completion for router: written by \`router completions zsh\`
_router() {
	local context state line
	typeset -A opt_args
	_arguments -s -C ${[...commandFlags("").map((flag) => zshFlag(flag, "")), "'1:command:->command'", "'*::argument:->argument'"].join(" \\\n\t\t")}
	case $state in
	command)
		local -a commands=(${described(start!.words)})
		_describe command commands
		;;
	argument)
		case $words[1] in
${cases.join("\n")}
		esac
		;;
	esac
}
if [[ $funcstack[1] == _router ]]; then _router "$@"; else compdef _router router; fi
`;
}

/** In single quotes. */
const fishText = (text: string): string => `'${text.replace(/[\\']/g, "\\$&")}'`;

function fishFlag(name: FlagName, command: string): string {
	const { short, text, value, values } = flagText(name, command);
	const takes =
		value === undefined ? "" : values === "file" ? " -r -F" : ` -x${values ? ` -a ${fishText(values.join(" "))}` : ""}`;
	return `complete -c router -n '__router_in ${command}'${short ? ` -s ${short}` : ""} -l ${name}${takes} -d ${fishText(text)}`;
}

function fish(): string {
	const lines = commandWords().flatMap(({ name, words }) => [
		...words.map(
			({ name: word, text }) => `complete -c router -f -n '__router_behind ${name}' -a ${word} -d ${fishText(text)}`,
		),
		...commandFlags(name).map((flag) => fishFlag(flag, name)),
	]);
	return `# fish completion for router: written by \`router completions fish\`
# The words so far that are neither flags nor values of flags.
function __router_words
	set -l words (commandline -opc)
	set -l is_value no
	for word in $words[2..]
		if test $is_value = yes
			set is_value no
			continue
		end
		switch $word
			case ${VALUED.map((name) => `--${name}`).join(" ")}
				set is_value yes
			case --
				# Nothing is a flag or a command behind it.
				printf '%s\\n' --
				return
			case '-*'
			case '*'
				printf '%s\\n' $word
		end
	end
end
# Whether the command is this one; none: the start.
function __router_in
	set -l words (__router_words)
	test "$words[1]" = "$argv[1]"
end
# Whether the next word is the first behind this command.
function __router_behind
	set -l words (__router_words)
	test "$words" = "$argv"
end
${lines.join("\n")}
`;
}
