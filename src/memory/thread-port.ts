/** How threads of the process wake each other, where what they share is not enough: memory tells nobody that it has changed. */

/** Carries messages of one kind from thread to thread. */
export interface ThreadPort<Message> {
	/** Returns at once. To a thread that has ended it does nothing. */
	post(thread: number, message: Message): void;
	/** Hears what is posted to this thread. Set by whoever wants to. */
	onMessage: ((message: Message) => void) | undefined;
}

/** Makes one whose messages go out by `post`. What comes in is to be given to its `onMessage`. */
export const threadPort = <Message>(post: ThreadPort<Message>["post"]): ThreadPort<Message> => ({
	post,
	onMessage: undefined,
});
