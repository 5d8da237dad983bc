// A page of contacts that grows: Relay's usual way through a list.
import { graphql, useLazyLoadQuery, usePaginationFragment } from "react-relay";
import { ContactCard } from "./ContactCard.jsx";

export function Contacts({ filter }) {
  const query = useLazyLoadQuery(
    graphql`
      query ContactsQuery($count: Int!, $filter: ContactFilter) {
        ...Contacts_query @arguments(count: $count, filter: $filter)
      }
    `,
    { count: 10, filter },
  );
  const { data, loadNext, hasNext } = usePaginationFragment(
    graphql`
      fragment Contacts_query on Query
      @refetchable(queryName: "ContactsPageQuery")
      @argumentDefinitions(count: { type: "Int!" }, cursor: { type: "String" }, filter: { type: "ContactFilter" }) {
        contacts(first: $count, after: $cursor, filter: $filter) @connection(key: "Contacts_query__contacts") {
          totalCount
          edges {
            node {
              id
              ...ContactCard_contact
            }
          }
        }
      }
    `,
    query,
  );
  return (
    <>
      {data.contacts.edges.map(({ node }) => (
        <ContactCard key={node.id} contact={node} />
      ))}
      {hasNext && <button onClick={() => loadNext(10)}>more</button>}
    </>
  );
}
