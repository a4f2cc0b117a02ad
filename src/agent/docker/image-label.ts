/** An image as people may see it: a registry's address may hold a user's name. */
export function imageLabel(image: string): string {
	return image.slice(image.lastIndexOf("/") + 1);
}
