//! What the contacts of one page ask for, read for all of them at once.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::Arc,
};

use async_graphql::{Context, dataloader::Loader};
use entity::{
    ContactId, EventId, Id, consent, contact, contact_identifier, contact_trait, event,
    merge_record, relationship, touchpoint, trait_observation,
};
use sea_orm::Condition;
use serde_json::{Map, Value};

use crate::{
    base::{Batch, Cx, Error, FromEnd, Result, gql::ById},
    contact::{
        account::{AccountsOf, MemberCount, MemberCounts, MembersEnd, MembersEnds},
        consent as consents,
        lists::Lists,
        queries::{self, EventsWanted},
        relationship::{Walk, Walks},
        traits::readable,
    },
};

/// One request's batches. Holds the request's [`Cx`], so a batch never mixes tenants.
pub struct Loaders {
    pub roots: Batch<Roots, ContactId>,
    pub families: Batch<Families, ContactId>,
    pub identifiers: Batch<Identifiers, ContactId>,
    pub traits: Batch<Traits, ContactId>,
    pub events: Batch<Events, (ContactId, EventsKey, FromEnd)>,
    pub event_counts: Batch<EventCounts, (ContactId, EventsKey)>,
    pub events_by_id: Batch<ById, EventId>,
    pub identifiers_by_id: Batch<ById, Id<contact_identifier::Entity>>,
    pub merges: Batch<Merges, ContactId>,
    pub(in crate::contact) consents: Batch<Consents, ContactId>,
    pub(in crate::contact) consent_history: Lists<consent::Entity>,
    pub(in crate::contact) touchpoints: Lists<touchpoint::Entity>,
    pub(in crate::contact) observations: Lists<trait_observation::Entity>,
    pub(in crate::contact) relationships: Lists<relationship::Entity>,
    pub(in crate::contact) walks: Batch<Walks, Walk>,
    pub(in crate::contact) accounts: Batch<AccountsOf, ContactId>,
    pub(in crate::contact) members: Batch<MembersEnds, MembersEnd>,
    pub(in crate::contact) member_counts: Batch<MemberCounts, MemberCount>,
}

impl Loaders {
    pub fn new(cx: &Cx) -> Arc<Self> {
        Arc::new(Self {
            roots: Batch::new(Roots(cx.clone())),
            families: Batch::new(Families(cx.clone())),
            identifiers: Batch::new(Identifiers(cx.clone())),
            traits: Batch::new(Traits(cx.clone())),
            events: Batch::new(Events(cx.clone())),
            event_counts: Batch::new(EventCounts(cx.clone())),
            events_by_id: Batch::new(ById(cx.clone())),
            identifiers_by_id: Batch::new(ById(cx.clone())),
            merges: Batch::new(Merges(cx.clone())),
            consents: Batch::new(Consents(cx.clone())),
            consent_history: Lists::new(cx),
            touchpoints: Lists::new(cx),
            observations: Lists::new(cx),
            relationships: Lists::new(cx),
            walks: Batch::new(Walks(cx.clone())),
            accounts: Batch::new(AccountsOf(cx.clone())),
            members: Batch::new(MembersEnds(cx.clone())),
            member_counts: Batch::new(MemberCounts(cx.clone())),
        })
    }
    /// The request's own.
    pub fn of<'a>(ctx: &Context<'a>) -> Result<&'a Arc<Self>> {
        ctx.data_opt().ok_or(Error::Forbidden)
    }
}

/// Which events a field asks for: fields of one place in the document ask for the same, and share a load.
#[derive(Clone, Debug)]
pub struct EventsKey {
    /// The filter's text, which tells one filter from another.
    pub filter: String,
    /// What the filter became.
    pub narrow: Condition,
}

impl PartialEq for EventsKey {
    fn eq(&self, other: &Self) -> bool {
        self.filter == other.filter
    }
}
impl Eq for EventsKey {}
impl Hash for EventsKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.filter.hash(state);
    }
}

type Loaded<K, V> = Result<HashMap<K, V>, Arc<Error>>;

/// The contacts that ids name today.
pub struct Roots(Cx);

impl Loader<ContactId> for Roots {
    type Value = contact::Model;
    type Error = Arc<Error>;

    async fn load(&self, ids: &[ContactId]) -> Loaded<ContactId, contact::Model> {
        Ok(queries::roots(&self.0.db(), ids).await?)
    }
}

/// Each root and the contacts it absorbed.
pub struct Families(Cx);

impl Loader<ContactId> for Families {
    type Value = Vec<ContactId>;
    type Error = Arc<Error>;

    async fn load(&self, roots: &[ContactId]) -> Loaded<ContactId, Vec<ContactId>> {
        Ok(queries::families(&self.0.db(), roots).await?)
    }
}

/// Each root's identifiers, the first seen first.
pub struct Identifiers(Cx);

impl Loader<ContactId> for Identifiers {
    type Value = Vec<contact_identifier::Model>;
    type Error = Arc<Error>;

    async fn load(&self, roots: &[ContactId]) -> Loaded<ContactId, Vec<contact_identifier::Model>> {
        Ok(queries::identifiers(&self.0.db(), roots).await?)
    }
}

/// Each root's traits, as far as the caller may see them.
pub struct Traits(Cx);

impl Loader<ContactId> for Traits {
    type Value = Arc<Map<String, Value>>;
    type Error = Arc<Error>;

    async fn load(&self, roots: &[ContactId]) -> Loaded<ContactId, Arc<Map<String, Value>>> {
        let scope = self.0.db();
        let visible = readable(&scope, self.0.actor(), contact_trait::Column::Key);
        let traits = queries::traits_among(&scope, roots, visible).await?;
        Ok(traits
            .into_iter()
            .map(|(root, traits)| (root, Arc::new(traits)))
            .collect())
    }
}

/// How each root stands: what it allows.
pub(in crate::contact) struct Consents(Cx);

impl Loader<ContactId> for Consents {
    type Value = Vec<consent::Model>;
    type Error = Arc<Error>;

    async fn load(&self, roots: &[ContactId]) -> Loaded<ContactId, Vec<consent::Model>> {
        Ok(consents::current(&self.0.db(), roots).await?)
    }
}

/// Each root's newest or oldest events.
pub struct Events(Cx);

impl Loader<(ContactId, EventsKey, FromEnd)> for Events {
    type Value = Vec<event::Model>;
    type Error = Arc<Error>;

    async fn load(
        &self,
        keys: &[(ContactId, EventsKey, FromEnd)],
    ) -> Loaded<(ContactId, EventsKey, FromEnd), Vec<event::Model>> {
        let mut asked: HashMap<(&EventsKey, FromEnd), Vec<ContactId>> = HashMap::new();
        for (root, key, end) in keys {
            asked.entry((key, *end)).or_default().push(*root);
        }
        let mut loaded = HashMap::new();
        for ((key, end), roots) in asked {
            let wanted = EventsWanted {
                narrow: key.narrow.clone(),
                limit: end.rows,
                oldest: end.last,
            };
            let events = queries::events_of(&self.0.db(), &roots, &wanted).await?;
            loaded.extend(
                events
                    .into_iter()
                    .map(|(root, rows)| ((root, key.clone(), end), rows)),
            );
        }
        Ok(loaded)
    }
}

/// How many events each root has.
pub struct EventCounts(Cx);

impl Loader<(ContactId, EventsKey)> for EventCounts {
    type Value = u64;
    type Error = Arc<Error>;

    async fn load(&self, keys: &[(ContactId, EventsKey)]) -> Loaded<(ContactId, EventsKey), u64> {
        let mut asked: HashMap<&EventsKey, Vec<ContactId>> = HashMap::new();
        for (root, key) in keys {
            asked.entry(key).or_default().push(*root);
        }
        let mut loaded = HashMap::new();
        for (key, roots) in asked {
            let counts = queries::event_counts(&self.0.db(), &roots, &key.narrow).await?;
            loaded.extend(
                counts
                    .into_iter()
                    .map(|(root, count)| ((root, key.clone()), count)),
            );
        }
        Ok(loaded)
    }
}

/// Each root's merges and splits, the newest first.
pub struct Merges(Cx);

impl Loader<ContactId> for Merges {
    type Value = Vec<merge_record::Model>;
    type Error = Arc<Error>;

    async fn load(&self, roots: &[ContactId]) -> Loaded<ContactId, Vec<merge_record::Model>> {
        Ok(queries::merges_of(&self.0.db(), roots).await?)
    }
}
