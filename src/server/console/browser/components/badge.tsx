/** A word with a colour: a state. The word alone says it, too. */
interface BadgeProps {
	readonly text: string;
	readonly tone?: "plain" | "good" | "warn" | "bad";
}

/** The badge. */
export const Badge = ({ text, tone = "plain" }: BadgeProps) => <span class={`badge ${tone}`}>{text}</span>;
