// build.js WIT OUT: makes a component of hello.js. Everything that the engine could ask WASI for is left out, so that the
// component imports nothing but what the gateway provides.
import { readFile, writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";

const [wit, out] = process.argv.slice(2);
const { component } = await componentize({
  sourcePath: new URL("hello.js", import.meta.url).pathname,
  witWorld: await readFile(wit, "utf8"),
  worldName: "plugin",
  disableFeatures: ["stdio", "random", "clocks", "http", "fetch-event"],
});
await writeFile(out, component);
