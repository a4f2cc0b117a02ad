/** How full something is. */
interface BarProps {
	/** What it is of, for who can't see it. */
	readonly label: string;
	/** 0 to 1. */
	readonly share: number;
	/** Stands beside it: `18 of 24 GiB`. */
	readonly text: string;
	/** Above this share it is nearly full, and another colour; 0.95 unless said. */
	readonly high?: number;
}

/** The bar. */
export const Bar = ({ label, share, text, high = 0.95 }: BarProps) => (
	<span class="bar-with-text">
		<meter min={0} max={1} high={high} optimum={0} value={share} aria-label={label}>
			{text}
		</meter>
		<span>{text}</span>
	</span>
);
