// The contact's own nudges, as they come.
import { useMemo } from "react";
import { graphql, useSubscription } from "react-relay";

export function Nudges({ after, onItem }) {
  useSubscription(
    useMemo(
      () => ({
        subscription: graphql`
          subscription NudgesSubscription($after: String) {
            nudges(after: $after) {
              __typename
              ... on NudgeDelivered {
                cursor
                delivery {
                  id
                  surface
                  content {
                    title
                    body
                  }
                }
              }
              ... on NudgeWithdrawn {
                cursor
                deliveryId
              }
              ... on StreamLagged {
                cursor
                missed
              }
            }
          }
        `,
        variables: { after },
        onNext: onItem,
      }),
      [after, onItem],
    ),
  );
  return null;
}
