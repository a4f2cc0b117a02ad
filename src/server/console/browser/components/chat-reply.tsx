/** What came of a call in the playground: the text as it comes, and what it took. */
import type { ChatReply } from "../chat-call.ts";
import { durationText, usdText, wholeText } from "../format.ts";

/** What came in less says nothing of how fast a model writes, ms. */
const LEAST_MS = 50;

interface ReplyCardProps {
	readonly model: string;
	readonly reply: ChatReply;
	readonly isRunning: boolean;
	/** `left`, `right`: two may be of one model. */
	readonly side: string;
}

/** The card. */
export function ReplyCard({ model, reply, isRunning, side }: ReplyCardProps) {
	const { text, reasoning, tools, problem } = reply;
	return (
		<section class="card reply" aria-labelledby={`reply-${side}`} aria-busy={isRunning}>
			<h2 id={`reply-${side}`}>
				{model} <span class="unseen">{side}</span>
			</h2>
			<ReplyFigures reply={reply} isRunning={isRunning} />
			{reasoning !== "" && (
				<details>
					<summary>What it thought</summary>
					<p class="said">{reasoning}</p>
				</details>
			)}
			{text !== "" && <p class="said">{text}</p>}
			{tools.map(({ name, arguments: args }, at) => (
				<p key={at} class="said">
					calls <code>{`${name}(${args})`}</code>
				</p>
			))}
			{problem !== undefined && (
				<p class="problem" role="alert">
					{problem}
				</p>
			)}
		</section>
	);
}

function ReplyFigures({ reply, isRunning }: Pick<ReplyCardProps, "reply" | "isRunning">) {
	const { firstMs, endMs, tokensIn, tokensOut, costUsd, provider, answeredBy, attempts, finish, id } = reply;
	const by = [provider, answeredBy].filter(Boolean).join(" / ");
	const speed =
		endMs !== undefined && firstMs !== undefined && tokensOut !== undefined && endMs - firstMs > LEAST_MS
			? `${wholeText((1000 * tokensOut) / (endMs - firstMs))} tokens/s`
			: "";
	const parts = [
		by && `by ${by}`,
		attempts !== undefined && attempts > 1 && `${attempts} attempts`,
		firstMs !== undefined && `first token after ${durationText(Math.round(firstMs))}`,
		endMs !== undefined && `all after ${durationText(Math.round(endMs))}`,
		tokensIn !== undefined &&
			tokensOut !== undefined &&
			`${wholeText(tokensIn)} tokens in, ${wholeText(tokensOut)} out`,
		speed,
		costUsd !== undefined && usdText(costUsd),
		finish !== undefined && finish !== "stop" && `ended by ${finish}`,
		id,
	].filter((part) => typeof part === "string" && part !== "");
	return <p class="note">{parts.join(" · ") || (isRunning ? "Waiting for the first token…" : "")}</p>;
}
