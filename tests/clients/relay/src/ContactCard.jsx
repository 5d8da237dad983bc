// One contact, and its own growing list of events: refetched by the contact's id, through `node`.
import { graphql, useFragment, useMutation, usePaginationFragment, useRefetchableFragment } from "react-relay";

export function ContactCard({ contact }) {
  const data = useFragment(
    graphql`
      fragment ContactCard_contact on Contact {
        id
        name
        email
        lastSeenAt
        ...ContactCard_flags
        ...ContactCard_events
      }
    `,
    contact,
  );
  const [flags, refetch] = useRefetchableFragment(
    graphql`
      fragment ContactCard_flags on Contact @refetchable(queryName: "ContactCardFlagsQuery") {
        status
        attribution {
          firstTouch {
            source
            at
          }
        }
      }
    `,
    data,
  );
  const { data: history, loadNext } = usePaginationFragment(
    graphql`
      fragment ContactCard_events on Contact
      @refetchable(queryName: "ContactCardEventsQuery")
      @argumentDefinitions(count: { type: "Int", defaultValue: 5 }, cursor: { type: "String" }, filter: { type: "EventFilter" }) {
        events(first: $count, after: $cursor, filter: $filter) @connection(key: "ContactCard_events__events") {
          edges {
            node {
              id
              name
              occurredAt
              properties
            }
          }
        }
      }
    `,
    data,
  );
  const [track] = useMutation(graphql`
    mutation ContactCardTrackMutation($input: TrackInput!, $key: String!) {
      track(input: $input) @idempotent(key: $key) {
        accepted
        contact {
          ...ContactCard_contact
        }
        userErrors {
          code
          field
          message
        }
      }
    }
  `);
  const greet = () => track({ variables: { input: { event: "greeted", contactId: data.id }, key: crypto.randomUUID() } });
  return (
    <article>
      <h2 onClick={() => refetch({})}>
        {data.name} ({flags.status})
      </h2>
      <ol>{history.events.edges.map(({ node }) => <li key={node.id}>{node.name}</li>)}</ol>
      <button onClick={() => loadNext(5)}>more</button>
      <button onClick={greet}>greet</button>
    </article>
  );
}
