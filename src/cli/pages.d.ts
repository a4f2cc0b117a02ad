/** Pages that are imported `with { type: "file" }`: the import is the file's path. */
declare module "*.md" {
	const path: string;
	export default path;
}
