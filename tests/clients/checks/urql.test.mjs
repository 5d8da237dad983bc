// urql as an application uses it, against the demo: queries (which it sends by GET), mutations, errors and subscriptions.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createClient } from "graphql-ws";
import { Client, cacheExchange, fetchExchange, gql, subscriptionExchange } from "urql";
import { startDemo } from "./demo.mjs";
import { NUDGES, delivered, nudgeFor, socket } from "./stream.mjs";

const CONTACT = gql`query Contact($by: ContactKey!) { contact(by: $by) { id name email status } }`;
const UPSERT = gql`
  mutation Upsert($input: ContactUpsertInput!) {
    contactUpsert(input: $input) @idempotent(key: "urql") { contact { id name } userErrors { code field message } }
  }
`;

let demo;
before(async () => {
  demo = await startDemo();
});
after(() => demo?.stop());

function urql(token, { sent = [], exchanges = [] } = {}) {
  return new Client({
    url: demo.ready.graphqlUrl,
    exchanges: [cacheExchange, ...exchanges, fetchExchange],
    fetchOptions: { headers: { authorization: `Bearer ${token}` } },
    fetch: (target, init) => {
      sent.push(init.method);
      return fetch(target, init);
    },
  });
}

test("a mutation writes, and a query with variables reads it again, by GET", async () => {
  const sent = [];
  const client = urql(demo.ready.secretKey, { sent });
  const upsert = (name) => client.mutation(UPSERT, { input: { externalId: "urql-1", name } }).toPromise();
  const written = await upsert("Ursula");
  assert.equal(written.error, undefined);
  assert.deepEqual(written.data.contactUpsert.userErrors, []);
  const read = await client.query(CONTACT, { by: { externalId: "urql-1" } }).toPromise();
  assert.equal(read.error, undefined);
  assert.deepEqual([read.data.contact.id, read.data.contact.name], [written.data.contactUpsert.contact.id, "Ursula"]);
  // The same key with another input.
  const conflict = await upsert("Another");
  assert.deepEqual(conflict.error.graphQLErrors.map(({ extensions }) => extensions.code), ["CONFLICT"]);
  assert.deepEqual(sent, ["POST", "GET", "POST"]);
});

test("an error has its code, and what else was asked for is there", async () => {
  const client = urql(demo.ready.secretKey);
  const query = gql`{ tenant { name } node(id: "${demo.ready.contactId}") { id } bad: contact { id } }`;
  const { data, error } = await client.query(query, {}).toPromise();
  assert.deepEqual(error.graphQLErrors.map(({ path, extensions }) => [path, extensions.code]), [[["bad"], "BAD_USER_INPUT"]]);
  assert.equal(data.node.id, demo.ready.contactId);
  assert.equal(data.bad, null);
});

test("a nudge comes through subscriptionExchange over graphql-ws, and a cursor resumes behind it", async () => {
  const [first, second] = [await nudgeFor(demo, "urql_first"), await nudgeFor(demo, "urql_second")];
  const listen = async (key, after) => {
    const sockets = createClient(socket(demo.ready));
    const forwardSubscription = ({ query, variables }) => ({
      subscribe: (sink) => ({ unsubscribe: sockets.subscribe({ query, variables }, sink) }),
    });
    const client = urql(demo.ready.contactToken, { exchanges: [subscriptionExchange({ forwardSubscription })] });
    try {
      return await delivered((observer) => client.subscription(gql(NUDGES), { after }).subscribe(observer.next), key);
    } finally {
      await sockets.dispose();
    }
  };
  await first();
  const { item } = await listen("urql_first");
  await second();
  const { seen } = await listen("urql_second", item.cursor);
  assert.deepEqual(seen.map(({ delivery }) => delivery?.nudge.key), ["urql_second"]);
});
