//! Pages of a list whose rows each say where they stand in it: for lists that are not in the order of one column.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Counter, Cx, Ends, Page, PageArgs, Result, SortKey, Window, open, seal};

/// Where a row stands: by its key, and among those of the same key by its id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    #[serde(rename = "k")]
    pub key: SortKey,
    pub id: Uuid,
}

impl Place {
    /// In a list that is sorted by an instant.
    pub const fn at(instant: DateTime<Utc>, id: Uuid) -> Self {
        Self {
            key: SortKey::MicrosUtc(instant.timestamp_micros()),
            id,
        }
    }
    /// Which of two stands first. Numbers go before texts, and turn with them; what is absent comes last in either direction.
    pub fn compare(&self, other: &Self, descending: bool) -> Ordering {
        let turned = |order: Ordering| if descending { order.reverse() } else { order };
        let by_id = self.id.cmp(&other.id);
        match (&self.key, &other.key) {
            (SortKey::Absent, SortKey::Absent) => by_id,
            (SortKey::Absent, _) => Ordering::Greater,
            (_, SortKey::Absent) => Ordering::Less,
            (one, another) => turned(one.compare(another).then(by_id)),
        }
    }
}

impl SortKey {
    const fn class(&self) -> u8 {
        match self {
            Self::MicrosUtc(_) | Self::Integer(_) | Self::NumberBits(_) => 0,
            Self::Text(_) => 1,
            Self::Absent => 2,
        }
    }
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::MicrosUtc(one), Self::MicrosUtc(other))
            | (Self::Integer(one), Self::Integer(other)) => one.cmp(other),
            (Self::NumberBits(one), Self::NumberBits(other)) => {
                f64::from_bits(*one).total_cmp(&f64::from_bits(*other))
            }
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (one, other) => one.class().cmp(&other.class()),
        }
    }
}

fn list_of(cx: &Cx, list: &str) -> String {
    format!("{}/{list}", cx.tenant().uuid())
}

/// The places that a page's `after` and `before` name. `list` names the list: a cursor of another list or tenant is refused.
pub fn places(cx: &Cx, list: &str, args: &PageArgs) -> Result<[Option<Place>; 2]> {
    let opened = |cursor: &Option<String>| {
        let cursor = cursor.as_deref();
        cursor
            .map(|cursor| open(&cx.env().secrets, &list_of(cx, list), cursor))
            .transpose()
    };
    Ok([opened(&args.after)?, opened(&args.before)?])
}

/// Makes a page of the rows that were read for it, one more than it shows, in the order in which it was read.
pub fn page_placed<R>(
    cx: &Cx,
    list: &str,
    mut found: Vec<(Place, R)>,
    args: &PageArgs,
    counter: Counter,
) -> Result<Page<R>> {
    let Ends {
        has_previous,
        has_next,
    } = Window::of(args)?.cut(&mut found);
    let list = list_of(cx, list);
    let rows = found
        .into_iter()
        .map(|(place, row)| Ok((seal(&cx.env().secrets, &list, &place)?, row)))
        .collect::<Result<_>>()?;
    Ok(Page {
        rows,
        has_previous,
        has_next,
        counter,
    })
}
