//! What one request loads together. Lives as long as the request and holds its `Cx`, so a load never mixes
//! tenants.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_graphql::dataloader::Loader;
use entity::ContactId;

use super::{
    Posthog,
    analytics::{AnalyticsLoader, Item},
    flags::Evaluated,
};
use crate::base::{Batch, Cx, Error, Result};

/// Lets keys arrive that another loader's answer brings.
const GRACE: Duration = Duration::from_millis(1);

/// The PostHog room's loaders of one request.
pub struct Loaders {
    pub(super) analytics: Batch<AnalyticsLoader, (ContactId, Item)>,
    pub(super) flags: Batch<FlagLoader, (ContactId, Wanted)>,
    pub(super) persons: Batch<PersonLoader, ContactId>,
}

/// The loaders of a request by `cx`: to be put into its data.
pub fn loaders(cx: &Cx, posthog: &Arc<Posthog>) -> Loaders {
    Loaders {
        analytics: Batch::patient(AnalyticsLoader::new(cx.clone(), posthog.clone()), GRACE),
        flags: Batch::patient(
            FlagLoader {
                cx: cx.clone(),
                posthog: posthog.clone(),
            },
            GRACE,
        ),
        persons: Batch::patient(
            PersonLoader {
                cx: cx.clone(),
                posthog: posthog.clone(),
            },
            GRACE,
        ),
    }
}

/// Which flags of a contact a field asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    All,
    Key(String),
}

/// Evaluates a page's flags in one pass.
pub(super) struct FlagLoader {
    cx: Cx,
    posthog: Arc<Posthog>,
}

impl Loader<(ContactId, Wanted)> for FlagLoader {
    type Value = Evaluated;
    type Error = Arc<Error>;

    async fn load(
        &self,
        asked: &[(ContactId, Wanted)],
    ) -> Result<HashMap<(ContactId, Wanted), Evaluated>, Arc<Error>> {
        let mut wanted: HashMap<ContactId, Option<Vec<String>>> = HashMap::new();
        for (contact, flags) in asked {
            let keys = wanted.entry(*contact).or_insert_with(|| Some(vec![]));
            match flags {
                Wanted::All => *keys = None,
                Wanted::Key(key) => {
                    if let Some(keys) = keys {
                        keys.push(key.clone());
                    }
                }
            }
        }
        let values = self.posthog.flags_of_contacts(&self.cx, wanted).await?;
        let answers = asked.iter().filter_map(|(contact, flags)| {
            let own = values.get(contact)?.as_ref().map_err(Arc::clone);
            let picked = own.map(|own| {
                let picked = own.iter().filter(|value| match flags {
                    Wanted::All => true,
                    Wanted::Key(key) => value.key == *key,
                });
                picked.cloned().collect()
            });
            Some(((*contact, flags.clone()), picked))
        });
        Ok(answers.collect())
    }
}

/// Where PostHog shows contacts.
pub(super) struct PersonLoader {
    cx: Cx,
    posthog: Arc<Posthog>,
}

impl Loader<ContactId> for PersonLoader {
    type Value = url::Url;
    type Error = Arc<Error>;

    async fn load(
        &self,
        contacts: &[ContactId],
    ) -> Result<HashMap<ContactId, url::Url>, Arc<Error>> {
        let found = self.cx.snapshot(async |scope| {
            let connection = self.posthog.connection(scope).await?;
            let rows = scope.get_many(contacts).await?;
            let url =
                |row: entity::contact::Model| (row.id, connection.person_url(&row.distinct_id));
            Ok(rows.into_iter().map(url).collect())
        });
        found.await.map_err(Arc::new)
    }
}
