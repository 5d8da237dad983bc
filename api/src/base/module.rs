//! What a room hands the roof, besides its part of the schema.

use std::{pin::Pin, sync::Arc};

use entity::{ContactId, event};
use sea_orm::sea_query::SelectStatement;

use super::{Cx, Env, Result, Scope, TimelineSource, Tx};

/// A room without an ear, rows of contacts or timed work names what it has and takes the rest from [`Module::named`].
pub struct Module {
    /// Names its consumer and its events' source; never reused, never renamed.
    pub name: &'static str,
    /// Its ear: events of one tenant, in order per contact, at least once.
    pub hear: Option<Hear>,
    /// What becomes of its rows where contacts become one, or are taken apart.
    pub fold: Fold,
    /// Its timed work: does some of what is due, of all tenants, and says how much that was. It is called again at once while
    /// there is something, else about every second; by several processes at a time, so it leases what it takes.
    pub due: Option<Due>,
    /// What segments can ask of contacts in its terms.
    pub states: &'static [State],
    /// Which of its rows contacts' timelines show.
    pub timeline: &'static [TimelineSource],
    /// Where the room's rows may say something of a person and name no contact.
    pub mentions: &'static [Mention],
}

impl Module {
    pub const fn named(name: &'static str) -> Self {
        Self {
            name,
            hear: None,
            fold: Fold {
                tables: &[],
                settle: None,
            },
            due: None,
            states: &[],
            timeline: &[],
            mentions: &[],
        }
    }
}

/// Answers for each event, in the events' order: `Err` is tried again later, and the contact's later
/// events wait behind it.
pub type Hear = for<'a> fn(&'a Cx, &'a [event::Model]) -> Fut<'a, Vec<Result<()>>>;

pub type Due = for<'a> fn(&'a Arc<Env>) -> Fut<'a, Result<usize>>;

pub type Fut<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How a room's rows follow their contacts.
///
/// A row keeps the contact that it was written with, and is read over its root's family: a merge moves nothing, and an unmerge
/// gives each contact back the rows it had. What was written to the root meanwhile goes with the identifier that caused it.
pub struct Fold {
    /// Every table of the room that names a contact. What points at another comes before it: they are erased in this order.
    pub tables: &'static [Held],
    /// Mends, in the same transaction, what of a contact there is one of: counts, places, memberships.
    pub settle: Option<Settle>,
}

/// A table whose rows belong to contacts, and all that is to be said of them as such: how they follow, what a contact is given
/// of them, and what is left of them when it is erased.
pub struct Held {
    pub table: &'static str,
    /// The column that names the contact, or the row of [`Held::through`].
    pub contact: &'static str,
    /// The column that names the identifier which caused the row. Without one, rows stay where they are.
    pub identifier: Option<&'static str>,
    /// The table that `contact` points into instead: whose that row is, this one is, too.
    pub through: Option<&'static Self>,
    pub export: Export,
    pub erase: Erase,
}

/// A column that may hold what a person is known by: an erasure deletes the rows that do.
pub struct Mention {
    pub table: &'static str,
    pub column: &'static str,
}

/// What an archive of a contact holds of a table.
pub enum Export {
    /// Every column.
    All,
    /// Nothing, for this reason.
    Hidden(&'static str),
}

/// What becomes of a contact's rows when it is erased.
pub enum Erase {
    Delete,
    /// They stay, for this reason: nothing in them says who it was.
    Keep(&'static str),
}

pub type Settle = for<'a> fn(&'a Tx, &'a Regrouped) -> Fut<'a, Result<()>>;

/// Which contacts became one and which were taken apart, once all is written.
#[derive(Clone, Debug, Default)]
pub struct Regrouped {
    /// The absorbed contact, and the root that it is part of now.
    pub joined: Vec<(ContactId, ContactId)>,
    /// The root that a contact was part of, and the contact.
    pub parted: Vec<(ContactId, ContactId)>,
}

/// A state that a room's things bring contacts into, such as "was shown this nudge": what segments ask for.
pub struct State {
    /// `room.state`; part of the rules that tenants saved, never renamed.
    pub name: &'static str,
    /// The events that tell that it holds of their contact from now on, or no longer.
    pub events: &'static [&'static str],
    /// Each time that it came to hold because of the thing of this key: a select of [`CONTACT`] and [`AT`], of the scope's tenant.
    pub occurrences: fn(&Scope, &str) -> SelectStatement,
}

/// The columns of occurrences: the contact with which each was written down, and when it happened.
pub const CONTACT: &str = "contact_id";
pub const AT: &str = "at";
