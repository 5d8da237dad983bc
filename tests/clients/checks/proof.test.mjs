// The main job, as a user meets it: the binary, PostHog's own client, a real subscription. One story, told to the demo on SQLite
// and to a server on PostgreSQL.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { startDemo } from "./demo.mjs";
import { runClient } from "./run-client.mjs";
import { startServed } from "./served.mjs";

const WITHIN_MS = 20_000;
const STAGES = { sqlite: ["the demo on SQLite", startDemo], postgres: ["a server on PostgreSQL", startServed] };

for (const database of (process.env.TEST_DATABASES ?? "sqlite,postgres").split(",")) {
  const [name, start] = STAGES[database];
  describe(name, () => story(start));
}

/** Asks until `enough` says so: what is joined and forwarded follows an acknowledgement a moment later. */
async function eventually(ask, enough) {
  const end = Date.now() + WITHIN_MS;
  for (;;) {
    const answer = await ask();
    if (enough(answer) || Date.now() > end) return answer;
    await sleep(50);
  }
}

function story(start) {
  let demo;
  before(async () => {
    demo = await start();
  });
  after(() => demo?.stop());

  async function posthog(path) {
    return (await fetch(`${demo.ready.posthogUrl}${path}`)).json();
  }

  const asTenant = (document, variables) => demo.query(document, variables, demo.ready.secretKey);

  test("an anonymous visitor who becomes known is one contact, joined, nudged and observed", async () => {
    const seeded = (await posthog("/_double/events")).length;
    const visitor = { anonymous: randomUUID(), user: `user-${randomUUID()}`, email: `${randomUUID()}@shop.example` };
    const fed = await runClient("posthog-node-feed.mjs", [
      ...["--host", demo.ready.ingestUrl, "--token", demo.ready.publishableKey],
      ...["--anonymous", visitor.anonymous, "--user", visitor.user, "--email", visitor.email],
    ]);
    assert.equal(fed.code, 0, fed.complaints);
    const sent = fed.lines[0].events;

    // One contact, by both of its ids.
    const found = await asTenant(
      `query($a: String!, $u: String!) {
        anonymous: contact(by: {distinctId: $a}) { id }
        known: contact(by: {externalId: $u}) { id externalId anonymousIds email attribution { firstTouch { source } } }
      }`,
      { a: visitor.anonymous, u: visitor.user },
    );
    assert.equal(found.anonymous.id, found.known.id);
    assert.deepEqual(found.known, {
      id: found.known.id,
      externalId: visitor.user,
      anonymousIds: [visitor.anonymous],
      email: visitor.email,
      attribution: { firstTouch: { source: "newsletter" } },
    });

    // PostHog has the same events under the same uuids, and one distinct_id.
    const uuids = new Set(sent.map(({ uuid }) => uuid));
    const received = await eventually(
      async () => (await posthog(`/_double/events?after=${seeded}`)).filter(({ uuid }) => uuids.has(uuid)),
      (events) => events.length >= sent.length,
    );
    assert.deepEqual(received.map(({ event }) => event).sort(), ["$identify", "$pageview", "signup"]);
    assert.equal(new Set(received.map(({ distinct_id }) => distinct_id)).size, 1);

    // What PostHog knows is joined: a page of a hundred costs one HogQL request.
    const queries = async () => (await posthog("/_double/requests")).filter(({ endpoint }) => endpoint === "query").length;
    const before = await queries();
    const page = await asTenant(`{ contacts(first: 100) { edges { node { id analytics {
      week: activity(window: "P7D") { eventCount } activity(window: "P61D") { eventCount lastSeenAt }
      metric(key: "revenue") { value } featureFlag(key: "new-onboarding") { enabled source } } } } } }`);
    assert.equal(page.contacts.edges.length, 100);
    assert.equal((await queries()) - before, 1);
    const own = page.contacts.edges.find(({ node }) => node.id === found.known.id).node.analytics;
    assert.ok(own.week.eventCount >= 3, JSON.stringify(own));
    assert.equal(own.featureFlag.source, "LOCAL");
    assert.ok(page.contacts.edges.some(({ node }) => node.analytics.metric.value > 0));

    // graphql-ws gets the nudge that `signup` triggered; its being shown comes back to PostHog.
    const { contactTokenCreate } = await asTenant(
      `mutation($id: ID!) { contactTokenCreate(input: {contactId: $id}) { token userErrors { message } } }`,
      { id: found.known.id },
    );
    const item = await next(contactTokenCreate.token, null);
    assert.equal(item.__typename, "NudgeDelivered");
    assert.equal(item.delivery.nudge.key, "welcome");
    const recorded = await demo.query(
      `mutation($input: NudgeInteractionsRecordInput!) { nudgeInteractionsRecord(input: $input) { userErrors { message } } }`,
      {
        input: {
          interactions: [{ deliveryId: item.delivery.id, kind: "DISPLAYED", clientId: randomUUID(), at: new Date().toISOString() }],
        },
      },
      contactTokenCreate.token,
    );
    assert.deepEqual(recorded.nudgeInteractionsRecord.userErrors, []);
    const shown = await eventually(
      () => posthog(`/_double/events?event=nudge.displayed&distinct_id=${received[0].distinct_id}`),
      (events) => events.length > 0,
    );
    assert.equal(shown.length, 1);
    assert.equal(shown[0].properties.deliveryId, item.delivery.id);
  });

  test("a subscriber that drops and misses two resumes: none lost, none twice", async () => {
    const token = demo.ready.contactToken;
    const signUp = () =>
      asTenant(`mutation($id: ID!) { track(input: {event: "signup", contactId: $id}) { accepted userErrors { message } } }`, {
        id: demo.ready.contactId,
      });
    const deliveries = [];
    const first = next(token, null);
    await signUp();
    deliveries.push(await first);
    await signUp();
    await signUp();
    let { cursor } = deliveries[0];
    for (let more = 0; more < 2; more += 1) {
      const item = await next(token, cursor);
      deliveries.push(item);
      cursor = item.cursor;
    }
    assert.equal(new Set(deliveries.map(({ delivery }) => delivery.id)).size, 3);
    await assert.rejects(next(token, cursor, 1_500), /nothing came/);
  });

  /** The first item after `after`, over a socket of its own that is then torn down. */
  function next(token, after, patience = WITHIN_MS) {
    let socket;
    const client = createClient({
      url: demo.ready.graphqlWsUrl,
      retryAttempts: 0,
      connectionParams: { authorization: `Bearer ${token}` },
      webSocketImpl: class extends WebSocket {
        constructor(...rest) {
          super(...rest);
          socket = this;
        }
      },
    });
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error("nothing came")), patience);
      client.subscribe(
        {
          query: `subscription($after: String) { nudges(after: $after) { __typename
            ... on NudgeDelivered { cursor delivery { id nudge { key } } } } }`,
          variables: { after },
        },
        {
          next: ({ data, errors }) => (errors ? reject(new Error(JSON.stringify(errors))) : resolve(data.nudges)),
          error: reject,
          complete: () => {},
        },
      );
      late.unref();
    }).finally(() => socket?.terminate());
  }
}
