// The story of one visitor, told by an unmodified posthog-node: an anonymous visitor comes by a campaign, signs up
// and is then known by name.
//
// usage: node posthog-node-feed.mjs --host URL --token KEY --anonymous ID --user ID --email E
// stdout: {"client","events":[{"event","uuid","distinctId","timestamp"}]}: what the receiver acknowledged, in order
// exit: 0 all acknowledged · 1 the receiver refused or could not be reached · 64 called wrongly
import { PostHog } from "posthog-node";
import { options, print } from "./cli.mjs";

const { host, token, anonymous, user, email } = options(
  "posthog-node-feed.mjs --host URL --token KEY --anonymous ID --user ID --email E",
  { host: { required: true }, token: { required: true }, anonymous: { required: true }, user: { required: true }, email: { required: true } },
);

// One batch at the end: the test decides when things arrive. A refusal is reported at once instead of after retries.
const client = new PostHog(token, { host, flushAt: 100, flushInterval: 0, fetchRetryCount: 0 });
const acknowledged = [];
client.on("flush", (messages) => acknowledged.push(...messages));

client.capture({
  distinctId: anonymous,
  event: "$pageview",
  properties: {
    $current_url: "https://shop.example/?utm_source=newsletter&utm_medium=email&utm_campaign=spring",
    $referrer: "https://news.example/spring",
    $referring_domain: "news.example",
    utm_source: "newsletter",
    utm_medium: "email",
    utm_campaign: "spring",
  },
});
client.capture({ distinctId: anonymous, event: "signup", properties: { plan: "pro" } });
client.identify({ distinctId: user, properties: { $set: { email }, $anon_distinct_id: anonymous } });

try {
  await client.flush();
} catch (error) {
  process.stderr.write(`${error.name}: ${error.message}${error.status ? ` (status ${error.status})` : ""}\n`);
  process.exitCode = 1;
}
print({
  client: "posthog-node",
  events: acknowledged.map(({ event, uuid, distinct_id: distinctId, timestamp }) => ({ event, uuid, distinctId, timestamp })),
});
await client.shutdown(1_000);
