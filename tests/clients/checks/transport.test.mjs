// The endpoint before the peers' own suite: graphql-http's audits of GraphQL over HTTP.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { auditServer } from "graphql-http";
import { startDemo } from "./demo.mjs";

const AUDITS = 61;

let demo;
before(async () => {
  demo = await startDemo();
});
after(() => demo?.stop());

test("every audit of graphql-http passes", async () => {
  const { graphqlUrl: url, secretKey } = demo.ready;
  const fetchFn = (target, init = {}) => {
    const headers = new Headers(init.headers);
    headers.set("authorization", `Bearer ${secretKey}`);
    return fetch(target, { ...init, headers });
  };
  const results = await auditServer({ url, fetchFn });
  const failed = results.filter(({ status }) => status !== "ok").map(({ id, name, status, reason }) => ({ id, name, status, reason }));
  assert.deepEqual(failed, []);
  assert.equal(results.length, AUDITS);
});
