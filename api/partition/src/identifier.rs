use chrono::{DateTime, Utc};
use uuid::Uuid;

/// What an identifier is. The order breaks ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The id of a user in the tenant's own system.
    ExternalId,
    Email,
    Phone,
    /// The id of a browser or an installation before somebody logged in.
    AnonymousId,
    /// An id of `PostHog`'s that is none of the others.
    DistinctId,
}

impl Kind {
    /// Whether it is an address: anybody can type one, and to own it is worth something.
    pub(crate) const fn is_address(self) -> bool {
        matches!(self, Self::Email | Self::Phone)
    }
}

/// Who says so; in rising order of trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// A browser said so.
    Claimed,
    /// The tenant's backend said so, with a secret key.
    AssertedByBackend,
    /// The person proved it.
    Confirmed,
}

/// Whether an identifier joins what it is seen with. The order is that in which nodes found a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stitches {
    Yes,
    /// An address that several people read, such as `info@`: it belongs to one owner at most and joins nobody.
    RoleAccount,
    /// It stands for nobody: it stays alone and has no contact.
    Blocked,
}

/// How firmly an identifier holds its origin, where several components could be it; in rising order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hold {
    #[default]
    Loose,
    /// Others know the contact by it.
    Namesake,
    /// It is a user id.
    User,
}

/// One identifier of a tenant; unique by kind and value among those that are resolved together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub kind: Kind,
    /// Normalised: what is compared.
    pub value: String,
    /// The highest that was ever reached.
    pub level: Level,
    /// The earliest instant at which anybody says to have seen it.
    pub first_seen_at: DateTime<Utc>,
    /// The contact that it stands for by itself: the one to which it was attached when it was first stored. `None` if it is new.
    pub origin: Option<Uuid>,
    pub hold: Hold,
    pub stitches: Stitches,
}
