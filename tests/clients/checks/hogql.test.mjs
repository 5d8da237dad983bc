// That PostHog's own parser really judges: the texts that the product emits are piped through the same command line.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { runClient } from "./run-client.mjs";

const lines = (...texts) => texts.map((text) => `${JSON.stringify(text)}\n`).join("");

test("PostHog's parser accepts a page query with placeholders", async () => {
  const query =
    "SELECT arrayElement({contacts}, indexOf({ids}, distinct_id)) AS contact, countIf(timestamp > now() - toIntervalSecond({w0})) AS c0 " +
    "FROM events WHERE distinct_id IN {ids} GROUP BY contact LIMIT 50000";
  const { code, lines: printed } = await runClient("hogql-check.mjs", [], { input: lines(query) });
  assert.deepEqual({ code, printed }, { code: 0, printed: [{ checked: 1, failed: 0 }] });
});

test("PostHog's parser refuses a second statement and says where", async () => {
  const { code, lines: printed } = await runClient("hogql-check.mjs", [], { input: lines("SELECT 1", "SELECT 1; DROP TABLE x") });
  assert.equal(code, 1);
  assert.equal(printed[0].line, 2);
  assert.equal(printed[0].start.offset, 10);
  assert.deepEqual(printed[1], { checked: 2, failed: 1 });
});

test("a check of no text at all fails", async () => {
  const { code, lines: printed } = await runClient("hogql-check.mjs", [], {});
  assert.deepEqual({ code, printed }, { code: 1, printed: [{ checked: 0, failed: 0 }] });
});

test("PostHog's parser accepts every text that the product can emit", async () => {
  const input = execFileSync(process.env.TEST_GROWTHOS, ["hogql-corpus"], { encoding: "utf8" });
  const texts = input.trim().split("\n").length;
  assert.ok(texts >= 10, `the product told only ${texts} texts`);
  const { code, lines: printed } = await runClient("hogql-check.mjs", [], { input });
  assert.deepEqual({ code, printed }, { code: 0, printed: [{ checked: texts, failed: 0 }] });
});
