// Sends many events with an unmodified posthog-node and says which of them were acknowledged.
//
// usage: node posthog-node-bulk.mjs --host URL --token KEY --count N --distinct-ids M [--batch B] [--event NAME]
//        N events named NAME (default "bulk"), the i-th (from 0) by distinct id "bulk-<i mod M>" with properties {"n": i},
//        in requests of B events (default 50).
// stdout: a line {"acknowledged":[uuid, …]} for each request as it is acknowledged, and at last {"sent","acknowledged","ms"}
// exit: 0 all acknowledged · 1 at least one request failed for good · 64 called wrongly
import { PostHog } from "posthog-node";
import { options, print } from "./cli.mjs";

const USAGE = "posthog-node-bulk.mjs --host URL --token KEY --count N --distinct-ids M [--batch B] [--event NAME]";
const {
  host,
  token,
  count,
  "distinct-ids": distinctIds,
  batch,
  event,
} = options(USAGE, {
  host: { required: true },
  token: { required: true },
  count: { required: true, integer: true },
  "distinct-ids": { required: true, integer: true },
  batch: { default: "50", integer: true },
  event: { default: "bulk" },
});
if (distinctIds === 0 || batch === 0) {
  process.stderr.write(`--distinct-ids and --batch must be at least 1\nusage: ${USAGE}\n`);
  process.exit(64);
}

const client = new PostHog(token, { host, flushAt: batch, maxBatchSize: batch, flushInterval: 0, fetchRetryCount: 3, fetchRetryDelay: 200 });
let acknowledged = 0;
let complaint;
client.on("flush", (messages) => {
  if (messages.length === 0) return;
  acknowledged += messages.length;
  print({ acknowledged: messages.map(({ uuid }) => uuid) });
});
client.on("error", (error) => {
  complaint ??= error;
});

const start = performance.now();
for (let n = 0; n < count; n += 1) {
  client.capture({ distinctId: `bulk-${n % distinctIds}`, event, properties: { n } });
  // The client sends by itself at every full batch; waiting here keeps its queue, which drops the oldest when full, short.
  if ((n + 1) % batch === 0) await client.flush().catch(() => {});
}
await client.flush().catch(() => {});
const ms = Math.round(performance.now() - start);

print({ sent: count, acknowledged, ms });
if (acknowledged < count) {
  process.stderr.write(`${count - acknowledged} of ${count} events were not acknowledged: ${complaint?.message ?? "no error was reported"}\n`);
  process.exitCode = 1;
}
await client.shutdown(1_000);
