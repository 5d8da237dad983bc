// What subscription checks of the libraries have in common: nudges that come when they are asked for, and a way to hear them.
import WebSocket from "ws";

const WITHIN_MS = 30_000;

export const NUDGES = `subscription Nudges($after: String) {
  nudges(after: $after) {
    __typename
    ... on NudgeDelivered { cursor delivery { id nudge { id key } content { title } } }
    ... on NudgeWithdrawn { cursor deliveryId }
    ... on StreamLagged { cursor missed }
  }
}`;

/** Options for graphql-ws, as a browser's page would set them for this contact. */
export const socket = ({ graphqlWsUrl: url, contactToken }) => ({
  url,
  webSocketImpl: WebSocket,
  connectionParams: { authorization: `Bearer ${contactToken}` },
  retryAttempts: 0,
});

/** Publishes a nudge that answers the event `key`, and gives a function that makes the contact do that. */
export async function nudgeFor(demo, key) {
  const { secretKey, contactId } = demo.ready;
  const done = async (mutation, type, input) => {
    const { answer } = await demo.query(`mutation($input: ${type}!) { answer: ${mutation} }`, { input }, secretKey);
    if (answer.userErrors.length > 0) throw new Error(JSON.stringify(answer));
    return answer;
  };
  const content = { title: key, body: "…" };
  const { nudge } = await done("nudgeSave(input: $input) { nudge { id } userErrors { field message } }", "NudgeSaveInput", { key, surface: "app", trigger: { event: key }, content });
  await done("nudgePublish(input: $input) { userErrors { field message } }", "NudgePublishInput", { id: nudge.id });
  return () => done("track(input: $input) { userErrors { field message } }", "TrackInput", { event: key, contactId });
}

/**
 * Subscribes, and gives the first item that is a delivery of the nudge `key`.
 *
 * @param {(observer: {next: Function, error: Function}) => {unsubscribe: Function}} subscribe
 */
export function delivered(subscribe, key) {
  let subscription, late;
  const seen = [];
  return new Promise((resolve, reject) => {
    late = setTimeout(() => reject(new Error(`no nudge ${key} came in ${WITHIN_MS} ms, but ${JSON.stringify(seen)}`)), WITHIN_MS);
    subscription = subscribe({
      next: ({ data, error }) => {
        if (error) return reject(error);
        seen.push(data.nudges);
        if (data.nudges.delivery?.nudge.key === key) resolve({ item: data.nudges, seen });
      },
      error: reject,
    });
  }).finally(() => {
    clearTimeout(late);
    subscription?.unsubscribe();
  });
}
