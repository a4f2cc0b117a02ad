/** A file of swagger-ui-dist that is imported `with { type: "file" }`: the import is the file's path. */
declare module "swagger-ui-dist/favicon-32x32.png" {
	const path: string;
	export default path;
}
