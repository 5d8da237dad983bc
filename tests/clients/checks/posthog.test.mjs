// PostHog's libraries, unmodified, with `host` set to GrowthOS and a publishable key as their token: the visitor that each
// tells of becomes one contact, known by both ids, with all of its events.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startDemo } from "./demo.mjs";
import { runClient } from "./run-client.mjs";

const CONTACT = `query ($anonymous: String!, $user: String!) {
  byAnonymous: contact(by: { distinctId: $anonymous }) { id }
  byUser: contact(by: { distinctId: $user }) { id email events(first: 50) { edges { node { name } } } }
}`;
// Ingestion acknowledges what is durable; joining contacts follows a moment later.
const JOINED_WITHIN_MS = 10_000;

let demo;
before(async () => {
  demo = await startDemo();
});
after(() => demo?.stop());

test("posthog-node feeds one contact", async () => {
  const visitor = { anonymous: randomUUID(), user: `user-${randomUUID()}`, email: `${randomUUID()}@shop.example` };
  const events = await told("posthog-node-feed.mjs", visitor, ["--anonymous", visitor.anonymous]);
  assert.deepEqual(
    events.map(({ event, distinctId }) => [event, distinctId]),
    [
      ["$pageview", visitor.anonymous],
      ["signup", visitor.anonymous],
      ["$identify", visitor.user],
    ],
  );
  await isOneContact(visitor, ["$identify", "$pageview", "signup"]);
});

test("posthog-js feeds one contact", async () => {
  const visitor = { user: `user-${randomUUID()}`, email: `${randomUUID()}@shop.example` };
  const { code, lines, complaints } = await runClient("posthog-js-feed.mjs", credentials(visitor));
  assert.equal(code, 0, complaints);
  const [{ anonymousId, events }] = lines;
  assert.deepEqual(events.map(({ event }) => event).sort(), ["$identify", "$pageview", "signup"]);
  await isOneContact({ ...visitor, anonymous: anonymousId }, ["$identify", "$pageview", "signup"]);
});

for (const compression of [[], ["--gzip"]]) {
  test(`posthog-python feeds one contact${compression.length > 0 ? ", compressed" : ""}`, async () => {
    const visitor = { anonymous: randomUUID(), user: `user-${randomUUID()}`, email: `${randomUUID()}@shop.example` };
    const events = await told("posthog_python_feed.py", visitor, ["--anonymous", visitor.anonymous, ...compression]);
    assert.deepEqual(
      events.map(({ event, distinctId }) => [event, distinctId]),
      [
        ["$pageview", visitor.anonymous],
        ["signup", visitor.anonymous],
        ["$create_alias", visitor.anonymous],
        ["$set", visitor.user],
      ],
    );
    await isOneContact(visitor, ["$create_alias", "$pageview", "$set", "signup"]);
  });
}

test("a library with a wrong token is refused", async () => {
  const { code, lines, complaints } = await runClient("posthog-node-feed.mjs", [
    ...["--host", demo.ready.ingestUrl, "--token", "gos_pk_nobody", "--anonymous", "a", "--user", "u", "--email", "u@shop.example"],
  ]);
  assert.equal(code, 1);
  assert.deepEqual(lines, [{ client: "posthog-node", events: [] }]);
  assert.match(complaints, /status 401/);
});

function credentials({ user, email }) {
  return ["--host", demo.ready.ingestUrl, "--token", demo.ready.publishableKey, "--user", user, "--email", email];
}

async function told(script, visitor, more) {
  const { code, lines, complaints } = await runClient(script, [...credentials(visitor), ...more]);
  assert.equal(code, 0, complaints);
  return lines[0].events;
}

async function isOneContact({ anonymous, user, email }, names) {
  const expected = { joined: true, email, names };
  let seen;
  for (const deadline = Date.now() + JOINED_WITHIN_MS; Date.now() < deadline; await sleep(100)) {
    const { byAnonymous, byUser } = await demo.query(CONTACT, { anonymous, user }, demo.ready.secretKey);
    seen = {
      joined: byUser !== null && byAnonymous?.id === byUser.id,
      email: byUser?.email,
      // GrowthOS adds events of its own (contact.identified, …); the visitor's are the ones asked for.
      names: byUser?.events.edges.map(({ node }) => node.name).filter((name) => names.includes(name)).sort(),
    };
    if (JSON.stringify(seen) === JSON.stringify(expected)) return;
  }
  assert.deepEqual(seen, expected);
}
