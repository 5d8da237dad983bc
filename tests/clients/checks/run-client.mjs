// Runs one of the client command lines of this folder as a process of its own.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/**
 * Starts `script` (a file name of this folder) under Node or, for `.py`, under the interpreter that TEST_PYTHON names.
 *
 * @param {string} script file name
 * @param {string[]} args command-line arguments
 * @param {{input?: string, onLine?: (value: object) => void}} [options] `input` goes to stdin; `onLine` is called with each
 *   line of stdout, parsed, as it comes
 * @returns {Promise<{code: number, lines: object[], complaints: string}>} once it has ended: its exit code, stdout, stderr
 */
export async function runClient(script, args, { input = "", onLine = () => {} } = {}) {
  const interpreter = script.endsWith(".py") ? process.env.TEST_PYTHON : process.execPath;
  if (!interpreter) throw new Error("TEST_PYTHON does not name a Python with posthog installed (tests/run sets it)");
  const child = spawn(interpreter, [fileURLToPath(new URL(`../${script}`, import.meta.url)), ...args]);
  const ended = new Promise((resolve, reject) => {
    child.once("close", resolve);
    child.once("error", reject);
  });
  child.stdin.end(input);
  const lines = [];
  createInterface({ input: child.stdout }).on("line", (line) => {
    const value = JSON.parse(line);
    lines.push(value);
    onLine(value);
  });
  let complaints = "";
  child.stderr.on("data", (chunk) => {
    complaints += chunk;
  });
  return { code: await ended, lines, complaints };
}
