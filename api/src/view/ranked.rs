//! Contacts in the order of a metric, or under its bounds: the people that PostHog ranks, found here. Whom a person is here is
//! asked once for all pages: they agree, and PostHog is not asked again.

use std::{collections::HashMap, sync::Arc, time::Duration};

use entity::{ContactId, TenantId};
use moka::future::Cache;
use uuid::Uuid;

use super::{list::narrow, rules::Definition};
use crate::{
    base::{Cx, Error, Place, Result, SortKey, gql},
    contact::{self as contact_room, Asked, ContactOrderField, OrderedBy, Ordering, Span},
    posthog::{Posthog, Ranking, RankingWanted},
};

/// People whose ids are looked up at once: with 8 ids each, half of what SQLite binds to a statement.
const PEOPLE_AT_ONCE: usize = 2_000;
/// Contacts that are read at once.
const CONTACTS_AT_ONCE: usize = 5_000;
/// What lists may take of the process's memory, in bytes, roughly.
const CACHE_BYTES_MAX: u64 = 64 * 1024 * 1024;
const PLACE_BYTES: usize = 64;
/// A ranking is not asked for any more when it is that old.
const KEPT: Duration = Duration::from_mins(10);

/// The lists of the last minutes, of every tenant: by the ranking that they came of, and who may see what.
pub struct Lists(Cache<ListKey, Arc<Ranked>>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct ListKey {
    tenant: TenantId,
    ranking: Uuid,
    /// The view's filters and order.
    list: String,
    sees_personal: bool,
}

impl Default for Lists {
    fn default() -> Self {
        let weight = |key: &ListKey, list: &Arc<Ranked>| {
            let bytes = key.list.len() + list.places.len() * PLACE_BYTES + 256;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self(
            Cache::builder()
                .max_capacity(CACHE_BYTES_MAX)
                .weigher(weight)
                .time_to_live(KEPT)
                .build(),
        )
    }
}

/// Contacts in an order that was found once.
pub(super) struct Ranked {
    places: Vec<Place>,
    descending: bool,
}

impl Ranked {
    pub(super) const fn len(&self) -> usize {
        self.places.len()
    }
    pub(super) fn stretch(&self, span: &Span) -> Vec<Place> {
        let before = |place: &Place, other: &Place| place.compare(other, self.descending).is_lt();
        let first = span.after.as_ref().map_or(0, |after| {
            self.places.partition_point(|place| !before(after, place))
        });
        let end = span.before.as_ref().map_or(self.places.len(), |end| {
            self.places.partition_point(|place| before(place, end))
        });
        let places = self.places.get(first..end).unwrap_or_default();
        let rows = usize::try_from(span.rows).unwrap_or(usize::MAX);
        if span.backward {
            places.iter().rev().take(rows).cloned().collect()
        } else {
            places.iter().take(rows).cloned().collect()
        }
    }
}

/// The contacts that PostHog ranks and that meet the view's filter: in the metric's order, or in `ordering`.
pub(super) async fn list(
    cx: &Cx,
    definition: &Definition,
    wanted: &RankingWanted,
    ordering: Option<&Ordering>,
) -> Result<Arc<Ranked>> {
    if !gql::ANALYTICS_READ.met_by(cx.actor()) {
        return Err(Error::Forbidden);
    }
    let env = cx.env();
    let ranking = env.kept.get::<Posthog>()?.rank(cx, wanted).await?;
    let lists = env.kept.get::<Lists>()?;
    let key = ListKey {
        tenant: cx.tenant(),
        ranking: ranking.id,
        list: definition.list()?,
        sees_personal: cx.actor().holds(contact_room::PERSONAL),
    };
    if let Some(known) = lists.0.get(&key).await {
        return Ok(known);
    }
    let descending = ordering.map_or(wanted.descending, |ordering| ordering.descending);
    let mut places = places(cx, definition, &ranking, ordering).await?;
    places.sort_unstable_by(|one, other| one.compare(other, descending));
    let list = Arc::new(Ranked { places, descending });
    lists.0.insert(key, Arc::clone(&list)).await;
    Ok(list)
}

/// The contacts' places, in no order.
async fn places(
    cx: &Cx,
    definition: &Definition,
    ranking: &Ranking,
    ordering: Option<&Ordering>,
) -> Result<Vec<Place>> {
    let scope = cx.db();
    // In the ranking's order: of several people who are one contact here, the first counts.
    let mut values: HashMap<ContactId, f64> = HashMap::new();
    for people in ranking.people.chunks(PEOPLE_AT_ONCE) {
        let ids: Vec<String> = people
            .iter()
            .flat_map(|person| &person.ids)
            .cloned()
            .collect();
        let known = contact_room::of_distinct_ids(&scope, &ids).await?;
        for person in people {
            for id in &person.ids {
                if let Some(contact) = known.get(id) {
                    values.entry(*contact).or_insert(person.value);
                }
            }
        }
    }
    let contacts: Vec<ContactId> = values.keys().copied().collect();
    let asked = Asked {
        scope: &scope,
        actor: cx.actor(),
        narrow: narrow(cx, &scope, definition)?,
    };
    let by_nothing = OrderedBy::Field(ContactOrderField::CreatedAt);
    let by = ordering.map_or(&by_nothing, |ordering| &ordering.by);
    let mut places = Vec::with_capacity(contacts.len());
    for some in contacts.chunks(CONTACTS_AT_ONCE) {
        let keys = contact_room::sort_keys(&asked, by, some).await?;
        places.extend(keys.into_iter().map(|(contact, key)| Place {
            key: match (ordering, values.get(&contact)) {
                (None, Some(value)) => number(*value),
                _ => key,
            },
            id: contact.uuid(),
        }));
    }
    Ok(places)
}

/// Zero has two forms, and they are one number.
fn number(value: f64) -> SortKey {
    SortKey::NumberBits((value + 0.0).to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(value: f64, id: u128) -> Place {
        Place {
            key: number(value),
            id: Uuid::from_u128(id),
        }
    }

    #[test]
    fn stretches_lie_between_places_whether_or_not_these_are_there_any_more() {
        let list = Ranked {
            places: vec![place(9.0, 2), place(9.0, 1), place(3.0, 7), place(-1.0, 4)],
            descending: true,
        };
        let ids = |after: Option<Place>, before: Option<Place>, backward, rows| -> Vec<u128> {
            let span = Span {
                after,
                before,
                backward,
                rows,
            };
            list.stretch(&span)
                .iter()
                .map(|place| place.id.as_u128())
                .collect()
        };
        assert_eq!(ids(None, None, false, 3), [2, 1, 7]);
        assert_eq!(ids(Some(place(9.0, 2)), None, false, 9), [1, 7, 4]);
        assert_eq!(ids(Some(place(4.0, 2)), None, false, 9), [7, 4]);
        assert_eq!(ids(None, Some(place(3.0, 7)), true, 1), [1]);
        assert_eq!(ids(None, None, true, 2), [4, 7]);
        assert_eq!(ids(Some(place(-1.0, 4)), Some(place(9.0, 2)), false, 9), []);
        assert_eq!(number(-0.0), number(0.0));
    }
}
