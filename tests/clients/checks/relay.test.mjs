// relay-compiler compiles a small Relay app against schema.graphql, and relay-runtime pages with what it made, against the demo.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import runtime from "relay-runtime";
import { startDemo } from "./demo.mjs";

const APP = fileURLToPath(new URL("../relay", import.meta.url));
const SCHEMA = fileURLToPath(new URL("../../../schema.graphql", import.meta.url));
const COMPILER = fileURLToPath(new URL("../node_modules/.bin/relay-compiler", import.meta.url));

let scratch, app, demo, documents;

/** The demo's contacts and events as Relay asks for them: each request is a compiled document, by its persisted id. */
let environment;
const requests = [];

before(async () => {
  // The compiler writes beside its sources and walks the folders above them, so it works on a copy of its own.
  scratch = await mkdtemp(join(tmpdir(), "growthos-relay-"));
  app = join(scratch, "tests/clients/relay");
  await cp(APP, app, { recursive: true });
  await cp(SCHEMA, join(scratch, "schema.graphql"));
  await mkdir(join(app, "__generated__"));
  await writeFile(join(app, "package.json"), JSON.stringify({ name: "relay-app", type: "commonjs" }));
  await writeFile(join(app, "persisted.json"), "{}");
  const { stdout, stderr } = await promisify(execFile)(COMPILER, ["relay.config.json"], { cwd: app }).catch((error) => error);
  assert.match(stdout, /Compilation completed/, stdout + stderr);
  documents = JSON.parse(await readFile(join(app, "persisted.json"), "utf8"));

  demo = await startDemo();
  const network = runtime.Network.create(async (params, variables) => {
    const query = documents[params.id];
    assert.ok(query, `${params.name} was not persisted`);
    const answer = await fetch(demo.ready.graphqlUrl, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${demo.ready.secretKey}` },
      body: JSON.stringify({ query, variables }),
    });
    const body = await answer.json();
    requests.push({ name: params.name, variables, errors: body.errors });
    return body;
  });
  environment = new runtime.Environment({ network, store: new runtime.Store(new runtime.RecordSource()) });
});
after(async () => {
  await demo?.stop();
  await rm(scratch, { recursive: true, force: true });
});

const artifact = (name) => createRequire(join(app, "package.json"))(`./__generated__/${name}.graphql.js`);

/** Asks, and keeps what came in the store. */
async function ask(name, variables) {
  const request = runtime.getRequest(artifact(name));
  const operation = runtime.createOperationDescriptor(request, variables);
  environment.retain(operation);
  await runtime.fetchQuery(environment, request, variables).toPromise();
  return environment.lookup(operation.fragment).data;
}

/** What a component with this fragment would be given. */
const read = (fragment, owner) => environment.lookup(runtime.getSingularSelector(artifact(fragment), owner)).data;

test("the kept list of persisted documents is the compiler's, each under its SHA-256", async () => {
  const kept = JSON.parse(await readFile(join(APP, "persisted.json"), "utf8"));
  assert.deepEqual(kept, documents);
  assert.equal(Object.keys(documents).length, 6);
  for (const [id, text] of Object.entries(documents)) assert.equal(createHash("sha256").update(text).digest("hex"), id);
});

test("a list grows page by page in Relay's store, without a contact lost or twice", async () => {
  const first = await ask("ContactsQuery", { count: 2 });
  let { contacts } = read("Contacts_query", first);
  assert.equal(contacts.edges.length, 2);
  const total = contacts.totalCount;
  assert.ok(total > 4, `the demo has ${total} contacts`);
  while (contacts.pageInfo.hasNextPage) {
    await ask("ContactsPageQuery", { count: 2, cursor: contacts.pageInfo.endCursor });
    ({ contacts } = read("Contacts_query", first));
  }
  const ids = contacts.edges.map(({ node }) => node.id);
  assert.equal(ids.length, total);
  assert.equal(new Set(ids).size, total);
});

test("a contact's events page through node(id:), and its fragment is refetched there", async () => {
  const id = demo.ready.contactId;
  for (const event of ["one", "two", "three"]) {
    const operation = runtime.getRequest(artifact("ContactCardTrackMutation"));
    const variables = { input: { event, contactId: id, messageId: `relay-${event}` }, key: `relay-${event}` };
    const told = await new Promise((resolve, reject) => runtime.commitMutation(environment, { mutation: operation, variables, onCompleted: resolve, onError: reject }));
    assert.deepEqual(told.track.userErrors, []);
    assert.equal(told.track.accepted, true);
  }
  const first = await ask("ContactCardEventsQuery", { id, count: 1 });
  const names = [];
  let { events } = read("ContactCard_events", first.node);
  while (events.edges.length < 3) {
    await ask("ContactCardEventsQuery", { id, count: 1, cursor: events.pageInfo.endCursor });
    ({ events } = read("ContactCard_events", first.node));
  }
  for (const { node } of events.edges) names.push(node.name);
  assert.deepEqual(names, ["three", "two", "one"]);
  const { node } = await ask("ContactCardFlagsQuery", { id });
  assert.equal(read("ContactCard_flags", node).status, "VERIFIED");
  assert.deepEqual(requests.filter(({ errors }) => errors), []);
});
