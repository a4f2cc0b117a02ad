/** How full something is. */
interface BarProps {
	/** What it is of, for who can't see it. */
	readonly label: string;
	/** 0 to 1. */
	readonly share: number;
	/** Stands beside it: `18 of 24 GiB`. */
	readonly text: string;
}

/** Above this it is nearly full, and another colour. */
const HIGH = 0.95;

/** The bar. */
export const Bar = ({ label, share, text }: BarProps) => (
	<span class="bar-with-text">
		<meter min={0} max={1} high={HIGH} optimum={0} value={share} aria-label={label}>
			{text}
		</meter>
		<span>{text}</span>
	</span>
);
