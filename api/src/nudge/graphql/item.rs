//! What the stream of nudges gives.

use async_graphql::{ID, SimpleObject, Union};

use super::{super::stream::Told, delivery::NudgeDelivery};

/// One item of a contact's stream of nudges. Each has the cursor to go on behind it.
#[derive(Union)]
#[expect(
    clippy::large_enum_variant,
    reason = "one lives a frame long, and most are deliveries"
)]
pub(super) enum NudgeStreamItem {
    Delivered(NudgeDelivered),
    Withdrawn(NudgeWithdrawn),
    Lagged(StreamLagged),
}

/// A nudge to show.
#[derive(SimpleObject)]
pub(super) struct NudgeDelivered {
    /// Goes on behind this item.
    cursor: String,
    /// What to show.
    delivery: NudgeDelivery,
}

/// A nudge to show no more, or not at all.
#[derive(SimpleObject)]
pub(super) struct NudgeWithdrawn {
    /// Goes on behind this item.
    cursor: String,
    /// The delivery that was taken back; perhaps one that never reached this client.
    delivery_id: ID,
    /// Why, such as `archived`.
    reason: String,
}

/// The client read too slowly and the stream ends here: subscribe again with the cursor, and nothing is lost.
#[derive(SimpleObject)]
pub(super) struct StreamLagged {
    /// Goes on behind the last item that was given.
    cursor: String,
    /// How many items at least were not given.
    missed: u32,
}

impl From<Told> for NudgeStreamItem {
    fn from(told: Told) -> Self {
        match told {
            Told::Delivered { cursor, offer } => Self::Delivered(NudgeDelivered {
                cursor,
                delivery: offer.into(),
            }),
            Told::Withdrawn {
                cursor,
                delivery,
                reason,
            } => Self::Withdrawn(NudgeWithdrawn {
                cursor,
                delivery_id: delivery.to_string().into(),
                reason: reason.as_ref().to_owned(),
            }),
            Told::Lagged { cursor, missed } => Self::Lagged(StreamLagged { cursor, missed }),
        }
    }
}
