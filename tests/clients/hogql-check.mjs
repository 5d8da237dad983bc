// Checks HogQL texts with PostHog's own grammar, compiled to WebAssembly. It judges syntax only, not tables or types.
//
// usage: node hogql-check.mjs < texts.jsonl
// stdin: one HogQL select a line, each written as a JSON string; `{placeholders}` may stay unfilled.
// stdout: a line {"line","query","type","message","start","end"} for each text that does not parse, and at last
//         {"checked","failed"}.
// exit: 0 all parse · 1 some do not, or none came · 64 called wrongly
import { createInterface } from "node:readline";
import hogqlParser from "@posthog/hogql-parser";
import { options, print } from "./cli.mjs";

options("hogql-check.mjs < texts.jsonl", {});
const parser = await hogqlParser();

let line = 0;
let checked = 0;
let failed = 0;
for await (const text of createInterface({ input: process.stdin })) {
  line += 1;
  if (text.trim() === "") continue;
  checked += 1;
  const complaint = complaintAbout(text);
  if (complaint) {
    failed += 1;
    print({ line, ...complaint });
  }
}
print({ checked, failed });
// A run that checked nothing has proved nothing.
process.exitCode = failed > 0 || checked === 0 ? 1 : 0;

/** What is wrong with one line of input, or `undefined` when it holds a well-formed select. */
function complaintAbout(text) {
  let query;
  try {
    query = JSON.parse(text);
  } catch (error) {
    return { query: text, type: "InputError", message: `not a JSON string: ${error.message}` };
  }
  if (typeof query !== "string") return { query, type: "InputError", message: "not a JSON string" };
  const parsed = JSON.parse(parser.parseSelect(query));
  if (!parsed.error) return undefined;
  const { type, message, start, end } = parsed;
  return { query, type, message, start, end };
}
