// The real graphql-sse client, in its distinct connections mode: answers, errors, a stream of nudges, and a connection that is cut.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect, createServer } from "node:net";
import { after, before, test } from "node:test";
import { createClient } from "graphql-sse";
import { startDemo } from "./demo.mjs";

const NUDGES = "subscription { nudges { __typename ... on NudgeDelivered { cursor delivery { nudge { key } } } } }";

let demo;
before(async () => {
  demo = await startDemo();
});
after(() => demo?.stop());

/** Asks once, and gives every result that came. */
async function results(request, token = demo.ready.secretKey) {
  const client = createClient({ url: demo.ready.graphqlUrl, headers: { authorization: `Bearer ${token}` }, retryAttempts: 0 });
  const came = [];
  for await (const result of client.iterate(request)) came.push(result);
  client.dispose();
  return came;
}

/** Publishes a nudge for each event, so that each is told of by a nudge of the same key. */
async function publish(events) {
  const save = `mutation ($input: NudgeSaveInput!) { nudgeSave(input: $input) { nudge { id } userErrors { field message } } }`;
  const publish = `mutation ($id: ID!) { nudgePublish(input: {id: $id}) { userErrors { field message } } }`;
  for (const event of events) {
    const input = { key: event, surface: "sse", trigger: { event }, content: { title: event, body: event } };
    const { nudgeSave } = await demo.query(save, { input }, demo.ready.secretKey);
    assert.deepEqual(nudgeSave.userErrors, []);
    await demo.query(publish, { id: nudgeSave.nudge.id }, demo.ready.secretKey);
  }
}

async function track(event) {
  const { contactId, secretKey } = demo.ready;
  const input = { event, contactId, messageId: randomUUID() };
  const { track } = await demo.query("mutation ($input: TrackInput!) { track(input: $input) { accepted userErrors { message } } }", { input }, secretKey);
  assert.deepEqual(track, { accepted: true, userErrors: [] });
}

/** Passes connections on to the demo, and cuts them when it is told to. */
async function startProxy() {
  const { hostname, port } = new URL(demo.ready.graphqlUrl);
  const sockets = new Set();
  const server = createServer((inner) => {
    const outer = connect(Number(port), hostname);
    for (const socket of [inner, outer]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => sockets.delete(socket));
    }
    inner.pipe(outer).pipe(inner);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const stop = () => {
    cut();
    server.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}/graphql`, cut, stop };
}

test("queries, mutations and what is wrong with a document are results", async () => {
  const [read, ...rest] = await results({ query: "{ __typename }" });
  assert.deepEqual([read.data, read.errors, rest], [{ __typename: "Query" }, undefined, []]);
  assert.equal(read.extensions.cost.requested, 1);
  const tracked = await results({ query: `mutation { track(input: {event: "sse", userId: "sse"}) { accepted } }` });
  assert.deepEqual(
    tracked.map(({ data, errors }) => ({ data, errors })),
    [{ data: { track: { accepted: true } }, errors: undefined }],
  );
  for (const query of ["{", "{ nothing }", "subscription { nothing }"]) {
    const [refused, ...more] = await results({ query });
    assert.equal(more.length, 0);
    assert.equal(typeof refused.errors[0].message, "string", query);
  }
});

test("who may not ask is answered by HTTP", async () => {
  await assert.rejects(results({ query: "{ __typename }" }, "nobody"), /Server responded with 401/);
});

test("nudges stream, and go on behind the last one when the connection was cut: none is lost and none comes twice", async () => {
  const events = ["sse_1", "sse_2", "sse_3", "sse_4", "sse_5"];
  await publish(events);
  const proxy = await startProxy();
  let cursor;
  let resume;
  const resumed = new Promise((resolve) => {
    resume = resolve;
  });
  const client = createClient({
    url: proxy.url,
    // Asked for again at each connection.
    headers: () => ({ authorization: `Bearer ${demo.ready.contactToken}`, ...(cursor && { "last-event-id": cursor }) }),
    // It connects again when the test has made it miss something.
    retry: () => resumed,
  });
  const came = [];
  let each = () => {};
  const ended = new Promise((resolve, reject) => {
    const sink = {
      next: ({ data, errors }) => {
        if (errors) return reject(new Error(JSON.stringify(errors)));
        cursor = data.nudges.cursor;
        came.push(data.nudges.delivery.nudge.key);
        each();
      },
      error: reject,
      complete: resolve,
    };
    client.subscribe({ query: NUDGES.replace("nudges {", 'nudges(surface: "sse") {') }, sink);
  });
  const until = (count) =>
    Promise.race([
      new Promise((resolve) => {
        each = () => came.length >= count && resolve();
        each();
      }),
      ended.then(() => Promise.reject(new Error(`the stream ended after ${came}`))),
    ]);
  await track("sse_1");
  await track("sse_2");
  await until(2);
  proxy.cut();
  await track("sse_3");
  await track("sse_4");
  resume();
  await until(4);
  await track("sse_5");
  await until(5);
  assert.deepEqual(came, events);
  client.dispose();
  proxy.stop();
});

test("each event's id is its cursor, over HTTP/2 as well, and no field of the document need ask for it", async () => {
  const { origin } = new URL(demo.ready.graphqlUrl);
  const session = connectHttp2(origin);
  const read = async (headers, count) => {
    const stream = session.request({
      ":method": "POST",
      ":path": "/graphql",
      authorization: `Bearer ${demo.ready.contactToken}`,
      "content-type": "application/json",
      accept: "text/event-stream",
      ...headers,
    });
    stream.end(JSON.stringify({ query: `subscription { nudges(surface: "sse") { __typename } }` }));
    const ids = [];
    let text = "";
    for await (const chunk of stream.setEncoding("utf8")) {
      text += chunk;
      ids.splice(0, ids.length, ...[...text.matchAll(/^event: next\n(?:data: .*\n)?id: (.*)\n/gm)].map(([, id]) => id));
      if (ids.length >= count) break;
    }
    stream.close();
    return ids;
  };
  const all = await read({}, 5);
  assert.equal(new Set(all).size, 5);
  assert.deepEqual(await read({ "last-event-id": all[2] }, 2), all.slice(3));
  session.close();
});
