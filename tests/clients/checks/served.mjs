// `growthos serve` on PostgreSQL with a PostHog beside it, set up as an operator and then a tenant would: by the command line
// and by GraphQL. It gives what `startDemo` gives, so that one story runs on both.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { binary, freePort, query, run, start } from "./process.mjs";

const CONTACTS = 100;
const FLAG = { id: 1, team_id: 1, key: "new-onboarding", name: "New onboarding", active: true, version: 1, filters: { groups: [{ properties: [], rollout_percentage: 50 }] } };

export async function startServed() {
  const database = await makeDatabase();
  const running = [];
  const stop = async () => {
    for (const process of running.reverse()) await process();
    await database.drop();
  };
  try {
    const double = start(binary("TEST_POSTHOG_DOUBLE"), []);
    running.push(() => double.stop("SIGINT"));
    const posthog = JSON.parse(await double.within(double.firstLine));
    await fetch(`${posthog.url}/_double/flags`, { method: "PUT", body: JSON.stringify({ flags: [FLAG], group_type_mapping: {}, cohorts: {} }) });

    const growthos = binary("TEST_GROWTHOS");
    const base = `http://127.0.0.1:${await freePort()}`;
    const settings = {
      DATABASE_URL: database.url,
      GROWTHOS_ENVIRONMENT: "production",
      GROWTHOS_LISTEN: new URL(base).host,
      GROWTHOS_SECRET_KEY: randomUUID() + randomUUID(),
      // The double listens on this machine.
      GROWTHOS_ALLOW_PRIVATE_UPSTREAMS: "true",
    };
    await run(growthos, ["migrate"], settings);
    const tenant = JSON.parse(await run(growthos, ["tenant", "create", "Proof", "--json"], settings));
    const server = start(growthos, ["serve"], settings);
    running.push(() => server.stop());
    await server.within(healthy(`${base}/health/ready`));

    const graphqlUrl = `${base}/graphql`;
    const asTenant = (document, variables) => query(graphqlUrl, document, variables, tenant.secretKey);
    const done = async (mutation, type, input) => {
      const { answer } = await asTenant(`mutation($input: ${type}!) { answer: ${mutation} }`, { input });
      if (answer.userErrors.length > 0) throw new Error(JSON.stringify(answer));
      return answer;
    };
    await done("posthogConnect(input: $input) { userErrors { field message } }", "PosthogConnectInput", {
      ...{ ingestHost: posthog.url, apiHost: posthog.url, uiHost: posthog.url },
      ...{ projectId: String(posthog.projectId), projectToken: posthog.token, personalApiKey: posthog.key },
    });
    await done("metricSave(input: $input) { userErrors { field message } }", "MetricSaveInput", {
      ...{ key: "revenue", expression: "sumIf(toFloat(properties.amount), event = 'purchase')", window: "P90D" },
    });
    const { nudge } = await done("nudgeSave(input: $input) { nudge { id } userErrors { field message } }", "NudgeSaveInput", {
      ...{ key: "welcome", surface: "app", trigger: { event: "signup" }, content: { title: "Welcome!", body: "Create your first board." } },
    });
    await done("nudgePublish(input: $input) { userErrors { field message } }", "NudgePublishInput", { id: nudge.id });
    const events = Array.from({ length: CONTACTS }, (_, number) => ({ event: "purchase", userId: `buyer-${number}`, properties: { amount: 10 + number } }));
    await done("trackBatch(input: $input) { userErrors { field message } }", "TrackBatchInput", { events });
    const { contact } = await asTenant(`{ contact(by: {externalId: "buyer-0"}) { id } }`);
    const { token } = await done("contactTokenCreate(input: $input) { token userErrors { field message } }", "ContactTokenCreateInput", { contactId: contact.id });
    // The page of a hundred is asked for what PostHog was told.
    while ((await (await fetch(`${posthog.url}/_double/events?event=purchase`)).json()).length < CONTACTS) await sleep(50);

    const ready = {
      ...{ graphqlUrl, graphqlWsUrl: graphqlUrl.replace("http", "ws"), ingestUrl: base, posthogUrl: posthog.url },
      ...{ secretKey: tenant.secretKey, publishableKey: tenant.publishableKey, contactId: contact.id, contactToken: token },
    };
    return { ready, query: (document, variables, token) => query(graphqlUrl, document, variables, token), stop };
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
}

/** A database of its own on the server that TEST_POSTGRES_URL names. */
async function makeDatabase() {
  const server = process.env.TEST_POSTGRES_URL;
  if (!server) throw new Error("TEST_POSTGRES_URL does not name a PostgreSQL server (tests/run sets it)");
  const name = `proof_${randomUUID().replaceAll("-", "")}`;
  const execute = async (statement) => {
    const client = new pg.Client({ connectionString: `${server}/postgres` });
    await client.connect();
    try {
      await client.query(statement);
    } finally {
      await client.end();
    }
  };
  await execute(`CREATE DATABASE ${name}`);
  return { url: `${server}/${name}`, drop: () => execute(`DROP DATABASE ${name} WITH (FORCE)`) };
}

async function healthy(url) {
  for (;;) {
    const answer = await fetch(url).catch(() => null);
    if (answer?.ok) return;
    await sleep(50);
  }
}
