//! Pages of a list that is read from several tables, sorted by an instant and then by id.

use chrono::{DateTime, Utc};
use sea_orm::Value;
use uuid::Uuid;

use super::{
    Counter, Cursor, Cx, Ends, Error, Key, Page, PageArgs, Result, Window, open_cursor, seal,
};

/// A place in such a list.
pub type Instance = (DateTime<Utc>, Uuid);

/// Between which places a page lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Between {
    pub after: Option<Instance>,
    pub before: Option<Instance>,
}

fn place(cx: &Cx, list: &str) -> String {
    format!("{}/{list}/merged", cx.tenant().uuid())
}

impl Between {
    /// As the page's cursors say. `list` names the list: a cursor of another list or tenant is refused.
    pub fn of(cx: &Cx, list: &str, args: &PageArgs) -> Result<Self> {
        let opened = |cursor: &Option<String>| {
            let Some(cursor) = cursor else {
                return Ok(None);
            };
            match open_cursor(&cx.env().secrets, &place(cx, list), cursor)? {
                (Value::ChronoDateTimeUtc(Some(at)), Value::Uuid(Some(id))) => Ok(Some((at, id))),
                _ => Err(Error::BadCursor),
            }
        };
        Ok(Self {
            after: opened(&args.after)?,
            before: opened(&args.before)?,
        })
    }
}

/// Makes a page of the rows that were read for it, one more than it shows, in the order in which it was read.
pub fn page_merged<R>(
    cx: &Cx,
    list: &str,
    mut found: Vec<R>,
    instance: impl Fn(&R) -> Instance,
    args: &PageArgs,
    counter: Counter,
) -> Result<Page<R>> {
    let Ends {
        has_previous,
        has_next,
    } = Window::of(args)?.cut(&mut found);
    let place = place(cx, list);
    let rows = found
        .into_iter()
        .map(|row| {
            let (at, id) = instance(&row);
            let cursor = Cursor {
                k: Key::MicrosUtc(at.timestamp_micros()),
                id,
            };
            Ok((seal(&cx.env().secrets, &place, &cursor)?, row))
        })
        .collect::<Result<_>>()?;
    Ok(Page {
        rows,
        has_previous,
        has_next,
        counter,
    })
}
