// GraphiQL in Chromium, out of the demo's binary: a query, the schema's documentation and a subscription, with no file from anywhere
// else and nothing that the page's content security policy refuses.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { startDemo } from "./demo.mjs";
import { binary } from "./process.mjs";
import { nudgeFor } from "./stream.mjs";

const WITHIN_MS = 60_000;

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "worker-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src data:",
  "font-src data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

// A browser that is alone: no GPU, no account, and no calls of its own that could pass for the page's.
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

let demo, profile, browser, page, origin;

/** What the page must not do, and what it sends over its socket. */
const refused = [];
const foreign = [];
const frames = [];

before(async () => {
  demo = await startDemo();
  origin = new URL(demo.ready.graphqlUrl).origin;
  profile = await mkdtemp(join(tmpdir(), "growthos-chromium-"));
  browser = await chromium.launchPersistentContext(profile, { executablePath: binary("TEST_CHROMIUM"), headless: true, args: FLAGS, viewport: { width: 1300, height: 900 } });
  page = await browser.newPage();
  page.setDefaultTimeout(WITHIN_MS);
  await page.exposeFunction("refusedByPolicy", (what) => refused.push(what));
  await page.addInitScript(() => document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => globalThis.refusedByPolicy(`${violatedDirective}: ${blockedURI}`)));
  page.on("console", (message) => {
    // Workers' violations show here alone.
    if (/content security policy/i.test(message.text())) refused.push(message.text());
  });
  page.on("pageerror", (error) => refused.push(String(error)));
  browser.on("request", (request) => {
    const url = new URL(request.url());
    if (!["data:", "blob:"].includes(url.protocol) && url.origin !== origin) foreign.push(request.url());
  });
  page.on("websocket", (socket) => {
    if (new URL(socket.url()).host !== new URL(origin).host) foreign.push(socket.url());
    socket.on("framesent", ({ payload }) => frames.push(JSON.parse(payload)));
  });
  await page.goto(`${origin}/graphiql`);
  await page.waitForSelector(".graphiql-execute-button");
});
after(async () => {
  await browser?.close();
  await demo?.stop();
  if (profile) await rm(profile, { recursive: true, force: true, maxRetries: 5 });
});

/** Replaces an editor's text, as one who pastes into it. */
async function write(editor, text) {
  await page.locator(`${editor} .view-lines`).first().click();
  await page.keyboard.press("Control+A");
  await page.keyboard.press("Delete");
  await page.keyboard.insertText(text);
}

/** Puts a credential into the headers editor. */
const signIn = (token) => write(".graphiql-editor-tool .graphiql-editor:not(.hidden)", JSON.stringify({ Authorization: `Bearer ${token}` }));

/** Waits until the answer shows all these texts. */
const answers = (...texts) =>
  page.waitForFunction((texts) => {
    // The editor shows spaces that do not break.
    const shown = document.querySelector(".graphiql-response").innerText.replaceAll("\u00a0", " ");
    return texts.every((text) => shown.includes(text));
  }, texts);

test("the page's policy is exactly this", async () => {
  const answer = await fetch(`${origin}/graphiql`);
  assert.equal(answer.headers.get("content-security-policy"), POLICY);
});

test("a query runs with the credential of the headers editor", async () => {
  await write(".graphiql-query-editor", "{ contacts(first: 1) { totalCount } }");
  await page.click(".graphiql-execute-button");
  await answers('"UNAUTHENTICATED"');
  await signIn(demo.ready.secretKey);
  await page.click(".graphiql-execute-button");
  const { contacts } = await demo.query("{ contacts(first: 1) { totalCount } }", {}, demo.ready.secretKey);
  await answers(`"totalCount": ${contacts.totalCount}`);
});

test("the documentation explorer shows the schema that the credential may see", async () => {
  // The introspection at the start had no credential.
  await page.click('[aria-label^="Re-fetch GraphQL schema"]');
  await page.click('[aria-label^="Show Documentation Explorer"]');
  const explorer = page.locator(".graphiql-doc-explorer");
  await explorer.getByRole("link", { name: "Query", exact: true }).click();
  await explorer.getByText("The tenant's contacts, the newest first unless another order is asked for.").waitFor();
  await explorer.getByText("deadLetters", { exact: true }).waitFor();
});

test("the editor completes what the schema has: its workers run", async () => {
  await write(".graphiql-query-editor", "{ ");
  await page.keyboard.type("deadLet", { delay: 30 });
  await page.locator(".suggest-widget").getByText("deadLetters").first().waitFor();
  await page.keyboard.press("Escape");
});

test("a subscription shows a nudge when it comes, by the credential in connectionParams", async () => {
  const happens = await nudgeFor(demo, "graphiql_nudge");
  await signIn(demo.ready.contactToken);
  await write(".graphiql-query-editor", "subscription Watch { nudges { ... on NudgeDelivered { delivery { content { title } } } } }");
  // GraphiQL reads what kind of operation it is a moment after the last key; the tab's title tells that it did.
  await page.locator(".graphiql-tabs").getByText("Watch").waitFor();
  await page.click(".graphiql-execute-button");
  await page.waitForSelector('[aria-label="Stop query (Ctrl-Enter)"], .graphiql-execute-button[aria-label^="Stop"]');
  await happens();
  await answers('"title": "graphiql_nudge"');
  const { payload } = frames.find(({ type }) => type === "connection_init");
  assert.deepEqual(Object.values(payload), [`Bearer ${demo.ready.contactToken}`]);
  await page.click(".graphiql-execute-button");
});

test("nothing was refused by the policy, and no other host was asked", () => {
  assert.deepEqual({ refused, foreign }, { refused: [], foreign: [] });
});
