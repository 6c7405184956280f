// build.js WIT OUT: makes a component of hello.js. WIT is a folder with the packages of WASI 0.2; the engine that is put
// into the component speaks version 0.2.10 of them, whichever they are.
import { readFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { componentize } from "@bytecodealliance/componentize-js";

const VERSION = "0.2.10";
const [wit, out] = process.argv.slice(2);

// One text: a package in braces for each folder.
async function packages() {
  const texts = [`package app:hello; world hello { include wasi:http/proxy@${VERSION}; }`];
  for (const name of await readdir(join(wit, "deps"))) {
    const path = join(wit, "deps", name);
    const files = (await stat(path)).isDirectory() ? (await readdir(path)).map((file) => join(path, file)) : [path];
    const parts = await Promise.all(files.map((file) => readFile(file, "utf8")));
    const text = parts.join("\n");
    const [, title, version] = /^package ([^;@]+)@([^;]+);/m.exec(text);
    const inner = text.replace(/^package [^;]+;/gm, "").replaceAll(version, VERSION);
    texts.push(`package ${title}@${VERSION} {\n${inner}\n}`);
  }
  return texts.join("\n");
}

const sourcePath = new URL("hello.js", import.meta.url).pathname;
const { component } = await componentize({ sourcePath, witWorld: await packages(), worldName: "hello" });
await writeFile(out, component);
