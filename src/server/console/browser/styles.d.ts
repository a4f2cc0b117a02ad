/** Style sheets: they are bundled, and nothing is imported of them. */
declare module "*.css" {}
