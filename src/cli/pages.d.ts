/** Pages that are imported `with { type: "text" }`: the import is the file's text. */
declare module "*.md" {
	const text: string;
	export default text;
}
