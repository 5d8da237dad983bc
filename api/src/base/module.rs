//! What a room hands the roof, besides its part of the schema.

use std::pin::Pin;

use entity::event;

use super::{Cx, Result};

pub struct Module {
    /// Names its consumer and its events' source; never reused, never renamed.
    pub name: &'static str,
    /// Its ear: events of one tenant, in order per contact, at least once.
    pub hear: Option<Hear>,
}

/// Answers for each event, in the events' order: `Err` is tried again later, and the contact's later
/// events wait behind it.
pub type Hear = for<'a> fn(&'a Cx, &'a [event::Model]) -> Fut<'a, Vec<Result<()>>>;

pub type Fut<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
