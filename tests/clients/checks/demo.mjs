// `growthos demo` as a process of its own, for checks that meet the product as a new user does: from outside.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const READY_WITHIN_MS = 60_000;
const STOPS_WITHIN_MS = 10_000;

/**
 * Starts the demo on free ports and an empty data folder.
 *
 * @returns {Promise<{ready: Record<string, string>, query: Function, stop: Function}>} `ready` is the line that
 *   `demo --json` prints; `query(document, variables, token)` answers a GraphQL request's `data`, or throws its errors;
 *   `stop()` ends the process and removes its data
 */
export async function startDemo() {
  const binary = process.env.TEST_GROWTHOS;
  if (!binary) throw new Error("TEST_GROWTHOS does not name the growthos binary (tests/run sets it)");
  const scratch = await mkdtemp(join(tmpdir(), "growthos-demo-"));
  const child = spawn(binary, ["demo", "--json", "--port", "0", "--data", join(scratch, "data")], { stdio: ["ignore", "pipe", "pipe"] });
  let complaints = "";
  child.stderr.on("data", (chunk) => {
    // The tail tells why it failed; a chatty log must not fill the memory.
    complaints = (complaints + chunk).slice(-4_000);
  });
  const exited = new Promise((resolve) => {
    child.once("exit", (code, signal) => resolve(signal ?? code));
    child.once("error", (error) => resolve(error.message));
  });
  // However the checks end, the demo does not outlive them.
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);

  const stop = async () => {
    child.kill("SIGTERM");
    const late = setTimeout(kill, STOPS_WITHIN_MS);
    const how = await exited;
    clearTimeout(late);
    process.off("exit", kill);
    await rm(scratch, { recursive: true, force: true });
    if (how !== 0) throw new Error(`the demo did not stop gracefully but with ${how}: ${complaints}`);
  };

  const line = new Promise((resolve) => createInterface({ input: child.stdout }).once("line", resolve));
  const failed = exited.then((how) => Promise.reject(new Error(`the demo ended with ${how} before it was ready: ${complaints}`)));
  const late = sleep(READY_WITHIN_MS, undefined, { ref: false }).then(() => Promise.reject(new Error(`the demo was not ready in ${READY_WITHIN_MS} ms: ${complaints}`)));
  failed.catch(() => {});
  late.catch(() => {});
  try {
    const ready = JSON.parse(await Promise.race([line, failed, late]));
    return { ready, query: (document, variables, token) => query(ready.graphqlUrl, document, variables, token), stop };
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
}

async function query(url, document, variables, token) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify({ query: document, variables }),
  });
  const { data, errors } = await answer.json();
  if (errors) throw new Error(`GraphQL answers errors: ${JSON.stringify(errors)}`);
  return data;
}
