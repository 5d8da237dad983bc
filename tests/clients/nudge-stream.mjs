// Subscribes to a contact's nudges with the real graphql-ws client, over graphql-transport-ws.
//
// usage: node nudge-stream.mjs --url ws://…/graphql --token T [--after CURSOR] [--surface S] [--count N] [--timeout S] [--drop-after N]
//        --token       the contact's token, sent as connectionParams.authorization
//        --after       resumes behind this cursor
//        --count       ends after N items (default 1)
//        --timeout     gives up after S seconds (default 10)
//        --drop-after  after N items cuts the connection with no close frame, as a dying client does, and ends
// stdout: a line {"open":true} once the server acknowledged the connection and the subscription was sent, then each item
//         as a line of its own, at once, with "at" (ms since the epoch when its frame arrived)
// exit: 0 N items came · 1 an error or a closed connection · 2 timeout · 64 called wrongly
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { options, print } from "./cli.mjs";

const EXIT_ERROR = 1;
const EXIT_TIMEOUT = 2;

const NUDGES = `subscription ($after: String, $surface: String) {
  nudges(after: $after, surface: $surface) {
    __typename
    ... on NudgeDelivered { cursor delivery { id content { title body } surface } }
    ... on NudgeWithdrawn { cursor deliveryId reason }
    ... on StreamLagged { cursor missed }
  }
}`;

const {
  url,
  token,
  after,
  surface,
  count,
  timeout,
  "drop-after": dropAfter,
} = options("nudge-stream.mjs --url URL --token T [--after CURSOR] [--surface S] [--count N] [--timeout S] [--drop-after N]", {
  url: { required: true },
  token: { required: true },
  after: {},
  surface: {},
  count: { default: "1", integer: true },
  timeout: { default: "10", integer: true },
  "drop-after": { integer: true },
});

let socket;
let received = 0;
setTimeout(() => end(EXIT_TIMEOUT, `${received} of ${dropAfter ?? count} items came in ${timeout} s`), timeout * 1_000);

const client = createClient({
  url,
  webSocketImpl: WebSocket,
  connectionParams: { authorization: `Bearer ${token}` },
  // A test wants to see a broken connection, not have it mended behind its back.
  retryAttempts: 0,
  on: {
    connected: (connected) => {
      socket = connected;
      // graphql-ws sends `subscribe` in the turn in which it learns of the acknowledgement.
      setImmediate(() => print({ open: true }));
    },
    closed: () => {
      if (received === count) process.exit(0);
    },
  },
});

const unsubscribe = client.subscribe(
  { query: NUDGES, variables: { after, surface } },
  {
    next: ({ data, errors }) => {
      if (errors) return end(EXIT_ERROR, `the stream carries errors: ${JSON.stringify(errors)}`);
      received += 1;
      print({ ...data.nudges, at: Date.now() });
      if (received === dropAfter) {
        socket.terminate();
        return end(0);
      }
      // The client now completes the subscription and closes the socket, which ends the process.
      if (dropAfter === undefined && received === count) unsubscribe();
    },
    error: (error) => end(EXIT_ERROR, describe(error)),
    complete: () => {
      if (received !== count) end(EXIT_ERROR, `the server completed the stream after ${received} items`);
    },
  },
);

/** Ends the process by decree: a polite end would wait for a closing handshake that may never come. */
function end(code, complaint) {
  if (complaint) process.stderr.write(`${complaint}\n`);
  process.exit(code);
}

/** Any of the three things that graphql-ws reports as an error: GraphQL errors, a close event, an exception. */
function describe(error) {
  if (Array.isArray(error)) return `the server refused the subscription: ${JSON.stringify(error)}`;
  if (error?.code !== undefined && error?.reason !== undefined) return `the connection was closed: ${error.code} ${error.reason}`;
  return `the connection failed: ${error?.message ?? error}`;
}
