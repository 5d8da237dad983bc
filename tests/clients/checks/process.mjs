// Processes that a check starts and that never outlive it.
import { execFile, spawn } from "node:child_process";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const READY_WITHIN_MS = 60_000;
const STOPS_WITHIN_MS = 10_000;

/** The path in the environment variable `name`, which tests/run sets. */
export function binary(name) {
  const path = process.env[name];
  if (!path) throw new Error(`${name} does not name a binary (tests/run sets it)`);
  return path;
}

/**
 * Starts a program.
 *
 * @returns {{firstLine: Promise<string>, within: Function, stop: Function}} `firstLine` of its
 *   stdout; `within(promise)` gives what the promise gives, or fails when the program ends before or takes too long; `stop(signal)`
 *   ends it, and fails unless it ends in good order
 */
export function start(path, args, env = {}) {
  const child = spawn(path, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
  let complaints = "";
  child.stderr.on("data", (chunk) => {
    // The tail tells why it failed; a chatty log must not fill the memory.
    complaints = (complaints + chunk).slice(-4_000);
  });
  const exited = new Promise((resolve) => {
    child.once("exit", (code, signal) => resolve(signal ?? code));
    child.once("error", (error) => resolve(error.message));
  });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);

  const firstLine = new Promise((resolve) => createInterface({ input: child.stdout }).once("line", resolve));
  const within = (ready) => {
    const failed = exited.then((how) => Promise.reject(new Error(`${path} ended with ${how} before it was ready: ${complaints}`)));
    const late = sleep(READY_WITHIN_MS, undefined, { ref: false }).then(() =>
      Promise.reject(new Error(`${path} was not ready in ${READY_WITHIN_MS} ms: ${complaints}`)),
    );
    failed.catch(() => {});
    late.catch(() => {});
    return Promise.race([ready, failed, late]);
  };
  const stop = async (signal = "SIGTERM") => {
    child.kill(signal);
    const late = setTimeout(kill, STOPS_WITHIN_MS);
    const how = await exited;
    clearTimeout(late);
    process.off("exit", kill);
    if (how !== 0) throw new Error(`${path} did not stop gracefully but with ${how}: ${complaints}`);
  };
  return { firstLine, within, stop };
}

/** Runs a program to its end and gives the first line that it printed. */
export async function run(path, args, env) {
  const { stdout } = await promisify(execFile)(path, args, { env: { ...process.env, ...env }, timeout: READY_WITHIN_MS });
  return stdout.split("\n", 1)[0];
}

/** A port that was free a moment ago. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Asks GraphQL and gives `data`; throws its errors. */
export async function query(url, document, variables, token) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify({ query: document, variables }),
  });
  const { data, errors } = await answer.json();
  if (errors) throw new Error(`GraphQL answers errors: ${JSON.stringify(errors)}`);
  return data;
}
