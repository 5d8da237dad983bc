// schemathesis sends the demo some two thousand documents that it makes up from the schema: none may break the server, and no answer
// may be other than the schema says.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startDemo } from "./demo.mjs";
import { binary } from "./process.mjs";

const EXAMPLES = 2_000;
/** The same documents in every run. */
const SEED = "20";
/** tests/run gives a check three minutes. */
const WITHIN_MS = 170_000;

const HOOKS = fileURLToPath(new URL("../schemathesis_hooks.py", import.meta.url));
const ROOTS = "{ __schema { queryType { fields { name } } mutationType { fields { name } } } }";

let demo, scratch;
before(async () => {
  demo = await startDemo();
  scratch = await mkdtemp(join(tmpdir(), "growthos-fuzz-"));
});
after(async () => {
  await demo?.stop();
  await rm(scratch, { recursive: true, force: true });
});

test("two thousand made-up documents find no server error and no answer that the schema does not allow", async () => {
  const { graphqlUrl, secretKey } = demo.ready;
  const { __schema: roots } = await demo.query(ROOTS, {}, secretKey);
  const fields = roots.queryType.fields.length + roots.mutationType.fields.length;
  const report = join(scratch, "report.json");
  const run = promisify(execFile)(
    join(dirname(binary("TEST_PYTHON")), "schemathesis"),
    [
      ...["run", graphqlUrl, "--header", `Authorization: Bearer ${secretKey}`],
      // Documents that are valid: the engine judges an argument's range only where its field is reached, so that one of a wrong
      // range may be answered where it is not. What valid documents ask for may be refused all the same, by a limit or a rule.
      ...["--phases", "fuzzing", "--mode", "positive", "--exclude-checks", "positive_data_acceptance"],
      // So many for each field.
      ...["--max-examples", String(Math.ceil(EXAMPLES / fields)), "--seed", SEED, "--continue-on-failure", "--no-shrink"],
      ...["--report", "json", "--report-json-path", report, "--no-color", "--workers", "2"],
    ],
    { cwd: scratch, timeout: WITHIN_MS, env: { ...process.env, SCHEMATHESIS_HOOKS: HOOKS } },
  );
  const { stdout, stderr } = await run.catch((error) => error);
  const { complete, operations, test_cases: cases, failures, errors } = JSON.parse(await readFile(report, "utf8").catch(() => assert.fail(stdout + stderr)));
  assert.deepEqual({ complete, failures, errors }, { complete: true, failures: [], errors: [] }, stdout);
  assert.deepEqual([operations.tested, cases.with_failures, cases.errored], [fields, 0, 0], stdout);
  assert.ok(cases.generated >= EXAMPLES, `only ${cases.generated} documents were sent`);
});
