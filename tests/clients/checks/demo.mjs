// `growthos demo` as a process of its own, for checks that meet the product as a new user does: from outside.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { binary, query, start } from "./process.mjs";

/**
 * Starts the demo on free ports and an empty data folder.
 *
 * @returns {Promise<{ready: Record<string, string>, query: Function, stop: Function}>} `ready` is the line that
 *   `demo --json` prints; `query(document, variables, token)` answers a GraphQL request's `data`, or throws its errors;
 *   `stop()` ends the process and removes its data
 */
export async function startDemo() {
  const scratch = await mkdtemp(join(tmpdir(), "growthos-demo-"));
  const demo = start(binary("TEST_GROWTHOS"), ["demo", "--json", "--port", "0", "--data", join(scratch, "data")]);
  const stop = async () => {
    try {
      await demo.stop();
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  };
  try {
    const ready = JSON.parse(await demo.within(demo.firstLine));
    return { ready, query: (document, variables, token) => query(ready.graphqlUrl, document, variables, token), stop };
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
}
