// schema.graphql before GraphQL's own linter, as Relay's and every other client's authors run it.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { ESLint } from "eslint";
import { buildSchema } from "graphql";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const CONFIG = fileURLToPath(new URL("../eslint.config.mjs", import.meta.url));

// The linter reads the schema that its configuration names from the folder it runs in.
process.chdir(ROOT);
const linter = new ESLint({ cwd: ROOT, overrideConfigFile: CONFIG });

// Pages of what has no id of its own yet: they are owed one. A list that is added must have Nodes.
const OWED = ["ConsentEdge", "ImportRejectEdge", "SegmentSizeEdge", "TimelineItemEdge", "TouchEdge", "TraitObservationEdge"];

test("the linter finds nothing in schema.graphql but what is owed", async () => {
  const [{ messages }] = await linter.lintFiles(["schema.graphql"]);
  const lines = (await readFile(`${ROOT}/schema.graphql`, "utf8")).split("\n");
  const typeAt = (line) => lines.slice(0, line).findLast((text) => text.startsWith("type ")).split(" ")[1];
  const complaints = messages.map(({ line, ruleId, message }) => `${typeAt(line)}: ${ruleId}: ${message}`);
  const owed = OWED.map((type) => `${type}: @graphql-eslint/relay-edge-types: Edge type's field \`node\` must implement \`Node\` interface.`);
  assert.deepEqual(complaints, owed);
});

test("the rules are on: each finds the mistake that it is for", async () => {
  const broken = `
    type Query { widgets(first: Int): WidgetConnection! }
    "A list." type WidgetConnection { "Items." edges: [WidgetEdge!]! "Place." pageInfo: PageInfo! }
    "An item." type WidgetEdge { "Place." cursor: String! "Item." node: Widget! }
    "A thing." type Widget { "Its name." name: String! }
    "Where." type PageInfo { "Any?" hasPreviousPage: Boolean! "Any?" hasNextPage: Boolean! "At." startCursor: String "At." endCursor: String }
  `;
  const [{ messages }] = await linter.lintText(broken, { filePath: "schema.graphql" });
  const rules = new Set(messages.map(({ ruleId }) => ruleId.replace("@graphql-eslint/", "")));
  for (const rule of ["relay-arguments", "relay-edge-types", "require-description", "strict-id-in-types"]) assert.ok(rules.has(rule), `${rule} is silent: ${[...rules]}`);
});

test("the specification's own validation accepts it, and no directive of the language is exported again", async () => {
  const text = await readFile(`${ROOT}/schema.graphql`, "utf8");
  const schema = buildSchema(text);
  const own = schema.getDirectives().map(({ name }) => name);
  assert.ok(own.includes("idempotent"));
  assert.equal(text.match(/^directive @/gm).length, 1);
});
