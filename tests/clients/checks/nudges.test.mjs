// The real graphql-ws client receives the demo's nudge, which `signup` triggers, and resumes behind it.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { startDemo } from "./demo.mjs";
import { runClient } from "./run-client.mjs";

const TRACK = `mutation ($input: TrackInput!) { track(input: $input) { accepted userErrors { code message } } }`;

let demo;
before(async () => {
  demo = await startDemo();
});
after(() => demo?.stop());

test("a tracked signup reaches graphql-ws as a nudge, once, even after the connection was cut", async () => {
  const { graphqlWsUrl: url, contactToken: token, contactId, secretKey } = demo.ready;
  const tracked = { event: "signup", contactId, messageId: randomUUID() };

  let tracking;
  const first = await runClient("nudge-stream.mjs", ["--url", url, "--token", token, "--drop-after", "1"], {
    onLine: ({ open }) => {
      if (open) tracking = demo.query(TRACK, { input: tracked }, secretKey);
    },
  });
  assert.equal(first.code, 0, first.complaints);
  assert.deepEqual((await tracking).track, { accepted: true, userErrors: [] });
  const [, nudge] = first.lines;
  assert.equal(nudge.__typename, "NudgeDelivered");

  const resumed = await runClient("nudge-stream.mjs", ["--url", url, "--token", token, "--after", nudge.cursor, "--timeout", "2"]);
  assert.deepEqual({ code: resumed.code, lines: resumed.lines }, { code: 2, lines: [{ open: true }] });
});

test("a stream with a foreign token is refused", async () => {
  const { code, lines, complaints } = await runClient("nudge-stream.mjs", ["--url", demo.ready.graphqlWsUrl, "--token", "nobody"]);
  assert.deepEqual({ code, lines }, { code: 1, lines: [] });
  assert.match(complaints, /44\d\d/);
});
