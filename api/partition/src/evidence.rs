use chrono::{DateTime, Utc};

use crate::Level;

/// What showed that two identifiers belong together. The order breaks the last ties; only `Manual` weighs more than the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EdgeKind {
    /// A member of the tenant's team said so.
    Manual,
    /// A link that was sent to one identifier was opened by the other.
    VerifyLink,
    Login,
    Identify,
    Alias,
    /// One event named both.
    SameEvent,
    /// One line of an import named both.
    Import,
}

/// Whether evidence still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standing {
    Active,
    /// It held once: an address that was given to somebody else, an unmerge.
    Retired,
    /// The tenant's exclusion list names this edge, though not its ends.
    Excluded,
}

/// An observation that two identifiers belong to one person. Direction means nothing; parallel edges of different kind or level
/// are told apart, and repetitions of one are expected to be one edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Where one end stands among the nodes.
    pub a: usize,
    pub b: usize,
    pub kind: EdgeKind,
    /// What the claim that made it was worth.
    pub level: Level,
    /// When it was first observed.
    pub observed_at: DateTime<Utc>,
    pub standing: Standing,
}
