// Apollo Client as an application uses it, against the demo: queries, pages in its cache, mutations, errors, persisted queries and
// subscriptions.
import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { ApolloClient, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { relayStylePagination } from "@apollo/client/utilities";
import { createClient } from "graphql-ws";
import { filter, firstValueFrom } from "rxjs";
import { startDemo } from "./demo.mjs";
import { NUDGES, delivered, nudgeFor, socket } from "./stream.mjs";

const CONTACTS = gql`
  query Contacts($first: Int!, $after: String, $filter: ContactFilter) {
    contacts(first: $first, after: $after, filter: $filter) {
      totalCount
      pageInfo { hasNextPage endCursor }
      edges { cursor node { id name createdAt } }
    }
  }
`;
const TRACK = gql`
  mutation Track($input: TrackInput!, $key: String!) {
    track(input: $input) @idempotent(key: $key) { accepted contact { id } userErrors { code field message } }
  }
`;

let demo;
before(async () => {
  demo = await startDemo();
});
after(() => demo?.stop());

const cache = () => new InMemoryCache({ typePolicies: { Query: { fields: { contacts: relayStylePagination(["filter", "orderBy"]) } } } });

/** The HTTP link of a caller; `sent` notes each request. */
function http(token, sent = []) {
  const { graphqlUrl: uri } = demo.ready;
  const noting = (target, init) => {
    sent.push({ method: init.method, target: String(target), body: init.body });
    return fetch(target, init);
  };
  return new HttpLink({ uri, fetch: noting, headers: { authorization: `Bearer ${token}` } });
}

const client = (link) => new ApolloClient({ link, cache: cache() });

/** What Apollo shows of a refusal: the codes of its errors. */
async function codes(asked) {
  const error = await asked.then(
    ({ data }) => assert.fail(`nothing was refused, but answered: ${JSON.stringify(data)}`),
    (error) => error,
  );
  assert.ok(CombinedGraphQLErrors.is(error), String(error));
  return error.errors.map(({ extensions }) => extensions.code);
}

test("a query with variables pages through Apollo's cache with no contact lost or twice", async () => {
  const apollo = client(http(demo.ready.secretKey));
  const list = apollo.watchQuery({ query: CONTACTS, variables: { first: 20, filter: { status: { in: ["KNOWN", "VERIFIED"] } } } });
  const watched = list.subscribe(() => {});
  // What the list shows is told a turn after what was fetched.
  const shown = async (count) => (await firstValueFrom(list.pipe(filter(({ loading, data }) => !loading && data.contacts.edges.length >= count)))).data;
  let { contacts } = await shown(20);
  const total = contacts.totalCount;
  assert.ok(total > 40, `the demo has ${total} contacts`);
  while (contacts.pageInfo.hasNextPage) {
    await list.fetchMore({ variables: { after: contacts.pageInfo.endCursor } });
    ({ contacts } = await shown(contacts.edges.length + 1));
  }
  watched.unsubscribe();
  const ids = contacts.edges.map(({ node }) => node.id);
  assert.equal(ids.length, total);
  assert.equal(new Set(ids).size, total);
  for (const { node } of contacts.edges) assert.match(node.createdAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?Z$/);
});

test("a mutation sent twice under one key happens once, and another input under it is a conflict", async () => {
  const apollo = client(http(demo.ready.secretKey));
  const { contactId } = demo.ready;
  const key = randomUUID();
  const track = (event) => apollo.mutate({ mutation: TRACK, variables: { input: { event, contactId }, key } });
  const first = await track("apollo.once");
  assert.deepEqual(first.data.track.userErrors, []);
  assert.equal(first.data.track.accepted, true);
  assert.deepEqual((await track("apollo.once")).data, first.data);
  assert.deepEqual(await codes(track("apollo.other")), ["CONFLICT"]);
  const EVENTS = gql`query Events($name: String!) { events(filter: {name: {startsWith: $name}}) { totalCount edges { node { name } } } }`;
  const { events } = (await apollo.query({ query: EVENTS, variables: { name: "apollo." } })).data;
  assert.deepEqual(events.edges.map(({ node }) => node.name), ["apollo.once"]);
});

test("what the caller did wrong, and what it may not, is an error with a code", async () => {
  const { secretKey, publishableKey } = demo.ready;
  const asked = (token, variables) => codes(client(http(token)).query({ query: CONTACTS, variables }));
  assert.deepEqual(await asked(secretKey, { first: 1, after: "nowhere" }), ["BAD_CURSOR"]);
  assert.deepEqual(await asked(secretKey, { first: 101 }), ["BAD_USER_INPUT"]);
  assert.deepEqual(await asked("gos_sk_nobody", { first: 1 }), ["UNAUTHENTICATED"]);
  assert.equal((await asked(publishableKey, { first: 1 })).length, 1);
  const refused = await client(http(secretKey)).mutate({ mutation: TRACK, variables: { input: { event: "" }, key: randomUUID() } });
  assert.deepEqual(refused.data.track.userErrors.map(({ code }) => code), ["INVALID"]);
});

test("a persisted query is sent as text once; afterwards its hash is enough, by POST and by GET", async () => {
  const sha256 = (text) => createHash("sha256").update(text).digest("hex");
  for (const useGETForHashedQueries of [false, true]) {
    // A name of its own makes it a document that the server has never seen.
    const query = gql`query ${`Persisted${randomUUID().replaceAll("-", "")}`}($first: Int!) { contacts(first: $first) { edges { node { id } } } }`;
    const method = useGETForHashedQueries ? "GET" : "POST";
    const ask = async () => {
      const sent = [];
      const link = new PersistedQueryLink({ sha256, useGETForHashedQueries }).concat(http(demo.ready.secretKey, sent));
      const { data } = await client(link).query({ query, variables: { first: 1 } });
      assert.equal(data.contacts.edges.length, 1);
      return sent.map(({ method, target, body }) => {
        const asked = method === "GET" ? Object.fromEntries(new URL(target).searchParams) : JSON.parse(body);
        const { persistedQuery } = method === "GET" ? JSON.parse(asked.extensions) : asked.extensions;
        assert.equal(persistedQuery.version, 1);
        return { method, hasText: "query" in asked };
      });
    };
    const [unknown, told, ...more] = await ask();
    assert.deepEqual({ unknown, told: told?.hasText, more }, { unknown: { method, hasText: false }, told: true, more: [] });
    assert.deepEqual(await ask(), [{ method, hasText: false }]);
  }
});

test("a nudge comes through GraphQLWsLink, and a subscription with its cursor goes on behind it", async () => {
  const [first, second] = [await nudgeFor(demo, "apollo_first"), await nudgeFor(demo, "apollo_second")];
  const listen = async (key, after) => {
    const sockets = createClient(socket(demo.ready));
    const apollo = client(new GraphQLWsLink(sockets));
    try {
      return await delivered((observer) => apollo.subscribe({ query: gql(NUDGES), variables: { after } }).subscribe(observer), key);
    } finally {
      apollo.stop();
      await sockets.dispose();
    }
  };
  await first();
  const { item } = await listen("apollo_first");
  assert.equal(item.delivery.content.title, "apollo_first");
  await second();
  const { seen } = await listen("apollo_second", item.cursor);
  assert.deepEqual(seen.map(({ delivery }) => delivery?.nudge.key), ["apollo_second"]);
});
