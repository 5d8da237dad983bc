//! Pages of a list that is read from several tables, sorted by an instant and then by id.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    Counter, Cx, Error, Page, PageArgs, Place, Result, SortKey,
    placed::{page_placed, places},
};

/// A place in such a list.
pub type Instance = (DateTime<Utc>, Uuid);

/// Between which places a page lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Between {
    pub after: Option<Instance>,
    pub before: Option<Instance>,
}

fn merged(list: &str) -> String {
    format!("{list}/merged")
}

impl Between {
    /// As the page's cursors say. `list` names the list: a cursor of another list or tenant is refused.
    pub fn of(cx: &Cx, list: &str, args: &PageArgs) -> Result<Self> {
        let instance = |place: Option<Place>| {
            let Some(Place { key, id }) = place else {
                return Ok(None);
            };
            match key {
                SortKey::MicrosUtc(micros) => DateTime::from_timestamp_micros(micros),
                _ => None,
            }
            .map(|at| Some((at, id)))
            .ok_or(Error::BadCursor)
        };
        let [after, before] = places(cx, &merged(list), args)?;
        Ok(Self {
            after: instance(after)?,
            before: instance(before)?,
        })
    }
}

/// Makes a page of the rows that were read for it, one more than it shows, in the order in which it was read.
pub fn page_merged<R>(
    cx: &Cx,
    list: &str,
    found: Vec<R>,
    instance: impl Fn(&R) -> Instance,
    args: &PageArgs,
    counter: Counter,
) -> Result<Page<R>> {
    let placed = found.into_iter().map(|row| {
        let (at, id) = instance(&row);
        (Place::at(at, id), row)
    });
    page_placed(cx, &merged(list), placed.collect(), args, counter)
}
