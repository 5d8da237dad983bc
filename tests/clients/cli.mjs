// What the command lines in this folder have in common: strict options, JSON on stdout, complaints on stderr.
import { parseArgs } from "node:util";

/** Exit code of a command line that was called wrongly. */
const EXIT_USAGE = 64;

/**
 * Reads `--name value` options. Unknown options, missing required ones and surplus words end the process with the
 * usage text and exit code 64, so that a mistyped test never passes by doing nothing.
 *
 * @param {string} usage one line, shown on mistakes
 * @param {Record<string, {required?: boolean, default?: string, integer?: boolean}>} spec option name to what it takes
 * @returns {Record<string, string | number | undefined>} the values; `integer` options as numbers ≥ 0
 */
export function options(usage, spec) {
  const known = Object.fromEntries(Object.keys(spec).map((name) => [name, { type: "string" }]));
  try {
    const { values } = parseArgs({ options: known, strict: true, allowPositionals: false });
    for (const [name, { required, default: fallback, integer }] of Object.entries(spec)) {
      values[name] ??= fallback;
      if (required && values[name] === undefined) throw new Error(`--${name} is missing`);
      if (integer && values[name] !== undefined) values[name] = wholeNumber(name, values[name]);
    }
    return values;
  } catch (error) {
    process.stderr.write(`${error.message}\nusage: ${usage}\n`);
    process.exit(EXIT_USAGE);
  }
}

function wholeNumber(name, text) {
  const number = Number(text);
  if (text === "" || !Number.isSafeInteger(number) || number < 0) throw new Error(`--${name} takes a whole number, not ${text}`);
  return number;
}

/** Writes one JSON value as a line of its own. */
export function print(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
