// The story of one visitor, told by an unmodified posthog-js: its browser bundle runs in a page that jsdom pretends to
// show, and an anonymous visitor comes by a campaign, signs up and is then known by name.
//
// usage: node posthog-js-feed.mjs --host URL --token KEY --user ID --email E [--timeout S]
//        The browser names the anonymous visitor itself. --timeout (default 20) bounds the whole story, in seconds.
// stdout: {"client","anonymousId","events":[{"event","uuid","distinctId"}],"requests":[{"method","path","gzip","status"}],"flags":[key, …]}:
//         the events that were acknowledged, every request with the status it got, and the flags that are on
// exit: 0 all events acknowledged and no request refused · 1 otherwise · 64 called wrongly
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import { JSDOM, VirtualConsole } from "jsdom";
import { options, print } from "./cli.mjs";

const { host, token, user, email, timeout } = options("posthog-js-feed.mjs --host URL --token KEY --user ID --email E [--timeout S]", {
  host: { required: true },
  token: { required: true },
  user: { required: true },
  email: { required: true },
  timeout: { default: "20", integer: true },
});
const deadline = Date.now() + timeout * 1_000;

const { window } = new JSDOM("<!doctype html><title>Shop</title><h1>Shop</h1>", {
  // The page has the receiver's own origin: the fetch below is Node's, which knows no cross-origin rules anyway.
  url: new URL("/?utm_source=newsletter&utm_medium=email&utm_campaign=spring", host).href,
  referrer: "https://news.example/spring",
  runScripts: "outside-only",
  pretendToBeVisual: true,
  virtualConsole: new VirtualConsole().sendTo(console, { omitJSDOMErrors: true }),
});
const requests = [];
const acknowledged = [];
window.fetch = recordingFetch;

const bundle = createRequire(import.meta.url).resolve("posthog-js/dist/array.full.no-external.js");
window.eval(await readFile(bundle, "utf8"));
const { posthog } = window;

const captured = [];
posthog.init(token, { api_host: host, autocapture: false, capture_pageleave: false, person_profiles: "identified_only" });
posthog.on("eventCaptured", ({ event, uuid }) => captured.push({ event, uuid }));

let flags = [];
posthog.onFeatureFlags((keys) => {
  flags = keys;
});

// posthog-js sends the page view by itself, a moment after it started: the visitor is anonymous until then.
await until(() => captured.some(({ event }) => event === "$pageview"));
const anonymousId = posthog.get_distinct_id();
posthog.capture("signup", { plan: "pro" });
posthog.identify(user, { email });

const told = await until(() => captured.every(isAcknowledged) && requests.every(({ status }) => status !== null));
print({ client: "posthog-js", anonymousId, events: acknowledged, requests, flags });
if (!told) process.stderr.write(`the story was not told in ${timeout} s\n`);
// posthog-js keeps timers of its own, so the process ends by decree.
process.exit(told && requests.every(({ status }) => status >= 200 && status <= 299) ? 0 : 1);

/** Node's fetch, for a page of jsdom, which has none; it also keeps what was asked, answered and acknowledged. */
async function recordingFetch(target, init = {}) {
  const url = new URL(target, window.location.href);
  const body = await bytes(init.body);
  const gzip = body?.[0] === 0x1f && body?.[1] === 0x8b;
  const request = { method: init.method ?? "GET", path: url.pathname, gzip, status: null };
  requests.push(request);
  // An abort signal of jsdom's is foreign to Node's fetch; the deadline bounds the story instead.
  const answer = await fetch(url, { ...init, body, signal: undefined });
  request.status = answer.status;
  if (answer.ok && body) acknowledged.push(...eventsIn(gzip ? gunzipSync(body) : body));
  return answer;
}

/** The events of a capture request's body; none for any other request. */
function eventsIn(body) {
  const { batch = [] } = JSON.parse(body.toString());
  return batch.map(({ event, uuid, properties }) => ({ event, uuid, distinctId: properties.distinct_id }));
}

/** A request's body as a Buffer. Node's fetch would send jsdom's Blob as the text "[object Blob]". */
async function bytes(body) {
  if (body === undefined || body === null) return undefined;
  if (!(body instanceof window.Blob)) return Buffer.from(body);
  const reader = new window.FileReader();
  return new Promise((read, failed) => {
    reader.onload = () => read(Buffer.from(reader.result));
    reader.onerror = () => failed(reader.error);
    reader.readAsArrayBuffer(body);
  });
}

function isAcknowledged({ uuid }) {
  return acknowledged.some((event) => event.uuid === uuid);
}

/** Waits for `condition`, at the longest until the deadline; says whether it came true. */
async function until(condition) {
  while (!condition()) {
    if (Date.now() > deadline) return false;
    await sleep(20);
  }
  return true;
}
